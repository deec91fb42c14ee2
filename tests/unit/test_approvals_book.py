"""What the root keeps of calls that need a yes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from understudy.actors.pauses import Pauses
from understudy.actors.tasks.task import TaskState
from understudy.actors.team.approvals import Approvals


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


def test_the_oldest_is_answered_first_and_the_task_goes_on_after_the_last() -> None:
    world = World()
    world.ask("r1")
    world.ask("r2")
    assert world.approvals.answer("t", allow=True)
    assert [mark[0] for mark in world.marks] == [TaskState.INPUT_REQUIRED] * 2
    assert world.approvals.answer("t", allow=False, text="no")
    assert [(each["request_id"], each["allow"]) for each in world.sent] == [
        ("r1", True),
        ("r2", False),
    ]
    assert world.marks[-1] == (TaskState.WORKING, "denied: no: Bash")
    assert not world.approvals.answer("t", allow=True)


def test_one_that_nobody_answers_is_gone_when_its_time_is_up() -> None:
    world = World()
    world.ask("r1")
    world.now = 10.0
    world.approvals.tick()
    assert world.marks[-1] == (TaskState.WORKING, "denied, nobody answered: Bash")
    assert world.approvals.waiting() == []


def test_an_ended_run_and_a_former_agent_ask_for_nothing() -> None:
    world = World()
    world.ask("r1", agent_id="former")
    assert world.approvals.waiting() == []
    world.ask("r2")
    world.running["t"].number = 2
    assert not world.approvals.answer("t", allow=True)
    assert world.sent == []
