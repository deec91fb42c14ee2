"""The gateway before an API that refuses, storms and rejects: what its agents see of it."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from understudy.actors.gateway import Credentials
from understudy.actors.gateway.app import AgentApp
from understudy.actors.gateway.breaker import Breaker
from understudy.actors.gateway.budget import BudgetPlan, Caps
from understudy.actors.gateway.client import UpstreamClient
from understudy.actors.gateway.desk import Desk, DeskPlan, make_desk
from understudy.actors.gateway.doors import Doors
from understudy.actors.gateway.from_settings import desk_args
from understudy.actors.gateway.guarding import MAX_CONNECTIONS, GuardedServer
from understudy.actors.gateway.ledger import Ledger, Spent
from understudy.actors.gateway.ledger_file import LedgerError
from understudy.actors.gateway.prices import load_prices
from understudy.config import load
from understudy.fakeapi import FakeApiThread

LIMIT_S = 30.0
HELLO: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": '@@ [{"text": "hello"}] @@'}],
}


@dataclass
class World:
    """A gateway, its agents' sockets, and what was reported."""

    desk: Desk
    folder: Path
    reports: list[dict[str, Any]]
    sessions: dict[str, aiohttp.ClientSession] = field(
        default_factory=dict[str, aiohttp.ClientSession]
    )

    async def ask(self, agent_id: str = "a", **body: Any) -> tuple[int, str]:  # noqa: ANN401 - JSON
        post = self.sessions[agent_id].post("http://localhost/v1/messages", json=HELLO | body)
        async with post as answer:
            return answer.status, await answer.text()

    async def ask_all(self, count: int, agents: str = "abc", **body: Any) -> Counter[int]:  # noqa: ANN401 - JSON
        asked = (self.ask(agents[number % len(agents)], **body) for number in range(count))
        return Counter(status for status, _ in await asyncio.gather(*asked))

    def spent(self) -> Spent:
        ledger = Ledger(self.folder / "ledger.db")
        try:
            return ledger.of_fleet("test")
        finally:
            ledger.close()

    def waited_for(self) -> list[str | None]:
        return [each["waits_for"] for each in self.reports if each["kind"] == "waiting"]


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    url: str,
    *,
    agents: str = "abc",
    key: str = "old",
    desk: dict[str, Any] | None = None,
    **plan: Any,  # noqa: ANN401 - fields of the plan
) -> AsyncGenerator[World]:
    reports: list[dict[str, Any]] = []
    upstream = UpstreamClient(url, {})
    planned = DeskPlan(folder / "ledger.db", "test", load_prices(), **plan)
    made = make_desk(planned, upstream, Credentials("api_key", key), reports.append)
    made = dataclasses.replace(made, **(desk or {}))
    doors = Doors(made)
    here = World(made, folder, reports)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(upstream.close)
        stack.callback(made.accounts.close)
        stack.callback(made.gate.close)
        stack.push_async_callback(doors.close_all)
        for agent_id in agents:
            path = str(folder / f"{agent_id}.sock")
            await doors.open(agent_id, path)
            session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path, limit=0))
            here.sessions[agent_id] = await stack.enter_async_context(session)
        yield here


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), LIMIT_S))


def scripted(**step: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - of docs/fake-api.md
    return [{"role": "user", "content": f"@@ [{json.dumps(step)}] @@"}]


def events(requests: list[dict[str, Any]]) -> Counter[str]:
    return Counter(entry["ev"] for entry in requests)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


async def storm(url: str, **weather: Any) -> None:  # noqa: ANN401 - of docs/fake-api.md
    """Bad weather from now on, not from the API's start; without any, it is over."""
    scenarios = {"storm": weather} if weather else {}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/_fake/scenarios", json=scenarios) as answer,
    ):
        assert answer.status == 200


# -- limits -----------------------------------------------------------------------------------


def test_agents_over_the_apis_limit_wait_and_neither_they_nor_the_api_see_a_refusal(
    tmp_path: Path,
) -> None:
    limits = {"requests_per_minute": 600, "burst": 0.02}

    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            # The first answer teaches the limit: twelve at once, and ten a second.
            assert (await here.ask())[0] == 200
            assert await here.ask_all(24) == {200: 24}
            assert events(api.requests) == {"request": 25}
            assert set(here.waited_for()) == {"rate_limit", None}

    with FakeApiThread({"limits": limits}) as api:
        run(scene)


def test_a_limit_that_the_api_keeps_to_itself_is_borne_too(tmp_path: Path) -> None:
    limits = {"requests_per_minute": 600, "burst": 0.01, "headers": False}

    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            assert await here.ask_all(15) == {200: 15}
            spent = here.spent()
        assert events(api.requests)["refused"] > 0
        assert (spent.turns, spent.asks) == (15, events(api.requests)["request"])

    with FakeApiThread({"limits": limits}) as api:
        run(scene)


def test_a_limit_of_tokens_is_learned_as_well(tmp_path: Path) -> None:
    limits = {"output_tokens_per_minute": 6000, "burst": 0.05}
    say = '@@ [{"text": "x", "usage": {"output_tokens": 100}}] @@'
    messages = [{"role": "user", "content": say}]

    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            assert await here.ask_all(5, messages=messages) == {200: 5}
            window = here.desk.gate.describe()["limits"]["output-tokens"]
            assert window["limit"] == 6000

    with FakeApiThread({"limits": limits}) as api:
        run(scene)


def test_a_wait_longer_than_may_be_held_is_told_at_once(tmp_path: Path) -> None:
    storm = {"status": 429, "seconds": 60, "retry_after": 1000}

    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            async with here.sessions["a"].post(
                "http://localhost/v1/messages", json=HELLO
            ) as answer:
                assert answer.status == 429
                assert int(answer.headers["retry-after"]) >= 990
            # The others need not find out for themselves.
            assert (await here.ask("b"))[0] == 429
        assert events(api.requests)["request"] == 1

    with FakeApiThread({"storm": storm}) as api:
        run(scene)


def test_one_more_than_the_line_holds_is_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url, max_waiting=3, max_wait_s=15.0) as here:
            await storm(api.url, seconds=2)
            # All five go and are refused; then there is room for three to wait.
            assert await here.ask_all(5) == {429: 2, 200: 3}

    with FakeApiThread() as api:
        run(scene)


def test_what_the_api_asks_to_wait_is_waited_by_those_that_it_did_not_tell(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            await storm(api.url, status=429, seconds=60, retry_after=1)
            told = asyncio.ensure_future(here.ask("a"))
            await until(lambda: here.desk.gate.limits.paused_until > 0)
            await storm(api.url)
            assert await here.ask_all(4, "bc") == {200: 4}
            assert (await told)[0] == 200
        first, *later = [entry["t"] for entry in api.requests if entry["ev"] == "request"]
        assert min(later) >= first + 1.0

    with FakeApiThread() as api:
        run(scene)


def test_the_more_urgent_task_goes_first_and_its_agents_take_turns(tmp_path: Path) -> None:
    async def ask(here: World, agent_id: str) -> None:
        messages = [{"role": "user", "content": f'@@ [{{"text": "{agent_id}"}}] @@'}]
        assert (await here.ask(agent_id, messages=messages))[0] == 200

    async def scene() -> None:
        async with world(tmp_path, api.url, agents="abcz") as here:
            for agent_id, priority in (("a", 2), ("b", 2), ("c", 9)):
                here.desk.accounts.assign(agent_id, {"task_id": agent_id, "priority": priority})
            # The first answer teaches that there is one request for each 0.2 s.
            await ask(here, "z")
            # None goes before all are in line.
            gate = here.desk.gate
            gate.limits.pause(gate.clock() + LIMIT_S)
            asked = [asyncio.ensure_future(ask(here, agent_id)) for agent_id in "aaabbbcc"]
            await until(lambda: gate.describe()["waiting"] == len(asked))
            gate.limits.paused_until = 0.0
            gate._pump()
            await asyncio.gather(*asked)
        said = "".join(entry["step"]["text"] for entry in api.requests)
        assert said in ("zccababab", "zccbababa")

    with FakeApiThread({"limits": {"requests_per_minute": 300, "burst": 0.003}}) as api:
        run(scene)


# -- weather ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [529, 500, 503])
def test_a_storm_passes_unseen_and_few_try_meanwhile(tmp_path: Path, status: int) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            assert await here.ask_all(9) == {200: 9}
            spent = here.spent()
        assert events(api.requests)["refused"] <= 9 + 5
        assert (spent.turns, spent.asks) == (9, events(api.requests)["request"])

    with FakeApiThread({"storm": {"status": status, "seconds": 1.5}}) as api:
        run(scene)


def test_an_api_that_is_out_of_reach_is_waited_for(tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "model.sock"
        async with world(tmp_path, f"unix:{path}") as here:
            asked = asyncio.ensure_future(here.ask_all(3))
            await until(lambda: "api_down" in here.waited_for())
            with FakeApiThread(unix=path):
                assert await asked == {200: 3}

    run(scene)


def test_what_does_not_pass_in_time_is_told_as_what_it_is(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url, max_wait_s=0.7) as here:
            status, text = await here.ask()
            assert status == 529
            assert json.loads(text)["error"]["type"] == "overloaded_error"

    with FakeApiThread({"storm": {"seconds": 60}}) as api:
        run(scene)


def test_a_pause_that_is_longer_than_anybody_is_held_is_told_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url, max_wait_s=1.0) as here:
            assert await here.ask_all(6) == {429: 6}
            told = [each for each in here.reports if each["kind"] == "paused"]
            assert told == [{"kind": "paused", "for_s": 3600.0, "why": "rate_limit"}]

    with FakeApiThread({"storm": {"status": 429, "seconds": 60, "retry_after": 3600}}) as api:
        run(scene)


def test_a_stream_that_is_held_begins_with_pings_and_goes_on_with_the_answer(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        patience = {"patience_s": 0.1, "ping_s": 0.1}
        async with world(tmp_path, api.url, desk=patience) as here:
            await storm(api.url, seconds=2)
            status, text = await here.ask(stream=True)
        said = [line.removeprefix("event: ") for line in text.splitlines() if line[:6] == "event:"]
        pings = said.index("message_start")
        assert status == 200
        assert pings >= 3
        assert set(said[:pings]) == {"ping"}
        assert said[-1] == "message_stop"

    with FakeApiThread() as api:
        run(scene)


def test_a_stream_that_is_held_in_vain_ends_with_an_error_event(tmp_path: Path) -> None:
    async def scene() -> None:
        patience = {"patience_s": 0.1, "ping_s": 0.1}
        async with world(tmp_path, api.url, desk=patience, max_wait_s=0.8) as here:
            _, text = await here.ask(stream=True)
        *_, kind, data = text.strip().splitlines()
        assert kind == "event: error"
        assert json.loads(data.removeprefix("data: "))["error"]["type"] == "overloaded_error"

    with FakeApiThread({"storm": {"seconds": 60}}) as api:
        run(scene)


def test_an_agent_that_hangs_up_while_it_waits_is_forgotten(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            asked = asyncio.ensure_future(here.ask())
            await until(lambda: bool(here.waited_for()))
            asked.cancel()
            await asyncio.wait([asked])
            await until(lambda: not here.desk.gate.describe()["waiting"])
            sent = events(api.requests)["request"]
            assert here.waited_for()[-1] is None
        assert events(api.requests)["request"] == sent

    with FakeApiThread({"storm": {"seconds": 60, "retry_after": 5}}) as api:
        run(scene)


# -- the key ----------------------------------------------------------------------------------


def test_a_rejected_key_is_renewed_once_for_everybody(tmp_path: Path) -> None:
    key = tmp_path / "key"
    counter = tmp_path / "count"
    helper = tmp_path / "helper.sh"
    helper.write_text(f"#!/bin/sh\necho x >> {counter}\ncat {key}\n")
    helper.chmod(0o755)
    key.write_text("new\n")

    async def scene() -> None:
        async with world(tmp_path, api.url, source={"command": str(helper)}) as here:
            assert await here.ask_all(6) == {200: 6}
        assert counter.read_text() == "x\n"

    with FakeApiThread(require_key="new") as api:
        run(scene)


def test_a_late_refusal_of_the_old_key_says_nothing_of_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("ANTHROPIC_API_KEY=new\n")

    async def scene() -> None:
        async with world(tmp_path, api.url, source={"file": str(file)}) as here:
            late = asyncio.ensure_future(here.ask("a", messages=scripted(error=401, delay=2.0)))
            await until(lambda: len(api.requests) > 0)
            assert await here.desk.source.renew(here.desk.source.current)
            await late
            # It was sent again with the new key, and only then refused in earnest.
            assert events(api.requests) == {"request": 2}

    with FakeApiThread() as api:
        run(scene)


def test_a_key_that_is_mended_in_its_file_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# keys\nexport ANTHROPIC_API_KEY='new'\n")

    async def scene() -> None:
        async with world(tmp_path, api.url, source={"file": str(file)}) as here:
            assert (await here.ask())[0] == 200

    with FakeApiThread(require_key="new") as api:
        run(scene)


def test_a_key_that_nobody_renews_stops_everybody_after_one_request(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            for _ in range(3):
                status, text = await here.ask()
                # 403: the CLI would try a 401 again.
                assert status == 403
                assert "rejects the key (401): invalid x-api-key" in text
            assert here.desk.gate.describe()["breaker"] == "broken"
        assert events(api.requests) == {"request": 1}

    with FakeApiThread(require_key="new") as api:
        run(scene)


def test_a_key_that_was_rejected_for_a_moment_is_tried_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            gate, clock = here.desk.gate, here.desk.gate.clock
            gate.breaker = Breaker(random.Random(0), probe_s=60.0)  # noqa: S311 - no secret
            assert (await here.ask("a", messages=scripted(error=401)))[0] == 403
            assert (await here.ask("b"))[0] == 403
            gate.clock = lambda: clock() + 60.0
            assert (await here.ask("b"))[0] == 200
            assert await here.ask_all(6) == {200: 6}

    with FakeApiThread() as api:
        run(scene)


def test_what_the_api_forbids_one_agent_is_no_matter_of_the_others(tmp_path: Path) -> None:
    forbidden = scripted(error=403, message="this model is not yours")

    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            status, text = await here.ask("a", messages=forbidden)
            assert (status, json.loads(text)["error"]) == (
                403,
                {"type": "permission_error", "message": "this model is not yours"},
            )
            assert await here.ask_all(6) == {200: 6}

    with FakeApiThread() as api:
        run(scene)


# -- budgets ----------------------------------------------------------------------------------


def test_a_task_over_its_budget_is_refused_and_the_api_not_asked(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url, budget=BudgetPlan(task=Caps(turns=2))) as here:
            here.desk.accounts.assign("a", {"task_id": "t1", "priority": 5})
            statuses = [await here.ask() for _ in range(4)]
            assert [status for status, _ in statuses] == [200, 200, 402, 402]
            assert "understudy budget: task t1 has used 2 turns of 2 turns" in statuses[-1][1]
            here.desk.accounts.assign("a", {"task_id": "t2", "priority": 5})
            assert (await here.ask())[0] == 200
        assert events(api.requests) == {"request": 3}
        used = [each for each in here.reports if each["kind"] == "usage"]
        assert [each["task_id"] for each in used] == ["t1", "t1", "t2"]
        # 10 tokens in and 5 out, at 3 and 15 dollars for a million.
        assert used[0]["dollars"] == pytest.approx((10 * 3 + 5 * 15) / 1e6)

    with FakeApiThread() as api:
        run(scene)


def test_a_request_that_cannot_be_written_down_leaves_room_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        # Of requests whose time nobody knows yet, the second waits until the first is over.
        budget = BudgetPlan(fleet=Caps(seconds=1000.0))
        async with world(tmp_path, api.url, budget=budget) as here:
            accounts = here.desk.accounts

            def full(*_: object) -> Spent:
                raise LedgerError(str(tmp_path), "the disk is full")

            with monkeypatch.context() as patch:
                patch.setattr(accounts, "note", full)
                # Its answer has begun; its end is never seen.
                with contextlib.suppress(aiohttp.ClientError):
                    await here.ask()
            async with asyncio.timeout(5):
                assert (await here.ask())[0] == 200

    with FakeApiThread() as api:
        run(scene)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 64000.0),
        ("max_tokens", "100"),
        ("max_tokens", True),
        ("stream", 1),
        ("stream", None),
        ("model", 7),
        ("speed", ["fast"]),
    ],
)
def test_a_request_that_cannot_be_booked_is_refused_and_not_sent(
    tmp_path: Path,
    field: str,
    value: Any,  # noqa: ANN401 - any JSON
) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            status, text = await here.ask(**{field: value})
            error = json.loads(text)["error"]
            assert (status, error["type"]) == (400, "invalid_request_error")
            assert f"$.{field}" in error["message"]
        assert api.requests == []

    with FakeApiThread() as api:
        run(scene)


@pytest.mark.parametrize(
    ("caps", "whole"),
    [
        # Each answer has 15 tokens and costs 0.000105 dollars; at most it could be far more, but
        # for the time.
        (Caps(tokens=40), 3),
        (Caps(dollars=0.0003), 3),
        (Caps(turns=4), 4),
        # Each answer takes a second, see below: two are within it, three are not.
        (Caps(seconds=2.9), 3),
    ],
    ids=["tokens", "dollars", "turns", "seconds"],
)
def test_ten_agents_at_once_pass_the_fleets_budget_by_no_more_than_one_answer(
    tmp_path: Path, caps: Caps, whole: int
) -> None:
    say = scripted(text="hello", delay=0.2)

    async def scene() -> None:
        ten = "abcdefghij"
        async with world(tmp_path, api.url, agents=ten, budget=BudgetPlan(fleet=caps)) as here:
            # Where seconds count, they go one by one: each takes one, however busy the machine.
            here.desk.accounts._clock = lambda: float(len(api.requests))
            asked = asyncio.ensure_future(here.ask_all(20, ten, messages=say))
            await until(lambda: "budget" in here.waited_for() or asked.done())
            assert await asked == {200: whole, 402: 20 - whole}
            assert here.spent().tokens == 15 * whole

    with FakeApiThread() as api:
        run(scene)


@pytest.mark.parametrize("scope", ["task", "agent", "fleet"])
@pytest.mark.parametrize(
    ("unit", "cap"), [("dollars", 0.0001), ("tokens", 15), ("turns", 1), ("seconds", 0.001)]
)
def test_each_of_the_twelve_budgets_of_the_configuration_is_kept(
    tmp_path: Path, scope: str, unit: str, cap: float
) -> None:
    name = f"budget.{scope}_{unit}"
    settings = load(overrides={"agent.model": HELLO["model"], name: cap}).settings
    plan = DeskPlan.from_args(desk_args(settings, tmp_path, "test"))

    async def scene() -> None:
        async with world(tmp_path, api.url, budget=plan.budget) as here:
            here.desk.accounts.assign("a", {"task_id": "t1", "priority": 5})
            # Long enough to use up the seconds, however quick the machine.
            assert (await here.ask(messages=scripted(text="hello", delay=0.02)))[0] == 200
            status, said = await here.ask()
            assert status == 402
            assert f"({name})" in said
            # Another agent with another task pays only for what is the fleet's.
            here.desk.accounts.assign("b", {"task_id": "t2", "priority": 5})
            assert (await here.ask("b"))[0] == (402 if scope == "fleet" else 200)
        assert events(api.requests)["request"] == (1 if scope == "fleet" else 2)

    with FakeApiThread() as api:
        run(scene)


def test_counting_tokens_is_neither_held_nor_charged(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url, budget=BudgetPlan(fleet=Caps(turns=1))) as here:
            url = "http://localhost/v1/messages/count_tokens"
            for _ in range(3):
                async with here.sessions["a"].post(url, json=HELLO) as answer:
                    assert answer.status == 200
                    assert (await answer.json())["input_tokens"] > 0
            assert here.spent().asks == 0

    with FakeApiThread() as api:
        run(scene)


# -- clients that do their worst --------------------------------------------------------------


async def is_dropped(path: Path, first: bytes) -> bool:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(first)
    try:
        return await asyncio.wait_for(reader.read(1), 10.0) == b""
    except ConnectionError:
        return True
    finally:
        writer.close()


def test_a_head_that_does_not_end_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GuardedServer, "head_s", 0.2)

    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            assert await is_dropped(tmp_path / "a.sock", b"POST /v1/messages HTTP/1.1\r\nHost: x")
            # A connection that is idle between two requests is left alone.
            assert (await here.ask())[0] == 200
            await asyncio.sleep(0.4)
            assert (await here.ask())[0] == 200
            assert len(api.requests) == 2

    with FakeApiThread() as api:
        run(scene)


def test_a_head_that_is_too_large_is_not_taken(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            path = str(tmp_path / "a.sock")
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n")
            lines = b"".join(b"x-%d: %s\r\n" % (n, b"x" * 9000) for n in range(40))
            writer.write(lines + b"Content-Length: 2\r\n\r\n{}")
            with contextlib.suppress(ConnectionError):
                assert b" 200 " not in await asyncio.wait_for(reader.readline(), 10.0)
            writer.close()
            assert api.requests == []
            assert (await here.ask())[0] == 200

    with FakeApiThread() as api:
        run(scene)


def test_an_agent_that_does_not_read_its_answer_is_cut_off(tmp_path: Path) -> None:
    # More than the sockets and buffers between here and there can hold.
    step = json.dumps([{"text": "x" * (8 << 20)}])
    body = json.dumps(
        HELLO | {"stream": True, "messages": [{"role": "user", "content": f"@@ {step} @@"}]}
    )

    async def scene() -> None:
        async with world(tmp_path, api.url, desk={"unread_s": 0.2}) as here:
            _, writer = await asyncio.open_unix_connection(str(tmp_path / "a.sock"))
            head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write((head + body).encode())
            await until(lambda: any(each["kind"] == "usage" for each in here.reports))
            assert here.spent().cut == 1
            writer.close()

    with FakeApiThread() as api:
        run(scene)


def test_more_connections_than_an_agent_needs_are_dropped(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url) as here:
            path = str(tmp_path / "a.sock")
            opened = [await asyncio.open_unix_connection(path) for _ in range(MAX_CONNECTIONS)]
            assert await is_dropped(tmp_path / "a.sock", b"")
            assert (await here.ask("b"))[0] == 200
            for _, writer in opened:
                writer.close()

    with FakeApiThread() as api:
        run(scene)


def test_a_body_that_does_not_arrive_is_not_waited_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url, agents="") as here:
            app = AgentApp("a", here.desk, body_s=0.1)
            server = await asyncio.get_running_loop().create_unix_server(
                GuardedServer(app.handle), str(tmp_path / "slow.sock")
            )
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "slow.sock"))
            writer.write(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            assert b"408" in await reader.readline()
            writer.close()
            server.close()
        assert api.requests == []

    with FakeApiThread() as api:
        run(scene)


def test_what_an_agents_requests_take_of_memory_together_has_a_limit(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path, api.url, agents="") as here:
            app = AgentApp("a", here.desk, max_body_bytes=1000, max_held_bytes=2500)
            path = str(tmp_path / "small.sock")
            loop = asyncio.get_running_loop()
            server = await loop.create_unix_server(GuardedServer(app.handle), path)
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
                await storm(api.url, seconds=2)
                body = json.dumps(HELLO | {"x": "x" * 700})

                async def ask() -> int:
                    async with session.post("http://localhost/v1/messages", data=body) as answer:
                        return answer.status

                assert Counter(await asyncio.gather(*(ask() for _ in range(5)))) == {200: 2, 529: 3}
                # Room that was given back is there again.
                assert Counter(await asyncio.gather(*(ask() for _ in range(2)))) == {200: 2}
            server.close()

    with FakeApiThread() as api:
        run(scene)
