"""What the client answers when the CLI asks, and what it makes of the CLI's silence."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from fakes.played_cli import SOON_S, PlayedCli

from understudy.actors.claude import (
    Cancellation,
    ClaudeDied,
    ClaudeUnresponsive,
    ControlRefused,
    McpServer,
    PermissionRequest,
    PermissionState,
    Tool,
    TurnLost,
    TurnStalled,
)
from understudy.actors.claude import client as client_module
from understudy.actors.claude import turn as turn_module
from understudy.actors.claude.answers import MAX_CALLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Run = Callable[..., Future[Any]]

RESULT: dict[str, Any] = {"type": "result", "subtype": "success", "is_error": False}
BASH = {"tool_name": "Bash", "input": {"command": "make"}, "tool_use_id": "toolu_1"}
RUNNING = {"type": "system", "subtype": "session_state_changed", "state": "running"}
IDLE = {"type": "system", "subtype": "session_state_changed", "state": "idle"}


@pytest.fixture
def cli() -> Iterator[PlayedCli]:
    played = PlayedCli()
    yield played
    played.die()


@pytest.fixture
def run() -> Iterator[Callable[..., Future[Any]]]:
    with ThreadPoolExecutor(4) as pool:
        yield pool.submit


class Desk:
    """Where requests for permission arrive."""

    def __init__(self) -> None:
        self._arrived = threading.Semaphore(0)
        self.requests: list[PermissionRequest] = []

    def __call__(self, request: PermissionRequest) -> None:
        self.requests.append(request)
        self._arrived.release()

    def next(self) -> PermissionRequest:
        assert self._arrived.acquire(timeout=SOON_S)
        return self.requests[-1]


def body(line: dict[str, Any]) -> dict[str, Any]:
    """The content of a control response that is a success."""
    assert line["response"]["subtype"] == "success", line
    content: dict[str, Any] = line["response"]["response"]
    return content


# -- permissions ------------------------------------------------------------------------------


def test_an_allowed_call_is_made_as_it_was_or_as_it_was_changed(cli: PlayedCli) -> None:
    desk = Desk()
    with cli.connect(on_permission=desk):
        cli.request("p1", "can_use_tool", **BASH, blocked_path="/etc")
        request = desk.next()
        assert (request.tool, request.tool_input) == ("Bash", {"command": "make"})
        assert (request.tool_use_id, request.blocked_path) == ("toolu_1", "/etc")
        assert request.allow()
        assert body(cli.hear()) == {"behavior": "allow", "updatedInput": {"command": "make"}}
        cli.request("p2", "can_use_tool", **BASH)
        assert desk.next().allow({"command": "make test"})
        assert body(cli.hear())["updatedInput"] == {"command": "make test"}


def test_the_first_answer_counts(cli: PlayedCli) -> None:
    desk = Desk()
    with cli.connect(on_permission=desk):
        cli.request("p1", "can_use_tool", **BASH)
        request = desk.next()
        assert request.deny("not today", interrupt=True)
        assert not request.allow()
        assert request.state is PermissionState.DENIED
        answer = body(cli.hear())
        assert answer == {"behavior": "deny", "message": "not today", "interrupt": True}
        assert cli.says_nothing_for(0.05)


def test_what_nobody_answers_in_time_is_denied(cli: PlayedCli) -> None:
    desk = Desk()
    with cli.connect(on_permission=desk, permission_timeout_s=0.05):
        cli.request("p1", "can_use_tool", **BASH)
        answer = body(cli.hear())
        assert answer["behavior"] == "deny"
        assert "within 0.05 s" in answer["message"]
        assert not desk.next().allow()
        assert desk.requests[0].state is PermissionState.EXPIRED


def test_a_desk_that_fails_has_denied(cli: PlayedCli, caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: PermissionRequest) -> None:
        raise KeyError(request.tool)

    with cli.connect(on_permission=fail):
        cli.request("p1", "can_use_tool", **BASH)
        assert body(cli.hear())["behavior"] == "deny"
    assert "nobody could be asked about Bash" in caplog.text


def test_a_withdrawn_request_takes_no_answer(cli: PlayedCli) -> None:
    desk = Desk()
    with cli.connect(on_permission=desk):
        cli.request("p1", "can_use_tool", **BASH)
        request = desk.next()
        cli.say({"type": "control_cancel_request", "request_id": "p1"})
        cli.request("q", "never heard of")
        cli.hear()  # so the client has read all that was said
        assert request.state is PermissionState.WITHDRAWN
        assert not request.allow()
        assert cli.says_nothing_for(0.05)


def test_the_end_of_the_cli_withdraws_what_is_open(cli: PlayedCli, run: Run) -> None:
    desk = Desk()
    with cli.connect(on_permission=desk) as client:
        turn = run(client.run_turn, "x", timeout_s=SOON_S)
        cli.hear()
        cli.request("p1", "can_use_tool", **BASH)
        request = desk.next()
        cli.die()
        with pytest.raises(ClaudeDied):
            turn.result(SOON_S)
    assert request.state is PermissionState.WITHDRAWN


# -- tools ------------------------------------------------------------------------------------


class Slow:
    """A tool whose calls end when the test says so, or when they are cancelled."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.cancelled = threading.Event()

    def __call__(self, arguments: Mapping[str, Any], cancellation: Cancellation) -> str:
        cancellation.on_cancel(self.go_on.set)
        self.begun.release()
        self.go_on.wait(SOON_S)
        if cancellation.requested:
            self.cancelled.set()
        return f"done {arguments}"

    def server(self) -> McpServer:
        return McpServer("bus", [Tool("work", "works", {"type": "object"}, self)])


def call_work(cli: PlayedCli, request_id: str, rpc_id: int) -> None:
    params = {"name": "work", "arguments": {"n": rpc_id}}
    message = {"jsonrpc": "2.0", "id": rpc_id, "method": "tools/call", "params": params}
    cli.request(request_id, "mcp_message", server_name="bus", message=message)


def test_two_handshakes_with_the_same_ids_get_an_answer_each(cli: PlayedCli) -> None:
    with cli.connect(servers=[Slow().server()]):
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}}
        for request_id in ("a", "b"):
            cli.request(request_id, "mcp_message", server_name="bus", message=message)
        answers = [cli.hear() for _ in range(2)]
        assert [answer["response"]["request_id"] for answer in answers] == ["a", "b"]
        assert all(body(answer)["mcp_response"]["id"] == 0 for answer in answers)


def test_servers_are_declared_and_an_unknown_one_is_refused(cli: PlayedCli, run: Run) -> None:
    with cli.connect(servers=[Slow().server()]) as client:
        ready = run(client.initialize, SOON_S)
        request = cli.hear()
        assert request["request"]["sdkMcpServers"] == ["bus"]
        cli.answer(request, response={})
        ready.result(SOON_S)
        cli.request("a", "mcp_message", server_name="other", message={"method": "ping", "id": 1})
        assert "no server 'other'" in cli.hear()["response"]["error"]


def test_calls_run_side_by_side_and_block_nothing(cli: PlayedCli, run: Run) -> None:
    tool = Slow()
    with cli.connect(servers=[tool.server()]) as client:
        call_work(cli, "a", 1)
        call_work(cli, "b", 2)
        for _ in range(2):
            assert tool.begun.acquire(timeout=SOON_S)
        model = run(client.set_model, "m", SOON_S)
        request = cli.hear()
        assert request["request"] == {"subtype": "set_model", "model": "m"}
        cli.answer(request)
        model.result(SOON_S)
        tool.go_on.set()
        answers = {line["response"]["request_id"]: body(line) for line in (cli.hear(), cli.hear())}
        texts = {
            key: answer["mcp_response"]["result"]["content"][0]["text"]
            for key, answer in answers.items()
        }
        assert texts == {"a": "done {'n': 1}", "b": "done {'n': 2}"}


def test_more_calls_than_there_is_room_for_are_refused(cli: PlayedCli) -> None:
    tool = Slow()
    with cli.connect(servers=[tool.server()]):
        for number in range(MAX_CALLS + 1):
            call_work(cli, f"c{number}", number)
        answer = cli.hear()["response"]
        assert (answer["request_id"], answer["subtype"]) == (f"c{MAX_CALLS}", "error")
        tool.go_on.set()
        assert len({cli.hear()["response"]["request_id"] for _ in range(MAX_CALLS)}) == MAX_CALLS


@pytest.mark.parametrize("how", ["notification", "withdrawal", "end"])
def test_a_cancelled_call_is_told_and_its_result_dropped(cli: PlayedCli, how: str) -> None:
    tool = Slow()
    with cli.connect(servers=[tool.server()]):
        call_work(cli, "a", 7)
        assert tool.begun.acquire(timeout=SOON_S)
        if how == "notification":
            message = {"method": "notifications/cancelled", "params": {"requestId": 7}}
            cli.request("n", "mcp_message", server_name="bus", message=message)
            assert cli.hear()["response"]["request_id"] == "n"
        elif how == "withdrawal":
            cli.say({"type": "control_cancel_request", "request_id": "a"})
        else:
            cli.end_output()
        assert tool.cancelled.wait(SOON_S)
        assert cli.says_nothing_for(0.05)


def test_a_cancellation_of_another_call_changes_nothing(cli: PlayedCli) -> None:
    tool = Slow()
    with cli.connect(servers=[tool.server()]):
        call_work(cli, "a", 7)
        assert tool.begun.acquire(timeout=SOON_S)
        message = {"method": "notifications/cancelled", "params": {"requestId": 8}}
        cli.request("n", "mcp_message", server_name="bus", message=message)
        cli.hear()
        tool.go_on.set()
        assert cli.hear()["response"]["request_id"] == "a"
        assert not tool.cancelled.is_set()


# -- silence ----------------------------------------------------------------------------------


def test_silence_while_the_cli_waits_for_us_is_no_stall(cli: PlayedCli, run: Run) -> None:
    desk = Desk()
    with cli.connect(on_permission=desk) as client:
        turn = run(client.run_turn, "x", timeout_s=SOON_S, stall_s=1.0)
        cli.hear()
        cli.request("p1", "can_use_tool", **BASH)
        request = desk.next()
        assert cli.says_nothing_for(1.5)
        assert request.allow()
        assert body(cli.hear())["behavior"] == "allow"
        assert cli.hear()["request"] == {"subtype": "interrupt"}  # now the silence is the CLI's
        cli.say(RESULT)
        with pytest.raises(TurnStalled):
            turn.result(SOON_S)


def test_a_cli_that_rests_without_a_result_has_lost_the_turn(
    cli: PlayedCli, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_module, "_RESULT_AFTER_REST_S", 0.05)
    killed = threading.Event()
    with cli.connect(kill=killed.set) as client:
        turn = run(client.run_turn, "x", timeout_s=SOON_S)
        cli.hear()
        cli.say(IDLE)  # the rest after the turn before
        assert cli.says_nothing_for(0.1)
        assert not turn.done()
        cli.say(RUNNING, IDLE)
        with pytest.raises(TurnLost, match="came to rest") as caught:
            turn.result(SOON_S)
        assert not caught.value.settled
        assert killed.is_set()
        assert cli.says_nothing_for(0.05)  # there is nothing to interrupt


def test_a_cli_that_does_not_rest_after_its_result_is_told_from_one_that_does(
    cli: PlayedCli, run: Run
) -> None:
    with cli.connect() as client:
        turn = run(client.run_turn, "x", timeout_s=SOON_S)
        cli.hear()
        cli.say(RUNNING, RESULT)
        turn.result(SOON_S)
        with pytest.raises(ClaudeUnresponsive, match="come to rest"):
            client.rest(0.05)
        rested = run(client.rest, SOON_S)
        cli.say(IDLE)
        rested.result(SOON_S)


def test_a_cli_that_ignores_its_interrupt_is_killed(
    cli: PlayedCli, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "INTERRUPT_GRACE_S", 0.05)
    killed = threading.Event()
    with cli.connect(kill=killed.set) as client:
        turn = run(client.run_turn, "x", timeout_s=SOON_S, stall_s=0.05)
        with pytest.raises(TurnStalled) as caught:
            turn.result(SOON_S)
        assert not caught.value.settled
        assert killed.is_set()


def test_a_cli_whose_interrupt_works_is_not_killed(cli: PlayedCli, run: Run) -> None:
    killed = threading.Event()
    with cli.connect(kill=killed.set) as client:
        turn = run(client.run_turn, "x", timeout_s=SOON_S, stall_s=0.05)
        cli.hear()
        assert cli.hear()["request"] == {"subtype": "interrupt"}
        cli.say(RESULT)
        with pytest.raises(TurnStalled) as caught:
            turn.result(SOON_S)
        assert caught.value.settled
        assert not killed.is_set()


def test_the_end_of_its_input_ends_the_cli_or_it_is_killed(cli: PlayedCli, run: Run) -> None:
    killed = threading.Event()
    with cli.connect(kill=killed.set) as client:
        assert not client.end(0.05)
        assert killed.is_set()
        killed.clear()
        assert cli.hears_the_end()
        ended = run(client.end, SOON_S)
        cli.die()
        assert ended.result(SOON_S)
        assert not killed.is_set()


# -- settings at run time ---------------------------------------------------------------------


def test_a_mode_that_does_not_exist_is_refused_here(cli: PlayedCli) -> None:
    with (
        cli.connect() as client,
        pytest.raises(ControlRefused, match="'anything' is none of"),
    ):
        client.set_permission_mode("anything")


def test_the_mode_and_the_servers_states_are_asked_of_the_cli(cli: PlayedCli, run: Run) -> None:
    with cli.connect() as client:
        mode = run(client.set_permission_mode, "plan", SOON_S)
        request = cli.hear()
        assert request["request"] == {"subtype": "set_permission_mode", "mode": "plan"}
        cli.answer(request, response={"mode": "plan"})
        mode.result(SOON_S)
        status = run(client.mcp_status, SOON_S)
        servers = {"mcpServers": [{"name": "bus", "status": "connected"}]}
        cli.answer(cli.hear(), response=servers)
        assert status.result(SOON_S) == {"bus": "connected"}
