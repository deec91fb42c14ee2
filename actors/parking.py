"""Idle agents are parked: their containers are ended, and started again once they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .orders import Orders
    from .roster import AgentRecord, Roster
    from .task_book import TaskBook


class IdleAgents:
    """Since when each agent has been idle. Pure.

    Args:
        park_after_s: how long an agent may be; None is for ever.
    """

    def __init__(self, park_after_s: float | None) -> None:
        self._park_after_s = park_after_s
        self._since: dict[str, float] = {}

    def look(self, idle: Iterable[str], now: float) -> None:
        """These are idle and no others; who was not at the last look is from now on."""
        self._since = {agent_id: self._since.get(agent_id, now) for agent_id in idle}

    def due(self, now: float) -> list[str]:
        """Those that have been idle for long enough, the longest first."""
        if self._park_after_s is None:
            return []
        latest = now - self._park_after_s
        due = (since for since in self._since.items() if since[1] <= latest)
        return [agent_id for agent_id, _ in sorted(due, key=lambda since: since[1])]

    def count_anew(self, agent_id: str, now: float) -> None:
        """That agent is due again when it has been idle as long once more."""
        self._since[agent_id] = now


class Parking:
    """Used by the root actor alone, in its thread.

    An agent that was told to park can be given a task at once: it takes both in that order. One
    whose task came first drops the word to park.

    Args:
        park_after_s: see `IdleAgents`.
        record: keeps what happened: the agent's id, what, and a text.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        roster: Roster,
        book: TaskBook,
        orders: Orders,
        park_after_s: float | None,
        record: Callable[[str, str, str], None],
        clock: Callable[[], float],
    ) -> None:
        self._roster = roster
        self._book = book
        self._orders = orders
        self._park_after_s = park_after_s
        self._record = record
        self._clock = clock
        self._idle = IdleAgents(park_after_s)

    def look(self) -> None:
        """Call it after each change: an agent that worked in between was not idle."""
        if self._park_after_s is not None:
            idle = (agent.agent_id for agent in self._roster.all() if _may_park(agent))
            self._idle.look(idle, self._clock())

    def tick(self) -> None:
        """Park who is due, but for those that a waiting task may come to."""
        now = self._clock()
        if due := self._idle.due(now):
            wanted = self._book.wanted(due)
            for agent_id in due:
                if agent_id not in wanted:
                    self._park(self._roster[agent_id], now)

    def wake(self, agent_id: str) -> bool:
        """Have a parked agent start its container ahead of a task; False when it is not parked."""
        agent = self._roster[agent_id]
        if not agent.is_parked:
            return False
        agent.state = "warming"
        self._record(agent_id, "woken", "its container starts ahead of a task")
        self._orders.tell_agent(agent_id, {"command": "wake"})
        return True

    def _park(self, agent: AgentRecord, now: float) -> None:
        if not agent.is_parked:
            self._record(agent.agent_id, "parked", f"idle for {self._park_after_s:g} s")
        agent.park()
        # What is told once may be lost: it is told again when the agent does not answer.
        self._idle.count_anew(agent.agent_id, now)
        self._orders.tell_agent(agent.agent_id, {"command": "park"})


def _may_park(agent: AgentRecord) -> bool:
    """Whether it has a container and nothing to do; a suspended one keeps what it has."""
    is_idle = agent.state in ("ready", "parking")
    return is_idle and agent.container is not None and not agent.suspended
