"""Which conversation a task is given, and what the agent's record says of its container then."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from understudy.actors.dispatch import Dispatcher
from understudy.actors.handle import TaskHandle
from understudy.actors.retries import RootLimits
from understudy.actors.roster import AgentRecord, Roster
from understudy.actors.settings import RoleSettings
from understudy.actors.task_book import TaskBook
from understudy.actors.tasks.queue import TaskQueue
from understudy.actors.tasks.rows import Conversation
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task
from understudy.actors.team.roles import Roles

WARM = Conversation(str(uuid.uuid4()), str(uuid.uuid4()))


class Orders:
    """Keeps what the agents are told."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    def assign(self, *_about: object) -> None:
        pass

    def give(self, _agent_id: str, order: dict[str, Any], *, timeout_s: float) -> None:
        assert timeout_s > 0
        self.given.append(order)


class Root:
    """A dispatcher with one agent that is ready."""

    def __init__(self, path: Path) -> None:
        self.store = TaskStore(path / "tasks.db")
        roles = Roles({"reviewer": RoleSettings(tasks=("code_review",))}, {})
        queue = TaskQueue(max_size=10, roles=roles)
        roster, self.orders = Roster(["agent_000"]), Orders()
        self.book = TaskBook(queue, self.store, "run")
        limits = RootLimits(10, max_attempts=3, retry_wait_min_s=1, retry_wait_max_s=8)
        orders: Any = self.orders
        self.agent: AgentRecord = roster["agent_000"]
        self.dispatcher = Dispatcher(roster, self.book, orders, limits, roles)

    def ready(self, warm_for: str) -> None:
        self.agent.state, self.agent.task_id = "ready", None
        self.agent.warm_for, self.agent.conversation = warm_for, WARM
        self.agent.container, self.agent.container_pid = "warm", 7

    def give(self, task: Task) -> Conversation:
        self.book.accept([task], [TaskHandle(task.task_id, lambda _: False)])
        return self.give_what_waits()

    def give_what_waits(self) -> Conversation:
        self.dispatcher.give_what_waits()
        order = self.orders.given[-1]
        return Conversation(order["session_id"], order["place"])


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    made = Root(tmp_path)
    yield made
    made.store.close()


@pytest.mark.parametrize(
    ("warm_for", "task_type"),
    [("generic", "generic"), ("code_review@reviewer", "code_review")],
)
def test_a_warm_agent_works_in_its_own_conversation(
    root: Root, warm_for: str, task_type: str
) -> None:
    root.ready(warm_for)
    assert root.give(Task(task_type=task_type, description="x")) == WARM
    assert (root.agent.container, root.agent.container_pid) == ("warm", 7)


def test_an_agent_that_is_warm_for_another_role_gets_a_new_conversation(root: Root) -> None:
    root.ready("code_review")
    assert root.give(Task(task_type="code_review", description="x")) != WARM


def test_the_container_is_not_known_until_the_task_has_its_own(root: Root) -> None:
    root.ready("generic")
    context = str(uuid.uuid4())
    given = root.give(Task(description="go on", context_id=context))
    assert given.session_id == context
    assert (root.agent.container, root.agent.container_pid) == (None, None)


def test_every_attempt_has_the_conversation_of_the_first(root: Root) -> None:
    root.ready("generic")
    task = Task(description="x")
    assert root.give(task) == WARM
    root.book.requeue(task, "it fell", free=True)
    root.ready("generic")
    root.agent.conversation = Conversation.new()
    assert root.give_what_waits() == WARM
    assert root.agent.container is None
