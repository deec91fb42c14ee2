"""The scripted model over real sockets: every fault of the language, as a client sees it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from understudy.fakeapi import FakeApi, FakeApiError, FakeApiThread
from understudy.fakeapi.script import Scenarios
from understudy.transport import SocketInUse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

LIMIT_S = 20.0


class Client:
    """Asks one scripted model."""

    def __init__(self, url: str, session: aiohttp.ClientSession, api: FakeApi) -> None:
        self.url = url
        self.session = session
        self.api = api

    def post(self, script: object, *, stream: bool = True, **options: Any) -> Any:  # noqa: ANN401
        prompt = script if isinstance(script, str) else f"@@ {json.dumps(script)} @@"
        body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": prompt}]}
        return self.session.post(f"{self.url}/v1/messages", json=body, **options)

    async def events(self, script: object) -> list[dict[str, Any]]:
        async with self.post(script) as response:
            assert response.status == 200
            text = await response.text()
        lines = [line for line in text.splitlines() if line.startswith("data: ")]
        return [json.loads(line.removeprefix("data: ")) for line in lines]


def play(scene: Callable[[Client], Awaitable[None]], **options: Any) -> None:  # noqa: ANN401
    async def run() -> None:
        api = FakeApi(**options)
        url = await api.start_tcp()
        try:
            async with aiohttp.ClientSession() as session:
                await scene(Client(url, session, api))
        finally:
            await api.close()

    asyncio.run(asyncio.wait_for(run(), LIMIT_S))


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [str(event["type"]) for event in events]


def test_a_text_is_streamed_as_the_api_streams_it() -> None:
    async def scene(client: Client) -> None:
        events = await client.events({"text": "hello", "pieces": 2, "usage": {"output_tokens": 9}})
        assert kinds(events) == [
            "message_start", "content_block_start", "content_block_delta", "content_block_delta",
            "content_block_stop", "message_delta", "message_stop",
        ]  # fmt: skip
        assert events[0]["message"]["content"] == []
        assert events[0]["message"]["usage"]["input_tokens"] == 10
        assert "".join(event["delta"]["text"] for event in events[2:4]) == "hello"
        assert events[-2]["delta"]["stop_reason"] == "end_turn"
        assert events[-2]["usage"]["output_tokens"] == 9

    play(scene)


def test_tools_and_thoughts_are_streamed_in_one_answer() -> None:
    async def scene(client: Client) -> None:
        step: dict[str, Any] = {
            "thinking": "hm", "text": "see", "tools": [["Read", {"a": 1}], ["Glob", {}]],
            "tool": "Bash", "input": {"command": "id"},
        }  # fmt: skip
        events = await client.events(step)
        blocks = [e["content_block"] for e in events if e["type"] == "content_block_start"]
        assert [block["type"] for block in blocks] == ["thinking", "text", *["tool_use"] * 3]
        assert [block.get("name") for block in blocks[2:]] == ["Read", "Glob", "Bash"]
        inputs = [e["delta"].get("partial_json") for e in events if "delta" in e]
        assert [json.loads(text) for text in inputs if text] == [{"a": 1}, {}, {"command": "id"}]
        assert events[-2]["delta"]["stop_reason"] == "tool_use"

    play(scene)


def test_no_id_is_given_out_by_two_servers() -> None:
    """As in a conversation that goes on after the server was started again."""
    given: list[str] = []

    async def scene(client: Client) -> None:
        events = await client.events([{"tool": "Bash", "input": {"command": "id"}}])
        blocks = [event["content_block"] for event in events if "content_block" in event]
        given.extend([events[0]["message"]["id"], blocks[0]["id"]])

    play(scene)
    play(scene)
    assert len(set(given)) == 4


def test_an_answer_may_come_in_one_piece_and_name_the_tool_result() -> None:
    async def scene(client: Client) -> None:
        content = [{"type": "tool_result", "content": [{"type": "text", "text": "42"}]}]
        messages = [
            {"role": "user", "content": '@@ [{}, {"text": "got {{tool_result}}"}] @@'},
            {"role": "assistant", "content": "…"},
            {"role": "user", "content": content},
        ]
        url = f"{client.url}/v1/messages"
        async with client.session.post(url, json={"messages": messages}) as response:
            message = await response.json()
        assert message["content"] == [{"type": "text", "text": "got 42"}]

    play(scene)


def test_an_error_is_answered_with_its_headers_and_the_apis_word_for_it() -> None:
    async def scene(client: Client) -> None:
        step = {"error": 529, "headers": {"retry-after": 2}, "message": "full"}
        async with client.post(step) as response:
            assert (response.status, response.headers["retry-after"]) == (529, "2")
            error = (await response.json())["error"]
            assert error == {"type": "overloaded_error", "message": "full"}

    play(scene)


def test_a_step_that_fails_some_times_recovers() -> None:
    async def scene(client: Client) -> None:
        step = {"error": 500, "times": 2, "then": {"text": "back"}}
        statuses: list[int] = []
        for _ in range(3):
            async with client.post(step) as response:
                statuses.append(response.status)
        assert statuses == [500, 500, 200]
        async with client.post({"error": 500, "times": 1}) as response:
            assert response.status == 500, "another conversation counts for itself"

    play(scene)


@pytest.mark.parametrize(
    ("step", "seen"),
    [
        ({"sse_error": "overloaded_error"}, ["message_start", "error"]),
        ({"malformed": "truncated", "text": "half"},
         ["message_start", "content_block_start", "content_block_delta", "content_block_stop"]),
        ({"malformed": "empty"}, []),
        ({"malformed": "html"}, []),
    ],
)  # fmt: skip
def test_a_broken_stream_ends_where_the_step_says(step: dict[str, Any], seen: list[str]) -> None:
    async def scene(client: Client) -> None:
        assert kinds(await client.events(step)) == seen

    play(scene)


def test_broken_json_is_broken() -> None:
    async def scene(client: Client) -> None:
        async with client.post({"malformed": "json"}) as response:
            last = (await response.text()).strip().splitlines()[-1]
        with pytest.raises(json.JSONDecodeError):
            json.loads(last.removeprefix("data: "))

    play(scene)


def test_a_reset_comes_at_its_place() -> None:
    async def scene(client: Client) -> None:
        with pytest.raises(aiohttp.ClientError):
            async with client.post({"reset": "before"}):
                pass
        for place in ("headers", "mid"):
            with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
                async with client.post({"reset": place, "text": "half"}) as response:
                    await response.read()

    play(scene)


@pytest.mark.parametrize("place", ["before", "headers", "mid"])
def test_a_hanging_answer_ends_with_its_connection(place: str) -> None:
    async def scene(client: Client) -> None:
        with pytest.raises(aiohttp.ClientError):
            async with client.post({"hang": 30, "at": place, "text": "half"}) as response:
                await response.read()
        assert client.api.requests[-1]["ev"] == "hang over"
        assert not client.api.requests[-1]["client_closed"]

    play(scene, sleep=at_once)


async def at_once(seconds: float) -> None:
    del seconds


def test_a_client_that_gives_up_on_a_hanging_answer_is_noted() -> None:
    woken: list[asyncio.Event] = []

    async def until_gone(seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            woken[0].set()

    async def scene(client: Client) -> None:
        woken.append(asyncio.Event())
        async with client.post({"hang": 30, "at": "headers"}) as response:
            assert response.status == 200
        await woken[0].wait()
        assert client.api.requests[-1]["client_closed"]

    play(scene, sleep=until_gone)


def test_slowness_and_pings_wait_as_long_as_the_step_says() -> None:
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    async def scene(client: Client) -> None:
        await client.events({"text": "abcd", "slow": 0.5, "pieces": 4, "delay": 1.5})
        assert waits == [1.5, *[0.5] * 4]

    play(scene, sleep=note)


def test_pings_fill_the_delay() -> None:
    async def scene(client: Client) -> None:
        events = await client.events({"text": "x", "pings": 0.01, "delay": 0.05})
        assert kinds(events)[:2] == ["message_start", "ping"]

    play(scene)


def test_a_wrong_key_is_refused_and_the_right_one_is_taken_in_both_forms() -> None:
    async def scene(client: Client) -> None:
        statuses: list[int] = []
        for headers in ({}, {"x-api-key": "no"}, {"x-api-key": "k"}, {"authorization": "Bearer k"}):
            async with client.post({"text": "x"}, headers=headers) as response:
                statuses.append(response.status)
        assert statuses == [401, 401, 200, 200]
        seen = [(entry["key"], entry["auth"]) for entry in client.api.requests]
        assert seen == [("", "none"), ("no", "x-api-key"), ("k", "x-api-key"), ("k", "bearer")]

    play(scene, require_key="k")


def test_what_was_asked_can_be_looked_at_and_forgotten() -> None:
    async def scene(client: Client) -> None:
        await client.events("hello")
        async with client.session.get(f"{client.url}/_fake/requests") as response:
            (entry,) = await response.json()
        assert (entry["why"], entry["model"], entry["stream"]) == ("default", "m", True)
        assert entry["body"]["messages"][0]["content"] == "hello"
        async with client.session.post(f"{client.url}/_fake/reset") as response:
            assert response.status == 200
        assert client.api.requests == []

    play(scene, bodies=True)


def test_scenarios_can_be_replaced_while_it_runs() -> None:
    async def scene(client: Client) -> None:
        url = f"{client.url}/_fake/scenarios"
        async with client.session.post(url, json={"new": {"text": "hi"}}) as response:
            assert response.status == 200
        for wrong in ({"new": 3}, [1]):
            async with client.session.post(url, json=wrong) as response:
                assert response.status == 400
        async with client.post("@@new@@", stream=False) as response:
            assert (await response.json())["content"][0]["text"] == "hi"

    play(scene, scenarios=Scenarios({"old": {"text": "x"}}))


def test_tokens_are_counted_and_other_paths_are_not_found() -> None:
    async def scene(client: Client) -> None:
        url = f"{client.url}/v1/messages/count_tokens?beta=true"
        async with client.session.post(url, json={"messages": []}) as response:
            assert (await response.json())["input_tokens"] > 0
        async with client.session.head(client.url) as response:
            assert response.status == 404
        async with client.session.post(f"{client.url}/v1/messages", data="[1]") as response:
            assert response.status == 400

    play(scene)


def test_the_log_has_a_line_for_each_request(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"

    async def scene(client: Client) -> None:
        await client.events("one")
        await client.events("two")

    play(scene, log=log)
    assert [json.loads(line)["ev"] for line in log.read_text().splitlines()] == ["request"] * 2
    with pytest.raises(FakeApiError, match="another log file"):
        FakeApi(log=tmp_path / "missing" / "log")


def test_it_serves_beside_a_test_on_a_unix_socket(tmp_path: Path) -> None:
    async def ask(path: str) -> int:
        connector = aiohttp.UnixConnector(path)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post("http://x/v1/messages", json={"messages": []}) as response,
        ):
            status = response.status
        await asyncio.sleep(0.05)  # aiohttp closes its connections after the session's end
        return status

    path = tmp_path / "s"
    with FakeApiThread(unix=path) as api:
        assert api.url == f"unix:{path}"
        assert asyncio.run(ask(str(path))) == 200
        assert len(api.requests) == 1
        with pytest.raises(SocketInUse), FakeApiThread(unix=path):
            pass
    assert not path.exists()


def test_a_taken_port_is_refused_with_a_way_out() -> None:
    async def scene() -> None:
        api = FakeApi()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(FakeApiError, match=f"{port}.*another port"):
                await api.start_tcp(port=port)
        await api.close()

    asyncio.run(scene())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_of_the_command_line_ends_by_a_signal_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "s"
    code = (
        "import pathlib, signal, sys\n"
        "from understudy.fakeapi import run_server\n"
        "def interrupt(*_): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGTERM, interrupt)\n"
        # Whoever started the tests in the background may have it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n"
        "    run_server(port=0, unix=pathlib.Path(sys.argv[1]),\n"
        "               announce=lambda where: print(where, flush=True))\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, os.fspath(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        assert process.stdout.readline() == f"unix:{path}\n"
        process.send_signal(number)
        try:
            assert process.wait(LIMIT_S) == 130
        finally:
            process.kill()
    assert not path.exists()
