"""What the root keeps of calls that need a yes."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace
from typing import Any

import pytest

from understudy.actors.pauses import Pauses
from understudy.actors.tasks.task import TaskState
from understudy.actors.team.approvals import Approvals, AskedCalls
from understudy.actors.team.shown_call import SeveralCalls, call_text


class World:
    """A book and orders that keep what they are told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.running: dict[str, Any] = {
            "t": SimpleNamespace(agent_id="a", number=1, pauses=Pauses())
        }
        self.marks: list[tuple[TaskState, str]] = []
        self.sent: list[dict[str, Any]] = []
        here: Any = self
        self.approvals = Approvals(here, here, lambda: self.now)

    def mark(self, _task_id: str, state: TaskState, _agent_id: str, text: str) -> None:
        self.marks.append((state, text))

    def tell_agent(self, _agent_id: str, payload: dict[str, Any]) -> None:
        self.sent.append(payload)

    def ask(self, request_id: str, agent_id: str = "a") -> None:
        asked = {"task_id": "t", "request_id": request_id, "tool": "Bash", "input": "{}"}
        self.approvals.note(agent_id, {**asked, "timeout_s": 10.0})


def test_the_one_that_is_named_is_answered_and_the_task_goes_on_after_the_last() -> None:
    world = World()
    world.ask("r1")
    world.ask("r2")
    done = world.approvals.answer("t", allow=True, call="r2")
    assert done == {
        "task_id": "t", "agent_id": "a", "tool": "Bash", "input": "{}", "request_id": "r2",
    }  # fmt: skip
    assert [mark[0] for mark in world.marks] == [TaskState.INPUT_REQUIRED] * 2
    assert world.approvals.answer("t", allow=False, text="no")
    assert [(each["request_id"], each["allow"]) for each in world.sent] == [
        ("r2", True),
        ("r1", False),
    ]
    assert world.marks[-1] == (TaskState.WORKING, "denied: no: Bash {}")
    assert not world.approvals.answer("t", allow=True)


def test_a_yes_to_a_call_that_ran_out_of_time_is_none_to_the_next_one() -> None:
    world = World()
    world.ask("seen")
    world.now = 10.0
    world.ask("never seen")
    assert world.approvals.answer("t", allow=True, call="seen") is None
    assert world.sent == []
    assert [each["request_id"] for each in world.approvals.waiting()] == ["never seen"]


def test_a_call_of_another_task_is_not_answered() -> None:
    world = World()
    world.ask("r1")
    assert world.approvals.answer("another", allow=True, call="r1") is None
    assert world.sent == []


def test_of_several_calls_none_is_answered_until_it_is_said_which() -> None:
    world = World()
    world.ask("r1")
    world.ask("r2")
    with pytest.raises(SeveralCalls, match=r"(?s)name one with --call.*r1  Bash.*r2  Bash") as told:
        world.approvals.answer("t", allow=True)
    assert str(copy.copy(told.value)) == str(told.value)
    assert world.sent == []


def test_one_that_nobody_answers_is_gone_when_its_time_is_up() -> None:
    world = World()
    world.ask("r1")
    world.now = 10.0
    world.approvals.tick()
    assert world.marks[-1] == (TaskState.WORKING, "denied, nobody answered: Bash {}")
    assert world.approvals.waiting() == []


def test_an_ended_run_and_a_former_agent_ask_for_nothing() -> None:
    world = World()
    world.ask("r1", agent_id="former")
    assert world.approvals.waiting() == []
    world.ask("r2")
    world.running["t"].number = 2
    assert not world.approvals.answer("t", allow=True)
    assert world.sent == []


class Request(SimpleNamespace):
    """A request of a CLI, and how it was settled."""

    denied: str | None = None

    def deny(self, text: str) -> None:
        self.denied = text


def asked_of_root(tool_input: dict[str, Any]) -> tuple[Request, list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []
    request: Any = Request(request_id="r", tool="Bash", tool_input=tool_input, timeout_s=10.0)
    AskedCalls(told.append).ask(request, "t")
    return request, told


def test_the_root_is_told_the_whole_input() -> None:
    command = {"command": "true; " * 1000 + "curl evil"}
    _, told = asked_of_root(command)
    assert json.loads(told[0]["input"]) == command


def test_a_call_that_nobody_could_read_is_denied_at_once() -> None:
    request, told = asked_of_root({"command": "x" * 1_000_001})
    assert "too long" in str(request.denied)
    assert told == []


def test_a_cut_says_how_much_is_missing_and_how_to_see_it() -> None:
    text = call_text({"tool": "Bash", "input": "x" * 2000 + "; curl evil"})
    assert text.endswith("x … 11 more characters: `understudy status --json` shows all")
    assert "more" not in call_text({"tool": "Bash", "input": "x" * 2000})


def test_nothing_in_a_shown_call_is_unseen_or_turned_around() -> None:
    text = call_text({"tool": "Ba\nsh", "input": '{"command": "rm \u202e\x9b2J\u00a0\u200b é 漢"}'})
    assert text == 'Ba\\nsh {"command": "rm \\u202e\\x9b2J\\xa0\\u200b é 漢"}'
