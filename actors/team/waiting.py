"""Agents that wait for each other's tasks: who could end each wait, and whether anybody can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from understudy.supervision.waits import Wait, WaitGraph

from ..claude.backend import AgentGone, AskCycle, NobodyIsFree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from understudy.transport import AgentMessage

    from ..claude.backend import BackendError
    from ..roster import AgentRecord, Roster
    from ..task_book import TaskBook
    from ..tasks.task import Task
    from .roles import Roles


@dataclass(slots=True)
class Call:
    """A tool call of an agent that is not answered yet.

    Attributes:
        request: what is to be answered.
        agent_id: who waits.
        task_id: what it works on.
        number: its run of that; see `Running`.
        what: the tool.
        since, ends_at: monotonic seconds.
        child: the task that is waited for, of `ask_agent` and `wait_task`.
        limit: of `read_messages`: how many it takes.
    """

    request: AgentMessage
    agent_id: str
    task_id: str
    number: int
    what: Literal["ask_agent", "wait_task", "read_messages"]
    since: float
    ends_at: float
    child: Task | None = None
    limit: int = 0

    @property
    def call_id(self) -> str:
        """What tells it from all others."""
        return self.request.message_id


class OpenCalls:
    """All of them. Used by the root actor alone."""

    def __init__(
        self, book: TaskBook, roster: Roster, roles: Roles, clock: Callable[[], float]
    ) -> None:
        self._book = book
        self._roster = roster
        self._roles = roles
        self._clock = clock
        self._calls: dict[str, Call] = {}

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls.values()))

    def add(self, call: Call) -> None:
        """It waits from now on."""
        self._calls[call.call_id] = call

    def take(self, call_id: str) -> Call | None:
        """It waits no more; None when it did not."""
        return self._calls.pop(call_id, None)

    def of_child(self, task_id: str) -> list[Call]:
        """Those that wait for that task."""
        return [call for call in self if call.child and call.child.task_id == task_id]

    def is_over(self, call: Call) -> bool:
        """Whether the run in which it was made is over: nobody wants the answer."""
        running = self._book.running.get(call.task_id)
        return running is None or running.number != call.number

    @property
    def standing_still(self) -> set[str]:
        """The agents that can do nothing until another task is done."""
        return {call.agent_id for call in self._calls.values() if call.child}

    def takers(self, task: Task) -> list[str]:
        """Who can bring that task to its end: who has it, else all who may come to take it."""
        if running := self._book.running.get(task.task_id):
            return [running.agent_id]
        lane = self._roles.lane(task)
        return [a.agent_id for a in self._roster.all() if self._may_take(a, lane)]

    def why_never(self, agent_id: str, task: Task) -> BackendError | None:
        """Why that agent would wait for the task for ever, or None when it would not."""
        takers = self.takers(task)
        if not takers:
            who = task.agent or task.role or "everybody who could take it"
            return AgentGone(who, "it has ended for good, or is suspended and takes no work")
        graph = self._graph()
        # The youngest of all: what is found is a ring that this wait closes.
        graph.add(Wait("this", agent_id, frozenset(takers), self._clock()))
        deadlock = graph.find(agent_id)
        if deadlock is None:
            return None
        if task.agent is None and task.task_id not in self._book.running:
            waiting = {wait.waiter for wait in deadlock.waits} - {agent_id}
            return NobodyIsFree(tuple(sorted(waiting)))
        names = [wait.waiter for wait in deadlock.cycle]
        at = names.index(agent_id) if agent_id in names else 0
        return AskCycle((*names[at:], *names[:at], names[at]))

    def edges(self) -> list[dict[str, Any]]:
        """Who waits for whom, oldest first, as plain data."""
        now = self._clock()
        return [
            {
                "agent_id": call.agent_id,
                "task_id": call.task_id,
                "what": call.what,
                "for_task": call.child.task_id,
                "on": self.takers(call.child),
                "waited_s": round(now - call.since, 3),
            }
            for call in self
            if call.child
        ]

    def _graph(self) -> WaitGraph:
        """Made anew each time: who could take a task changes with every agent's state."""
        graph = WaitGraph()
        for call in self:
            if call.child:
                targets = frozenset(self.takers(call.child))
                graph.add(Wait(call.call_id, call.agent_id, targets, call.since))
        return graph

    def _may_take(self, agent: AgentRecord, lane: str) -> bool:
        there = agent.state != "failed" and not agent.suspended
        return there and lane in self._roles.lanes(agent.agent_id)
