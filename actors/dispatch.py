"""Which task goes to which agent, and how it is handed over."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from understudy.transport import EncodeError, FrameTooLarge, TransportError

from .failure import FailureKind
from .tasks.rows import Conversation, Outcome
from .way_out import WayOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from .orders import Orders
    from .retries import RootLimits
    from .roster import AgentRecord, Roster
    from .task_book import TaskBook
    from .tasks.task import Task
    from .team.roles import Roles

# An agent ends its own turns in time; only one that does not answer is ended by its supervisor.
OVERTIME_S = 30.0


class Dispatcher:
    """Used by the root actor alone, in its thread."""

    def __init__(
        self,
        roster: Roster,
        book: TaskBook,
        orders: Orders,
        limits: RootLimits,
        roles: Roles,
        clock: Callable[[], float] = time.monotonic,
        standing_still: Callable[[], int] = lambda: 0,
        way_out: WayOut | None = None,
    ) -> None:
        self._standing_still = standing_still
        self._way_out = way_out or WayOut(roster, clock)
        self._roster = roster
        self._book = book
        self._orders = orders
        self._limits = limits
        self._roles = roles
        self._clock = clock

    def give_what_waits(self) -> None:
        """Give tasks to idle agents until there is no more of the one or the other.

        Raises:
            StoreError: it cannot be recorded who has which task.
        """
        if self._way_out.blocked_by is not None:
            return
        # An agent that waits for another's task must not keep that task from being run.
        while len(self._book.running) - self._standing_still() < self._limits.max_running:
            pick = self._book.take(self._roster.idle(), self._roster.parked())
            if pick is None:
                return
            self._give(*pick)

    def _give(self, task: Task, agent_id: str) -> None:
        agent = self._roster[agent_id]
        warm = agent.conversation
        conversation = self._conversation(task, agent)
        order = {
            "task": task.to_wire(),
            "session_id": conversation.session_id,
            "place": conversation.place,
            "attempt": self._book.attempt_of(task),
            "may_have_run": self._book.may_have_run(task),
            "more_memory": self._book.needs_more_memory(task),
            "last_life": self._book.deaths_of(task) + 1 >= self._limits.max_attempts,
        }
        ends, number = self._clock() + task.timeout + OVERTIME_S, agent.incarnation
        if not self._book.start(
            task, agent_id, gives_up_at=ends, incarnation=number, conversation=conversation
        ):
            return
        order["number"] = self._book.running[task.task_id].number
        # First: the gateway must know whose requests come when the agent's first one does.
        self._assign(agent_id, task)
        try:
            self._orders.give(agent_id, order, timeout_s=task.timeout + 2 * OVERTIME_S)
        except (EncodeError, FrameTooLarge) as error:
            self._book.fail(task, FailureKind.INTERNAL, f"the task cannot be sent: {error}")
            return
        except TransportError as error:
            agent.state = "down"
            self._book.requeue(task, str(error), free=True, outcome=Outcome.REFUSED)
            return
        agent.state, agent.task_id = "busy", task.task_id
        if conversation != warm:
            # It ends that one, and tells of the task's own once there is one.
            agent.container = agent.container_pid = None

    def tell_gateway(self) -> None:
        """Tell the gateway anew who works on what: a word to the one before it may be lost.

        Raises:
            StoreError: it cannot be read who pays.
        """
        for running in self._book.running.values():
            self._assign(running.agent_id, running.task)

    def _assign(self, agent_id: str, task: Task) -> None:
        self._orders.assign(agent_id, task, self._roles.budget_of(task), self._above(task))

    def _above(self, task: Task) -> list[dict[str, Any]]:
        """Who else pays for it."""
        above = self._book.ancestors(task)
        return [{"task_id": t.task_id, "budget": self._roles.budget_of(t)} for t in above]

    def _conversation(self, task: Task, agent: AgentRecord) -> Conversation:
        """Where the task is worked on: where it was, or in a conversation that nobody has begun."""
        if before := self._book.conversation_of(task):
            return before
        warm, agent.conversation = agent.conversation, None
        if task.context_id is not None:
            return Conversation(task.context_id, str(uuid.uuid4()))
        if warm is not None and agent.warm_for == self._roles.type_of(task).key:
            return warm
        return Conversation.new()
