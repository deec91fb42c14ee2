"""The root's search for rings of waits: found in the graph, confirmed, then one ask ends.

What the root knows of waits is a little old. Before an ask is ended, every process concerned is
asked whether these very waits still last *and* whether the requests are still unanswered where they
are to be answered. All waits of a ring began before it was found, and all of them lasted after it:
so at the moment it was found all of them lasted at once, and nobody was left who could answer.
No I/O and no clock here.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .waits import Wait, WaitGraph

if TYPE_CHECKING:
    from collections.abc import Callable

    from .waits import Deadlock

_log = logging.getLogger(__name__)

RETRY_S = 0.01
"""A request may still be on its way to where it will wait: then it is asked again after this."""


@dataclass
class _Round:
    start: str
    deadlock: Deadlock
    missing: set[str] = field(default_factory=set[str])
    is_so: bool = True


class DeadlockFinder:
    """Takes waits, finds rings, and has one ask of each ended. For one thread at a time.

    Args:
        send: sends a control message to a process.
        later: calls a function, in this thread, after some seconds.
    """

    def __init__(
        self,
        send: Callable[[str, dict[str, Any]], None],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._send = send
        self._later = later
        self._graph = WaitGraph()
        self._serial = itertools.count(1)
        self._rounds: dict[int, _Round] = {}
        self.found = 0

    def __len__(self) -> int:
        return len(self._graph)

    def wait(self, node: str, record: dict[str, Any]) -> None:
        """An actor of this process waits."""
        wait = Wait(
            f"{node}:{record['corr']}",
            record["waiter"],
            frozenset(record["targets"]),
            record["since"],
            record["what"],
        )
        self._graph.add(wait)
        self._check(wait.waiter)

    def unwait(self, node: str, corr: int) -> None:
        """It waits no more."""
        self._graph.remove(f"{node}:{corr}")

    def forget(self, actor: str) -> None:
        """An actor has ended."""
        self._graph.forget(actor)

    def confirmed(self, node: str, number: int, *, is_so: bool) -> None:
        """A process says whether all that it was asked about still lasts."""
        asked = self._rounds.get(number)
        if asked is None:
            return
        asked.missing.discard(node)
        asked.is_so &= is_so
        if asked.missing:
            return
        del self._rounds[number]
        # Another round may have opened the ring since this one asked.
        waits = asked.deadlock.waits
        if asked.is_so and all(w in self._graph.waits_of(w.waiter) for w in waits):
            self._end(asked.deadlock)
        else:
            self._later(RETRY_S, lambda: self._check(asked.start))

    def lost(self, node: str) -> None:
        """A process is gone: it confirms nothing any more."""
        for number in [n for n, asked in self._rounds.items() if node in asked.missing]:
            self.confirmed(node, number, is_so=False)

    def _check(self, start: str) -> None:
        deadlock = self._graph.find(start)
        if deadlock is None or deadlock.victim.what != "ask":
            return
        number = next(self._serial)
        questions = _questions(deadlock)
        self._rounds[number] = _Round(start, deadlock, set(questions))
        for node, question in questions.items():
            self._send(node, {"op": "confirm", "round": number, **question})

    def _end(self, deadlock: Deadlock) -> None:
        victim = deadlock.victim
        self.found += 1
        _log.error("a deadlock is ended: %s", deadlock.describe())
        self._graph.remove(victim.id)
        names = [wait.waiter for wait in deadlock.cycle]
        node, _, corr = victim.id.rpartition(":")
        self._send(node, {"op": "fail", "corr": int(corr), "cycle": [*names, names[0]]})


def _questions(deadlock: Deadlock) -> dict[str, dict[str, Any]]:
    """What to ask which process: the waits that it has, and the requests that it should hold."""
    asked: dict[str, dict[str, Any]] = {}

    def of(node: str) -> dict[str, Any]:
        return asked.setdefault(node, {"waiting": [], "held": []})

    for wait in deadlock.waits:
        node, _, corr = wait.id.rpartition(":")
        of(node)["waiting"].append(int(corr))
        if wait.what == "ask":
            (target,) = wait.targets
            where, _, actor_id = target.partition("/")
            of(where)["held"].append([node, int(corr), actor_id])
    return asked
