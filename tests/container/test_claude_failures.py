"""Each failure of the API, of the model and of the CLI, provoked through the real CLI: its kind."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes.real_cli import TURN_S, Cli, scripted

from understudy.actors.claude import ClaudeDied, ClaudeUnresponsive, TurnStalled
from understudy.actors.claude import client as client_module
from understudy.actors.claude.argv import CliRole
from understudy.actors.crash import explain
from understudy.actors.errors import PodmanError
from understudy.actors.failure import FailureKind, classify_exit

if TYPE_CHECKING:
    from pathlib import Path

    from understudy.actors.seat import Seat

pytestmark = pytest.mark.podman

MODEL = "claude-sonnet-4-5"
SPEAKER = CliRole((), model=MODEL)
WORKER = CliRole(("Bash", "Read"), model=MODEL)
ECHO = {"tool": "Bash", "input": {"command": "echo"}}
_BEGIN_S = 2.0
FINE = {"text": "fine"}


def error(status: int, **more: object) -> dict[str, Any]:
    return {"error": status, **more}


NO_CREDIT = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing"
)
TOO_LONG = "prompt is too long: 250000 tokens > 200000 maximum"
NO_OAUTH = "OAuth authentication is currently not allowed for this organization."

# What the API does, and what the turn is taken for; None is a success.
ROWS: dict[str, tuple[dict[str, Any], FailureKind | None]] = {
    "key refused": (error(401), FailureKind.AUTH),
    "not permitted": (error(403), FailureKind.AUTH),
    "organization not permitted": (error(403, message=NO_OAUTH), FailureKind.AUTH),
    "payment required": (error(402), FailureKind.CONFIG),
    "no credit": (error(400, message=NO_CREDIT), FailureKind.CONFIG),
    "invalid request": (error(400), FailureKind.INTERNAL),
    "prompt too long": (error(400, message=TOO_LONG), FailureKind.CONTEXT_FULL),
    "request too large": (error(413), FailureKind.CONTEXT_FULL),
    "no such model": (error(404, message="model: claude-nope"), FailureKind.CONFIG),
    "rate limit": (error(429), FailureKind.RATE_LIMITED),
    "rate limit for long": (error(429, headers={"retry-after": 600}), FailureKind.RATE_LIMITED),
    "500": (error(500), FailureKind.API_DOWN),
    "502": (error(502), FailureKind.API_DOWN),
    "503": (error(503), FailureKind.API_DOWN),
    "504": (error(504), FailureKind.API_DOWN),
    "overloaded": (error(529), FailureKind.OVERLOADED),
    "closed before the answer": ({"reset": "before"}, FailureKind.API_DOWN),
    "no answer": ({"hang": 30}, FailureKind.API_DOWN),
    "broken event": ({"malformed": "json"}, FailureKind.API_DOWN),
    "a page": ({"malformed": "html"}, FailureKind.API_DOWN),
    "nothing": ({"malformed": "empty"}, FailureKind.API_DOWN),
    "error in the stream": ({"sse_error": "api_error"}, None),
    "slow": ({"text": "a b c d", "slow": 0.05, "pieces": 4}, None),
}
# The same with each stream fault reported, not repeated without a stream.
STREAM_ROWS: dict[str, tuple[dict[str, Any], set[FailureKind | None]]] = {
    "closed in the middle": ({"reset": "mid", "text": "half"}, {FailureKind.API_DOWN}),
    "broken event": ({"malformed": "json"}, {FailureKind.API_DOWN}),
    "nothing": ({"malformed": "empty"}, {FailureKind.API_DOWN}),
    # 2.1.197 does not tell what the error in the stream was.
    "overloaded in the stream": (
        {"sse_error": "overloaded_error"},
        {FailureKind.OVERLOADED, FailureKind.API_DOWN},
    ),
    # 2.1.330 asks the model to go on, 2.1.197 passes the half off as the whole.
    "ended in the middle": (
        {"malformed": "truncated", "text": "half"},
        {FailureKind.API_DOWN, None},
    ),
}


@pytest.fixture(params=["agent_image", "old_agent_image"])
def image(request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue(request.param)
    return name


def test_each_failure_of_the_api_is_told_apart_and_the_next_turn_works(
    tmp_path: Path, image: str
) -> None:
    told: dict[str, FailureKind | None] = {}
    with Cli(tmp_path, image, SPEAKER, API_TIMEOUT_MS="2000") as cli:
        for name, (step, _) in ROWS.items():
            told[name] = cli.kind(step)
            cli.client.clear()
        assert cli.kind(FINE) is None
    assert told == {name: kind for name, (_, kind) in ROWS.items()}


def test_faults_of_a_stream_are_told_apart_when_it_is_not_repeated(
    tmp_path: Path, image: str
) -> None:
    with Cli(tmp_path, image, SPEAKER, CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK="1") as cli:
        for name, (step, kinds) in STREAM_ROWS.items():
            assert cli.kind(step) in kinds, name
            cli.client.clear()


def test_what_the_model_does_wrong_is_told_apart(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, SPEAKER) as cli:
        refused = {"text": "no", "stop_reason": "refusal"}
        assert cli.kind(*[refused] * 8) is FailureKind.REFUSAL
        cli.client.clear()
        # The CLI has the model go on three times.
        cut = {"text": "part", "stop_reason": "max_tokens"}
        assert cli.kind(cut, cut, {"text": "end"}) is None
        assert cli.kind(*[cut] * 8) is FailureKind.OUTPUT_LIMIT
        cli.client.clear()
        full = {"text": "part", "stop_reason": "model_context_window_exceeded"}
        assert cli.kind(*[full] * 8) is FailureKind.CONTEXT_FULL
        cli.client.clear()
        assert cli.kind({"text": "wait", "stop_reason": "pause_turn"}) is FailureKind.API_DOWN
        # A tool that does not exist is the model's affair: it is told, and goes on.
        assert cli.kind({"tool": "Nope", "input": {}}, FINE) is None


def test_the_limits_of_a_process_are_told_apart(tmp_path: Path, image: str) -> None:
    role = CliRole(("Bash",), model=MODEL, max_turns=2, max_budget_usd=0.01)
    with Cli(tmp_path, image, role) as cli:
        assert cli.kind(ECHO, ECHO, ECHO, FINE) is FailureKind.MAX_TURNS
        assert cli.kind(FINE) is None
        dear = {"text": "dear", "usage": {"output_tokens": 100_000}}
        assert cli.kind(dear) is FailureKind.BUDGET
        # Every later turn of the process fails at once.
        assert cli.kind(FINE) is FailureKind.BUDGET


def test_without_a_key_nothing_is_asked(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, SPEAKER, ANTHROPIC_API_KEY="") as cli:
        assert cli.kind(FINE) is FailureKind.AUTH
        assert cli.api.requests == []


def test_a_gateway_that_does_not_answer_its_socket_is_the_api_down(
    tmp_path: Path, image: str
) -> None:
    with Cli(tmp_path, image, SPEAKER) as cli:
        path = cli.sockets / "api.sock"
        path.unlink()
        assert cli.kind(FINE) is FailureKind.API_DOWN
        with socket.socket(socket.AF_UNIX) as deaf:  # bound, and nobody listens: refused
            deaf.bind(str(path))
            path.chmod(0o777)
            assert cli.kind(FINE) is FailureKind.API_DOWN


def test_a_stream_that_stops_is_a_stall_within_its_time(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, SPEAKER) as cli:
        cli.client.initialize(TURN_S)
        for place in ("headers", "mid"):
            prompt = scripted({"hang": 60, "at": place, "text": "half"})
            started = time.monotonic()
            with pytest.raises(TurnStalled) as caught:
                cli.client.run_turn(prompt, timeout_s=20.0, stall_s=0.5)
            # A part of the time goes by until the stream has begun to stand still.
            assert time.monotonic() - started < 0.5 + 1.0 + _BEGIN_S
            assert caught.value.settled
            assert cli.kind(FINE) is None


def test_a_frozen_cli_is_interrupted_then_killed(
    tmp_path: Path, agent_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "INTERRUPT_GRACE_S", 0.5)
    killed = threading.Event()
    with Cli(tmp_path, agent_image, SPEAKER, client={"kill": killed.set}) as cli:
        cli.client.initialize(TURN_S)
        cli.when_asked(lambda: cli.container.exec("pkill -STOP claude"))
        prompt = scripted({"hang": 60, "at": "mid", "text": "half"})
        with pytest.raises(TurnStalled) as caught:
            cli.client.run_turn(prompt, timeout_s=60.0, stall_s=6.0)
        assert not caught.value.settled
        assert killed.is_set()


def test_a_cli_that_is_never_ready_is_given_up(tmp_path: Path, agent_image: str) -> None:
    role = CliRole((), model=MODEL)
    with Cli(tmp_path, agent_image, role) as cli:
        cli.container.exec("pkill -STOP claude")
        with pytest.raises(ClaudeUnresponsive, match="'initialize'") as caught:
            cli.client.initialize(0.5)
        seat = cast("Seat", SimpleNamespace(container=cli.container, client=cli.client))
        assert explain(caught.value, seat).kind is FailureKind.HUNG


@pytest.mark.parametrize(
    ("command", "code"),
    [("kill -KILL 1; pkill -KILL claude", 137), ("pkill -TERM claude", 143)],
)
def test_a_cli_that_is_ended_by_a_signal_has_crashed(
    tmp_path: Path, image: str, command: str, code: int
) -> None:
    def strike() -> None:
        # It ends with what it ends: podman may not find the container any more to say how.
        with contextlib.suppress(PodmanError):
            cli.container.exec(command)

    with Cli(tmp_path, image, SPEAKER) as cli:
        cli.client.initialize(TURN_S)
        cli.when_asked(strike)
        with pytest.raises(ClaudeDied):
            cli.turn({"hang": 60, "at": "mid", "text": "half"})
        assert cli.container.wait(5.0)
        found = cli.container.exit_code(timeout_s=20.0)
        assert found == code
        assert classify_exit(found, oom=cli.container.oom()) is FailureKind.CRASH


def test_a_container_without_memory_is_an_oom(tmp_path: Path, image: str) -> None:
    role = CliRole(("Bash",), model=MODEL)
    hog = "python3 -c 'x = bytearray(1 << 30)' || perl -e '$x = \"a\" x (1 << 30); sleep 1'"
    with Cli(tmp_path, image, role, memory="400m") as cli:
        cli.client.initialize(TURN_S)
        # The kernel ends the command or the CLI; the container's count tells in both cases.
        try:
            cli.turn({"tool": "Bash", "input": {"command": hog}}, FINE)
        except ClaudeDied:
            assert cli.container.wait(5.0)
        assert cli.container.oom()
        assert classify_exit(137, oom=cli.container.oom()) is FailureKind.OOM
