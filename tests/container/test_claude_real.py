"""The client against the real CLI in the fleet's own container; only the model is scripted."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from fakes.real_cli import TURN_S, Cli, scripted

from understudy.actors.claude import (
    ClaudeDied,
    TurnCancelled,
    TurnStalled,
    TurnTimeout,
)
from understudy.actors.claude.argv import CliRole
from understudy.actors.claude.events import Usage, cost_delta
from understudy.actors.failure import FailureKind, classify_exit, classify_result
from understudy.actors.podman import (
    CONTAINER_GID,
    CONTAINER_UID,
)
from understudy.actors.tasks import Task
from understudy.actors.tasks.types import READING_TOOLS, TASK_TYPES, WRITING_TOOLS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.podman

CANARY = "CANARY-7f3a"
NUMBER: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
GREP = (
    "grep -rl 'CANARY-7[f]3a' /home /tmp /work /run /dev/shm /var /etc "
    "/proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null"
)
SEVEN = {"tool": "StructuredOutput", "input": {"n": 7}}


READER = CliRole(READING_TOOLS, json_schema=NUMBER, model="claude-sonnet-4-5")


@pytest.fixture(params=["agent_image", "old_agent_image"])
def image(request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue(request.param)
    return name


def test_a_turn_uses_its_tools_and_hands_in_a_structured_result(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, READER) as cli:
        assert "commands" in cli.client.initialize(TURN_S)
        assert cli.client.session_id is None
        (cli.work / "a.txt").write_text("first line\n")
        read = {"tool": "Read", "input": {"file_path": "/work/a.txt"}}
        result = cli.turn(read, SEVEN)
        assert result["structured_output"] == {"n": 7}
        assert classify_result(result, cli.error_word(), needs_structured=True) is None
        assert cli.client.session_id == result["session_id"]
        assert Usage.of(result).output_tokens > 0
        spent = cost_delta(0.0, result)
        assert spent is not None
        assert spent > 0
        assert "first line" in json.dumps(cli.events)


@pytest.mark.parametrize("name", TASK_TYPES)
def test_every_task_type_yields_its_result_from_the_scripted_model(
    tmp_path: Path, image: str, name: str
) -> None:
    kind = TASK_TYPES[name]
    role = CliRole(kind.tools, json_schema=kind.schema, model="claude-sonnet-4-5", max_turns=20)
    with Cli(tmp_path, image, role) as cli:
        source = cli.work / "a.py"
        source.write_text("def f(x=[]):\n    try:\n        return x\n    except:\n        pass\n")
        if os.geteuid() == 0:
            os.chown(source, CONTAINER_UID, CONTAINER_GID)
        cli.client.initialize(TURN_S)
        task = Task(task_type=name, description="look at it", files=["a.py"])
        event = cli.client.run_turn(kind.prompt(task, ["a.py"]), timeout_s=TURN_S)
        needs = kind.schema is not None
        assert classify_result(event, cli.error_word(), needs_structured=needs) is None, event
        handed_in = event["structured_output"] if needs else event
        result = kind.result(handed_in, task)
        assert kind.summarize(result)
        if name == "code_review":
            assert result["files_reviewed"] == 1
            assert result["details"]["a.py"]["issue_count"] >= 1


def test_a_reader_can_neither_write_nor_run_commands(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, READER) as cli:
        result = cli.turn(
            {"tool": "Bash", "input": {"command": "touch /home/agent/made"}},
            {"tool": "Write", "input": {"file_path": "/home/agent/made", "content": "x"}},
            SEVEN,
        )
        assert result["structured_output"] == {"n": 7}
        assert not (cli.home / "made").exists()


def test_a_writer_writes_and_runs_commands_without_being_asked(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, CliRole(WRITING_TOOLS, model="claude-sonnet-4-5")) as cli:
        result = cli.turn(
            {"tool": "Write", "input": {"file_path": "/work/a.txt", "content": "A\n"}},
            {"tool": "Bash", "input": {"command": "cat a.txt >> b.txt; cat a.txt b.txt | wc -l"}},
            {"text": "counted {{tool_result}}"},
        )
        assert classify_result(result, None, needs_structured=False) is None
        assert "counted 2" in result["result"]
        assert (cli.work / "b.txt").read_text() == "A\n"


def test_nothing_of_a_task_can_be_seen_by_the_next(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, READER, orderly=True) as cli:
        secret, big = cli.work / "secret.txt", cli.work / "big.txt"
        secret.write_text(f"{CANARY}\n")
        big.write_text("".join(f"{i} {CANARY} {'y' * 90}\n" for i in range(3000)))
        everything = {"pattern": "CANARY", "output_mode": "content", "head_limit": 0}
        cli.turn(
            {"tool": "Read", "input": {"file_path": "/work/secret.txt"}},
            {"tool": "Grep", "input": {"path": "/work", **everything}},
            SEVEN,
            prompt=CANARY,
        )
        assert len(cli.files_with(CANARY)) >= 2  # the transcript, and the result kept aside
        assert ".jsonl" in cli.container.exec(GREP).stdout
        secret.unlink()
        big.unlink()

        assert cli.clean() == []
        assert cli.files_with(CANARY) == []
        assert CANARY in "".join(path.read_text() for path in cli.archive.glob("*.jsonl"))
        asked_before, seen_before = len(cli.api.requests), len(cli.events)
        look = {"pattern": "CANARY-7[f]3a", "path": "/", "output_mode": "content"}
        cli.turn(
            {"tool": "Grep", "input": look}, {"tool": "Glob", "input": {"pattern": "*"}}, SEVEN
        )
        assert CANARY not in json.dumps(cli.events[seen_before:])
        asked = cli.api.requests[asked_before:]
        assert len(asked) >= 3
        assert CANARY not in json.dumps(asked)
        assert cli.container.exec(GREP).stdout == ""
    # Whatever the CLI still had to write it has written when it ended.
    assert cli.files_with(CANARY) == []


def test_a_container_can_be_cleaned_again_and_again(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, READER) as cli:
        sessions: set[str | None] = set()
        for _ in range(5):
            assert cli.turn(SEVEN, prompt=CANARY)["structured_output"] == {"n": 7}
            sessions.add(cli.client.session_id)
            assert cli.clean() == []
            assert cli.files_with(CANARY) == []
        assert len(sessions) == 5
        assert {path.stem for path in cli.archive.glob("*.jsonl")} == sessions


def test_a_transcript_that_is_written_late_is_waited_for(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, READER, orderly=True, CLAUDE_CODE_EAGER_FLUSH="") as cli:
        for _ in range(3):
            cli.turn(SEVEN, prompt=CANARY)
            assert cli.clean() == []
    assert cli.files_with(CANARY) == []


def test_a_failed_or_cancelled_turn_leaves_no_more_than_a_good_one(
    tmp_path: Path, image: str
) -> None:
    with Cli(tmp_path, image, READER, orderly=True) as cli:
        cli.turn({"error": 400, "message": "no"}, prompt=CANARY)
        assert cli.clean() == []
        cancel_when_asked(cli)
        with pytest.raises(TurnCancelled):
            cli.turn({"hang": 60, "at": "mid", "text": "half"}, prompt=CANARY)
        assert cli.clean() == []
        assert cli.files_with(CANARY) == []
    assert cli.files_with(CANARY) == []


def cancel_when_asked(cli: Cli) -> None:
    """Cancel the next turn as soon as the model was asked."""
    asked_before = len(cli.api.requests)
    tick = threading.Event()

    def watch() -> None:
        while len(cli.api.requests) == asked_before:
            tick.wait(0.005)
        while not cli.client.cancel():
            tick.wait(0.005)

    threading.Thread(target=watch, name="understudy-test", daemon=True).start()


def test_a_turn_cancelled_in_the_middle_of_an_answer_ends_and_the_next_one_works(
    tmp_path: Path, image: str
) -> None:
    with Cli(tmp_path, image, READER) as cli:
        cancel_when_asked(cli)
        with pytest.raises(TurnCancelled) as caught:
            cli.turn({"hang": 60, "at": "mid", "text": "half"})
        assert caught.value.settled
        assert cli.turn(SEVEN)["structured_output"] == {"n": 7}


def test_a_turn_cancelled_right_at_its_start_ends_too(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, READER) as cli:
        cli.client.initialize(TURN_S)
        outcome: list[BaseException] = []

        def run() -> None:
            try:
                cli.turn({"hang": 60})
            except TurnCancelled as error:
                outcome.append(error)

        turn = threading.Thread(target=run, name="understudy-test")
        turn.start()
        tick = threading.Event()
        while not cli.client.cancel():
            tick.wait(0.001)
        turn.join(TURN_S)
        assert isinstance(outcome[0], TurnCancelled)
        assert outcome[0].settled


def test_silence_in_the_middle_of_an_answer_is_a_stall(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, READER) as cli:
        cli.client.initialize(TURN_S)
        prompt = scripted({"hang": 60, "at": "mid", "text": "half"})
        with pytest.raises(TurnStalled) as caught:
            cli.client.run_turn(prompt, timeout_s=TURN_S, stall_s=1.0)
        assert caught.value.settled


def test_a_slow_answer_is_no_stall(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, CliRole((), model="claude-sonnet-4-5")) as cli:
        cli.client.initialize(TURN_S)
        prompt = scripted({"text": "word " * 12, "slow": 0.6, "pieces": 8})
        result = cli.client.run_turn(prompt, timeout_s=TURN_S, stall_s=4.0)
        assert result["result"].startswith("word")


def test_a_turn_over_its_time_is_interrupted(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, READER) as cli:
        cli.client.initialize(TURN_S)
        with pytest.raises(TurnTimeout) as caught:
            cli.client.run_turn(scripted({"hang": 60}), timeout_s=1.0)
        assert caught.value.settled
        assert cli.turn(SEVEN)["structured_output"] == {"n": 7}


def test_the_cli_tries_again_as_often_as_it_is_told_to(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, READER, CLAUDE_CODE_MAX_RETRIES="1") as cli:
        for status in (400, 429, 500, 529):
            cli.events.clear()
            assert cli.turn({"error": status, "message": "as scripted"})["is_error"]
            retried = [event for event in cli.events if event.get("subtype") == "api_retry"]
            assert len(retried) == (0 if status == 400 else 1)
            cli.client.clear()
        assert cli.turn(SEVEN)["structured_output"] == {"n": 7}


def test_other_endings_are_told_apart(tmp_path: Path, image: str) -> None:
    role = CliRole(READING_TOOLS, json_schema=NUMBER, model="claude-sonnet-4-5", max_turns=3)
    read = {"tool": "Glob", "input": {"pattern": "*"}}
    long = "prompt is too long: 250000 tokens > 200000 maximum"
    scripts: dict[str, list[dict[str, Any]]] = {
        # 2.1.330 asks once more when a schema is to be filled.
        "refusal": [{"text": "no", "stop_reason": "refusal"}] * 8,
        "schema_missed": [{"text": "in words"}, {"text": "again in words"}],
        "max_turns": [read, read, read, read, SEVEN],
        "context_full": [{"error": 400, "type": "invalid_request_error", "message": long}],
        "api_down": [{"reset": "before"}],
    }
    with Cli(tmp_path, image, role) as cli:
        for kind, steps in scripts.items():
            cli.events.clear()
            result = cli.turn(*steps)
            told = classify_result(result, cli.error_word(), needs_structured=True)
            assert (kind, told) == (kind, FailureKind(kind))
            cli.client.clear()


def test_without_a_gateway_the_api_is_down(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, READER) as cli:
        (cli.sockets / "api.sock").unlink()
        result = cli.turn(SEVEN)
        told = classify_result(result, cli.error_word(), needs_structured=True)
        assert told is FailureKind.API_DOWN


def test_a_killed_container_loses_the_turn(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, READER) as cli:
        cli.client.initialize(TURN_S)
        asked = threading.Event()

        def kill() -> None:
            while not cli.api.requests:
                asked.wait(0.005)
            cli.container.kill()

        threading.Thread(target=kill, name="understudy-test", daemon=True).start()
        with pytest.raises(ClaudeDied):
            cli.turn({"hang": 60, "at": "mid", "text": "half"})
        assert not cli.client.alive


def test_a_cli_that_cannot_start_says_why(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, CliRole(("Read",), permission_mode="no-such-mode")) as cli:
        with pytest.raises(ClaudeDied, match="no-such-mode") as caught:
            cli.client.initialize(TURN_S)
        assert classify_exit(None, stderr_tail=caught.value.stderr_tail) is FailureKind.CONFIG
