"""ClaudeClient against a CLI played by the test, over real pipes."""

from __future__ import annotations

import json
import os
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from fakes.played_cli import SOON_S, PlayedCli

from understudy.actors.claude import (
    ClaudeClient,
    ClaudeDied,
    ClaudeUnresponsive,
    ClearFailed,
    ControlRefused,
    PermissionRequest,
    TurnCancelled,
    TurnInProgress,
    TurnStalled,
    TurnTimeout,
)
from understudy.actors.claude import client as client_module
from understudy.actors.claude import pipes as pipes_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., Future[Any]]

RESULT: dict[str, Any] = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "num_turns": 1,
    "result": "done",
    "session_id": "s-1",
    "total_cost_usd": 0.5,
}
CLEARED = {**RESULT, "result": "", "num_turns": 0, "session_id": "s-2", "total_cost_usd": 0}


@pytest.fixture
def cli() -> Iterator[PlayedCli]:
    played = PlayedCli()
    yield played
    played.die()


@pytest.fixture
def run() -> Iterator[Callable[..., Future[Any]]]:
    with ThreadPoolExecutor(4) as pool:
        yield pool.submit


@pytest.fixture
def client(cli: PlayedCli) -> Iterator[ClaudeClient]:
    with cli.connect() as connected:
        yield connected


def test_initialize_returns_what_the_cli_says_about_itself(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    ready = run(client.initialize, SOON_S)
    request = cli.hear()
    assert request["type"] == "control_request"
    assert request["request"]["subtype"] == "initialize"
    cli.answer(request, response={"pid": 6})
    assert ready.result(SOON_S) == {"pid": 6}


def test_a_cli_that_never_answers_is_unresponsive(client: ClaudeClient) -> None:
    with pytest.raises(ClaudeUnresponsive, match=r"'initialize' within 0\.05 s"):
        client.initialize(0.05)


def test_a_refused_request_says_why(cli: PlayedCli, client: ClaudeClient, run: Run) -> None:
    asked = run(client.interrupt, SOON_S)
    request = cli.hear()
    cli.answer(request, subtype="error", error="Unsupported control request subtype")
    with pytest.raises(ControlRefused, match="Unsupported"):
        asked.result(SOON_S)


def test_a_turn_returns_its_result_and_tells_all_events_but_fragments(
    cli: PlayedCli, run: Run
) -> None:
    seen: list[dict[str, Any]] = []
    with cli.connect(on_event=seen.append) as client:
        turn = run(client.run_turn, "do it", timeout_s=SOON_S)
        assert cli.hear() == {"type": "user", "message": {"role": "user", "content": "do it"}}
        cli.say({"type": "system", "subtype": "init", "session_id": "s-1"})
        cli.say({"type": "stream_event", "event": {}}, {"type": "never heard of"})
        cli.say(RESULT)
        assert turn.result(SOON_S) == RESULT
        assert [event["type"] for event in seen] == ["system", "never heard of", "result"]
        assert client.session_id == "s-1"
        assert client.total_cost_usd == 0.5


def test_a_prompt_of_any_characters_is_one_line_of_ascii(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    text = "a\nb\u2028c\x00 日本 \udc80"
    turn = run(client.run_turn, text, timeout_s=SOON_S)
    assert cli.hear()["message"]["content"] == text
    cli.say(RESULT)
    turn.result(SOON_S)


def test_an_event_split_at_every_byte_arrives_whole(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    for byte in json.dumps(RESULT).encode() + b"\n":
        cli.say_raw(bytes([byte]))
    assert turn.result(SOON_S) == RESULT


def test_a_line_of_four_megabytes_arrives_whole(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    cli.say({**RESULT, "result": "y" * (4 << 20)})
    assert len(turn.result(SOON_S)["result"]) == 4 << 20


def test_a_line_over_the_limit_ends_the_talk(cli: PlayedCli, run: Run) -> None:
    with cli.connect(line_limit_bytes=1000) as client:
        turn = run(client.run_turn, "x", timeout_s=SOON_S)
        cli.hear()
        cli.say_raw(b"z" * 1001)
        with pytest.raises(ClaudeDied, match="more than 1000 bytes"):
            turn.result(SOON_S)
        assert not client.alive


def test_a_prompt_larger_than_the_pipe_arrives_whole(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    text = "p" * 1_000_000
    turn = run(client.run_turn, text, timeout_s=SOON_S)
    assert cli.hear()["message"]["content"] == text
    cli.say(RESULT)
    turn.result(SOON_S)


def test_a_cli_that_reads_no_input_is_given_up_and_hears_no_torn_line(
    cli: PlayedCli, client: ClaudeClient
) -> None:
    with pytest.raises(ClaudeUnresponsive, match="read its input"):
        client.run_turn("p" * 1_000_000, timeout_s=0.1)
    with pytest.raises(ClaudeDied):
        client.run_turn("next", timeout_s=SOON_S)
    assert cli.its_in is not None
    got = b""
    while chunk := os.read(cli.its_in, 1 << 16):
        got += chunk
    assert b"\n" not in got


def test_what_is_no_json_object_is_passed_over(
    cli: PlayedCli, client: ClaudeClient, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    cli.say_raw(b'warning: a library speaks\n[]\n"text"\n\n')
    cli.say(RESULT)
    assert turn.result(SOON_S) == RESULT
    assert "a library speaks" in caplog.text


def test_an_end_in_mid_turn_loses_the_turn_and_keeps_the_last_words(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    cli.say({"type": "assistant"})
    cli.say_raw(b'{"type": "res')
    cli.complain("Segmentation fault\n")
    cli.die()
    with pytest.raises(ClaudeDied, match="the CLI ended; it last said: Segmentation fault"):
        turn.result(SOON_S)
    assert not client.alive
    with pytest.raises(ClaudeDied):
        client.run_turn("again", timeout_s=SOON_S)


def test_last_words_that_come_after_the_end_of_the_output_are_kept(
    cli: PlayedCli, client: ClaudeClient, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes_module, "_LAST_WORDS_S", SOON_S)
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    cli.end_output()
    with pytest.raises(TimeoutError):
        turn.result(0.05)
    cli.complain("out of memory")
    cli.die()
    with pytest.raises(ClaudeDied, match="out of memory"):
        turn.result(SOON_S)


def test_an_end_before_readiness_is_told_at_once(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    ready = run(client.initialize, SOON_S)
    cli.hear()
    cli.complain("error: unknown option '--x'")
    cli.die()
    with pytest.raises(ClaudeDied, match="unknown option"):
        ready.result(SOON_S)


def test_a_result_just_before_the_end_still_counts(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    cli.say(RESULT)
    cli.die()
    assert turn.result(SOON_S) == RESULT


def test_only_the_last_64_kib_of_stderr_are_kept(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    ready = run(client.initialize, SOON_S)
    cli.hear()
    for _ in range(10):
        cli.complain("a" * 10_000)
    cli.complain("the end")
    cli.die()
    with pytest.raises(ClaudeDied):
        ready.result(SOON_S)
    assert len(client.stderr_tail()) == 1 << 16
    assert client.stderr_tail().endswith("the end")


def test_a_second_turn_is_refused_while_one_runs(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    with pytest.raises(TurnInProgress):
        client.run_turn("y", timeout_s=SOON_S)
    cli.say(RESULT)
    turn.result(SOON_S)


def test_an_interrupted_turn_returns_the_result_it_ended_with(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    interrupt = run(client.interrupt)
    request = cli.hear()
    assert request["request"] == {"subtype": "interrupt"}
    cli.answer(request)
    interrupted = {**RESULT, "subtype": "error_during_execution", "is_error": True}
    cli.say(interrupted)
    interrupt.result(SOON_S)
    assert turn.result(SOON_S) == interrupted


def test_a_cancelled_turn_is_interrupted_and_ends_as_cancelled(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    assert client.cancel()
    assert cli.hear()["request"] == {"subtype": "interrupt"}
    cli.say(RESULT)
    with pytest.raises(TurnCancelled) as caught:
        turn.result(SOON_S)
    assert caught.value.settled
    again = run(client.run_turn, "next", timeout_s=SOON_S)
    while cli.hear()["type"] != "user":
        pass
    cli.say(RESULT)
    assert again.result(SOON_S) == RESULT


def test_an_interrupt_that_came_too_early_is_sent_again(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    client.cancel()
    requests = [cli.hear(), cli.hear()]
    assert [r["request"]["subtype"] for r in requests] == ["interrupt", "interrupt"]
    cli.say(RESULT)
    with pytest.raises(TurnCancelled):
        turn.result(SOON_S)


def test_nothing_is_cancelled_when_no_turn_runs(client: ClaudeClient) -> None:
    assert not client.cancel()


def test_a_cancellation_from_just_before_the_turn_is_not_lost(
    cli: PlayedCli, client: ClaudeClient
) -> None:
    with pytest.raises(TurnCancelled):
        client.run_turn("x", timeout_s=SOON_S, cancelled=lambda: True)
    assert cli.says_nothing_for(0.0)


def test_a_turn_over_its_time_is_interrupted(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    turn = run(client.run_turn, "x", timeout_s=0.05)
    cli.hear()
    assert cli.hear()["request"] == {"subtype": "interrupt"}
    cli.say(RESULT)
    with pytest.raises(TurnTimeout, match=r"within 0\.05 s") as caught:
        turn.result(SOON_S)
    assert caught.value.settled


def test_a_turn_that_ignores_its_interrupt_blocks_the_next_until_its_result_comes(
    cli: PlayedCli, client: ClaudeClient, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "INTERRUPT_GRACE_S", 0.05)
    turn = run(client.run_turn, "x", timeout_s=0.05)
    cli.hear()
    with pytest.raises(TurnTimeout) as caught:
        turn.result(SOON_S)
    assert not caught.value.settled
    with pytest.raises(TurnInProgress):
        client.run_turn("y", timeout_s=SOON_S)


class HandClock:
    """Shows the time that the test sets, and knows when the turn's thread has looked at it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._now = 0.0
        self._looks = 0

    def __call__(self) -> float:
        with self._changed:
            if threading.current_thread().name.startswith("ThreadPoolExecutor"):
                self._looks += 1
                self._changed.notify_all()
            return self._now

    def set(self, now: float) -> None:
        with self._changed:
            self._now, self._looks = now, 0

    def was_looked_at(self, times: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._looks >= times, SOON_S)


def test_silence_in_a_turn_is_a_stall_and_fragments_are_signs_of_life(
    cli: PlayedCli, run: Run
) -> None:
    clock = HandClock()
    with cli.connect(clock=clock) as client:
        turn = run(client.run_turn, "x", timeout_s=1000.0, stall_s=0.2)
        cli.hear()
        clock.set(0.15)
        cli.say({"type": "stream_event"}, {"type": "control_request", "request_id": "q"})
        cli.hear()  # so the client has read all that was said
        clock.set(0.34)
        assert clock.was_looked_at(4)
        assert cli.says_nothing_for(0.05)
        clock.set(0.36)
        assert cli.hear()["request"] == {"subtype": "interrupt"}
        cli.say(RESULT)
        with pytest.raises(TurnStalled, match=r"no sign of life for 0\.2 s"):
            turn.result(SOON_S)


def test_neither_the_gateway_nor_a_person_who_thinks_takes_a_turns_time(
    cli: PlayedCli, run: Run
) -> None:
    clock, asked = HandClock(), queue.Queue[PermissionRequest]()
    with cli.connect(clock=clock, on_permission=asked.put) as client:
        turn = run(client.run_turn, "x", timeout_s=10.0, stall_s=5.0)
        cli.hear()
        client.hold("gateway", at_most_s=600.0)
        clock.set(300.0)
        client.go_on("gateway")
        request: dict[str, Any] = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {}}
        cli.say({"type": "control_request", "request_id": "p", "request": request})
        permission = asked.get(timeout=SOON_S)
        clock.set(500.0)
        permission.allow()
        assert cli.hear()["type"] == "control_response"
        clock.set(504.9)
        assert cli.says_nothing_for(0.05)
        clock.set(510.0)
        client.go_on("nobody")  # which has it look at the clock
        assert cli.hear()["request"] == {"subtype": "interrupt"}
        cli.say(RESULT)
        with pytest.raises(TurnTimeout, match="within 10 s"):
            turn.result(SOON_S)


def test_a_call_that_needs_permission_is_denied_at_once(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    request: dict[str, Any] = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {}}
    cli.say({"type": "control_request", "request_id": "p1", "request": request})
    answer = cli.hear()["response"]
    assert answer["request_id"] == "p1"
    assert answer["subtype"] == "success"
    assert answer["response"]["behavior"] == "deny"
    cli.say(RESULT)
    turn.result(SOON_S)


@pytest.mark.parametrize("request_", [{"subtype": "hook_callback"}, {}, None, "odd"])
def test_every_other_request_of_the_cli_gets_an_error(
    cli: PlayedCli, client: ClaudeClient, request_: object
) -> None:
    assert client.alive
    cli.say({"type": "control_request", "request_id": "q", "request": request_})
    answer = cli.hear()["response"]
    assert (answer["request_id"], answer["subtype"]) == ("q", "error")


def test_a_failing_listener_does_not_end_the_talk(
    cli: PlayedCli, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: dict[str, Any]) -> None:
        raise KeyError(event["type"])

    with cli.connect(on_event=fail) as client:
        turn = run(client.run_turn, "x", timeout_s=SOON_S)
        cli.hear()
        cli.say(RESULT)
        assert turn.result(SOON_S) == RESULT
    assert "the listener failed" in caplog.text


def test_clear_returns_the_new_conversation_whatever_id_the_reset_names(
    cli: PlayedCli, client: ClaudeClient, run: Run
) -> None:
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    cli.say(RESULT)
    turn.result(SOON_S)
    cleared = run(client.clear)
    assert cli.hear()["message"]["content"] == "/clear"
    cli.say({"type": "conversation_reset", "new_conversation_id": "not a session"})
    cli.say({"type": "system", "subtype": "background_tasks_changed", "session_id": "s-1"})
    cli.say({"type": "system", "subtype": "init", "session_id": "s-2"}, CLEARED)
    assert cleared.result(SOON_S) == "s-2"
    cli.say({"type": "system", "subtype": "task_updated", "session_id": "s-1"})
    cli.say({"type": "control_request", "request_id": "q"})
    cli.hear()  # so the client has read all that was said
    assert client.session_id == "s-2"
    assert client.total_cost_usd == 0


@pytest.mark.parametrize(
    "answer", [{**CLEARED, "session_id": "s-1"}, {**CLEARED, "is_error": True}, RESULT]
)
def test_a_clear_that_did_not_happen_is_an_error(
    cli: PlayedCli, client: ClaudeClient, run: Run, answer: dict[str, Any]
) -> None:
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    cli.say(RESULT)
    turn.result(SOON_S)
    cleared = run(client.clear)
    cli.hear()
    cli.say(answer)
    with pytest.raises(ClearFailed):
        cleared.result(SOON_S)


def test_close_ends_a_waiting_turn_and_can_be_called_twice(cli: PlayedCli, run: Run) -> None:
    client = cli.connect()
    turn = run(client.run_turn, "x", timeout_s=SOON_S)
    cli.hear()
    client.close()
    client.close()
    with pytest.raises(ClaudeDied, match="closed by its owner"):
        turn.result(SOON_S)
    assert cli.its_in is not None
    assert os.read(cli.its_in, 1) == b""


def test_the_owner_may_close_the_files_first(cli: PlayedCli) -> None:
    stdin, stdout = os.fdopen(cli.stdin, "wb"), os.fdopen(cli.stdout, "rb")
    stderr = os.fdopen(cli.stderr, "rb")
    client = ClaudeClient(stdin, stdout, stderr)
    for file in (stdin, stdout, stderr):
        file.close()
    with pytest.raises(ClaudeDied):
        client.run_turn("x", timeout_s=SOON_S)
    client.close()
