"""What a person asks of one actor of the fleet: restart it, suspend it, let it go on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .errors import UnknownAgent

if TYPE_CHECKING:
    from collections.abc import Callable

    from .orders import Orders
    from .roster import AgentRecord, Roster
    from .running import Running
    from .task_book import TaskBook

# An agent ends its own turns in time; only one that does not answer is ended by its supervisor.
CANCEL_GRACE_S = 10.0


class Steering:
    """Used by the root actor alone, in its thread.

    Args:
        renew: has a child end in good order and start again; must return at once.
        record: keeps what was asked: the actor's id, what, and a text.
    """

    def __init__(
        self,
        roster: Roster,
        book: TaskBook,
        orders: Orders,
        renew: Callable[[str], None],
        record: Callable[[str, str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._roster = roster
        self._book = book
        self._orders = orders
        self._renew = renew
        self._record = record
        self._clock = clock

    def restart(self, name: str) -> dict[str, Any]:
        """End that agent or service in good order and start it again; returns at once.

        A task that it works on waits again; that run is not counted as one of its attempts.

        Returns:
            `incarnation`: the one that ends.

        Raises:
            UnknownAgent: there is none of that name.
        """
        if name in self._roster.services:
            incarnation = self._roster.services[name].renew()
        else:
            agent = self._find(name, also=tuple(self._roster.services))
            incarnation = agent.incarnation
            agent.renew()
            if running := self._running(agent):
                running.recalled = f"{name} is restarted by request"
        self._record(name, "restart", f"incarnation {incarnation} is restarted by request")
        self._renew(name)
        return {"agent": name, "incarnation": incarnation}

    def suspend(self, name: str, *, now: bool) -> dict[str, Any]:
        """Give that agent no more tasks; with `now`, end its turn too: its task waits again.

        Its process and its container stay as they are, and so it stays over its restarts.

        Returns:
            `changed`: whether it was not suspended before; `current_task`: what it still works on.

        Raises:
            UnknownAgent: there is none of that name.
        """
        agent = self._find(name)
        changed, agent.suspended = not agent.suspended, True
        if changed:
            self._record(name, "suspended", "by request")
        if now and (running := self._running(agent)) and not running.canceled:
            running.recalled = f"{name} is suspended by request"
            running.must_end_in(CANCEL_GRACE_S, self._clock())
            self._orders.cancel(running)
        return {"agent": name, "changed": changed, "current_task": agent.task_id}

    def resume(self, name: str) -> dict[str, Any]:
        """Give that agent tasks again.

        Returns:
            `changed`: whether it was suspended before.

        Raises:
            UnknownAgent: there is none of that name.
        """
        agent = self._find(name)
        changed, agent.suspended = agent.suspended, False
        if changed:
            self._record(name, "resumed", "by request")
        return {"agent": name, "changed": changed}

    def _running(self, agent: AgentRecord) -> Running | None:
        return self._book.running.get(agent.task_id) if agent.task_id else None

    def _find(self, name: str, also: tuple[str, ...] = ()) -> AgentRecord:
        if name not in self._roster:
            known = tuple(agent.agent_id for agent in self._roster.all())
            raise UnknownAgent(name, known + also)
        return self._roster[name]
