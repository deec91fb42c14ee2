"""Who has been idle for long enough, and what the agent itself does between tasks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from understudy.actors.agent import ClaudeAgent
from understudy.actors.parking import IdleAgents
from understudy.actors.tasks.task import Task
from understudy.actors.workspace import WorkspaceError
from understudy.transport import AgentMessage, MessageType

SOON_S = 10.0


def test_an_agent_is_due_when_it_has_been_idle_for_so_long_and_not_before() -> None:
    idle = IdleAgents(60.0)
    idle.look(["a"], 100.0)
    idle.look(["a", "b"], 120.0)
    assert idle.due(159.9) == []
    assert idle.due(160.0) == ["a"]
    assert idle.due(180.0) == ["a", "b"]


def test_who_worked_between_two_looks_is_counted_from_the_second() -> None:
    idle = IdleAgents(60.0)
    idle.look(["a"], 100.0)
    idle.look([], 150.0)
    idle.look(["a"], 151.0)
    assert idle.due(210.9) == []
    assert idle.due(211.0) == ["a"]


def test_who_was_named_can_be_counted_anew() -> None:
    idle = IdleAgents(60.0)
    idle.look(["a"], 100.0)
    idle.count_anew("a", 160.0)
    idle.look(["a"], 161.0)
    assert idle.due(219.0) == []
    assert idle.due(220.0) == ["a"]


def test_without_a_time_nobody_is_ever_due() -> None:
    idle = IdleAgents(None)
    idle.look(["a"], 0.0)
    assert idle.due(1e9) == []


class Seat:
    """A seat that keeps what is done to it; no task finds a workspace in it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.is_parked = False
        self.client = self.container = self.container_name = None
        self.warm_for = self.conversation = None
        self.has_more_memory = False
        self.may_end = threading.Event()
        self.may_end.set()

    def remove_predecessors(self) -> None:
        self.done.append("start")

    def park(self) -> None:
        self.done.append("park")
        self.is_parked = True

    def wake(self) -> None:
        self.done.append("wake")
        self.is_parked = False

    def open(self, task: Task, *_: object) -> None:
        self.done.append(task.task_id)
        self.is_parked = False
        assert self.may_end.wait(SOON_S)
        raise WorkspaceError("/work", "it is not there", "make one")

    def recycle(self, _result: object) -> None:
        self.done.append("tidy")

    def close(self) -> None:
        self.done.append("close")


class Bus:
    """A protocol that keeps what the agent says."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[str] = queue.SimpleQueue()

    def register_handler(self, *_: object) -> None:
        pass

    def send(self, _to: str, _kind: MessageType, payload: dict[str, Any]) -> None:
        if payload["kind"] == "state":
            self.said.put(payload["state"])

    def send_task_response(self, _request: AgentMessage, result: dict[str, Any]) -> None:
        self.said.put(f"{result['task_id']} is over")


class Agent:
    """The real actor between a root and a seat that exist only here."""

    def __init__(self) -> None:
        self.seat, self.bus = Seat(), Bus()
        self.ended: list[object] = []
        options: dict[str, Any] = {
            "runner_options": {"stall_s": 1.0, "transcripts": None},
            "warm_for": None,
            "on_ended": self.ended.append,
        }
        self.ref: Any = ClaudeAgent.start("agent_000", self.bus, self.make_seat, **options)

    def make_seat(self, _on_event: object) -> Seat:
        return self.seat

    def take(self, kind: MessageType, payload: dict[str, Any]) -> None:
        """Hand it a message; it has been through its loop on return."""
        message = AgentMessage.create("orchestrator", "agent_000", kind, payload)
        self.ref.ask(message, timeout=SOON_S)

    def order(self, command: str) -> None:
        self.take(MessageType.COORDINATION, {"command": command})

    def give(self, task_id: str) -> None:
        task = Task(task_id, "generic", description="x")
        self.take(MessageType.TASK_REQUEST, {"task": task.to_wire()})

    def says(self, count: int) -> list[str]:
        return [self.bus.said.get(timeout=SOON_S) for _ in range(count)]


@pytest.fixture
def agent() -> Iterator[Agent]:
    made = Agent()
    assert made.says(1) == ["ready"]
    yield made
    made.ref.stop()
    assert made.ended == []
    assert made.seat.done[-1] == "close"


def test_an_agent_parks_and_wakes_when_it_is_told_and_says_so(agent: Agent) -> None:
    agent.order("park")
    assert agent.says(1) == ["parked"]
    agent.order("wake")
    assert agent.says(1) == ["ready"]
    assert agent.seat.done == ["start", "park", "wake"]


def test_a_task_that_comes_after_the_word_to_park_is_done_after_it(agent: Agent) -> None:
    agent.order("park")
    agent.give("a")
    *before, over, after = agent.says(3)
    # What it says of the parking may come when the task has a container already.
    assert before[0] in ("parked", "ready")
    assert (over, after) == ("a is over", "ready")
    assert agent.seat.done == ["start", "park", "a", "tidy"]


def test_a_task_that_comes_before_the_word_to_park_keeps_its_container(agent: Agent) -> None:
    agent.seat.may_end.clear()
    agent.give("a")
    agent.order("park")
    agent.order("wake")
    agent.seat.may_end.set()
    assert agent.says(2) == ["a is over", "ready"]
    assert agent.seat.done == ["start", "a", "tidy"]
