"""Who waits for whom, and whether they can ever go on. Pure.

An actor that waits blocks everything behind it. When actors wait for each other in a ring, nobody
ever answers. The graph holds each wait that lasts; an actor is stuck when some wait of its own can
only be ended by actors that are stuck themselves (Knapp, "Deadlock detection in distributed
databases", ACM Computing Surveys 19(4), 1987: the knot of the OR model).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

HUMAN = "human"
"""The target of a wait for a person: it never blocks, so such a wait is never part of a ring."""


@dataclass(frozen=True)
class Wait:
    """One actor waits.

    Args:
        id: unique over all waits of the system; the same for as long as this wait lasts.
        waiter: who waits.
        targets: any of these can end it. Nobody at all means that it is not known who can.
        since: when it began, in monotonic seconds, on a clock that all waiters share.
        what: what it waits for: `ask`, `permit`, `slot`, `recovering`, `human`.
    """

    id: str
    waiter: str
    targets: frozenset[str]
    since: float
    what: str = "ask"


@dataclass(frozen=True)
class Deadlock:
    """Actors that can only be freed by each other.

    Args:
        cycle: a shortest ring of waits through the victim, beginning with it.
        victim: the wait to end: the youngest ask of the ring's actors, else their youngest wait.
        waits: every wait that must still last for this to be true.
    """

    cycle: tuple[Wait, ...]
    victim: Wait
    waits: tuple[Wait, ...]

    def describe(self) -> str:
        """The ring in words, with the names of its actors."""
        words = [f"{wait.waiter} {_verb(wait)}" for wait in self.cycle]
        return ", ".join(
            f"{text} {self.cycle[(i + 1) % len(self.cycle)].waiter}" for i, text in enumerate(words)
        )


class WaitGraph:
    """All waits that are known. For one thread at a time."""

    def __init__(self) -> None:
        self._waits: dict[str, Wait] = {}
        self._of: dict[str, dict[str, Wait]] = {}

    def __len__(self) -> int:
        return len(self._waits)

    def add(self, wait: Wait) -> None:
        """This wait goes on. One of the same id is replaced: its targets may have changed."""
        self.remove(wait.id)
        self._waits[wait.id] = wait
        self._of.setdefault(wait.waiter, {})[wait.id] = wait

    def remove(self, wait_id: str) -> None:
        """This wait is over; one that is not known may have ended before it was told of."""
        wait = self._waits.pop(wait_id, None)
        if wait is None:
            return
        of_waiter = self._of[wait.waiter]
        del of_waiter[wait_id]
        if not of_waiter:
            del self._of[wait.waiter]

    def forget(self, waiter: str) -> None:
        """This actor is gone, and its waits with it."""
        for wait_id in list(self._of.get(waiter, ())):
            self.remove(wait_id)

    def waits_of(self, waiter: str) -> list[Wait]:
        """What this actor waits for."""
        return list(self._of.get(waiter, {}).values())

    def find(self, start: str) -> Deadlock | None:
        """The ring that `start` is in or waits for, or None when somebody can still free it."""
        stuck = self._stuck(self._reachable(start))
        if start not in stuck:
            return None
        edges = {actor: _targets(waits) for actor, waits in stuck.items()}
        knot = _knot(start, edges)
        waits = [wait for actor in sorted(knot) for wait in stuck[actor]]
        victim = max(waits, key=lambda wait: (wait.what == "ask", wait.since, wait.id))
        return Deadlock(_ring(victim, stuck, knot), victim, tuple(waits))

    def _reachable(self, start: str) -> list[str]:
        seen = {start}
        todo = deque(seen)
        while todo:
            for wait in self._of.get(todo.popleft(), {}).values():
                todo.extend(wait.targets - seen)
                seen |= wait.targets
        return list(seen)

    def _stuck(self, actors: Collection[str]) -> dict[str, list[Wait]]:
        """Who of these can never go on, with the waits that nobody can end.

        First all who wait count as stuck; then those are freed, and freed again, each of whose
        waits has a target that is not stuck.
        """
        stuck = {actor for actor in actors if actor in self._of}
        while freed := {actor for actor in stuck if not self._hopeless(actor, stuck)}:
            stuck -= freed
        return {actor: self._hopeless(actor, stuck) for actor in stuck}

    def _hopeless(self, actor: str, stuck: set[str]) -> list[Wait]:
        return [w for w in self._of[actor].values() if w.targets and w.targets <= stuck]


def _verb(wait: Wait) -> str:
    return "asks" if wait.what == "ask" else f"waits for a {wait.what} of"


def _targets(waits: Iterable[Wait]) -> frozenset[str]:
    return frozenset(target for wait in waits for target in wait.targets)


def _knot(start: str, edges: Mapping[str, frozenset[str]]) -> set[str]:
    """From `start`, go where there is no way back until there is one from everywhere."""
    here = start
    while True:
        ahead = _closure(here, edges)
        outside = next((a for a in sorted(ahead) if here not in _closure(a, edges)), None)
        if outside is None:
            return ahead
        here = outside


def _closure(start: str, edges: Mapping[str, frozenset[str]]) -> set[str]:
    """All that can be reached from `start` by one step or more."""
    seen: set[str] = set()
    todo = deque(edges[start])
    while todo:
        actor = todo.popleft()
        if actor not in seen:
            seen.add(actor)
            todo.extend(edges[actor])
    return seen


def _ring(victim: Wait, stuck: Mapping[str, list[Wait]], knot: set[str]) -> tuple[Wait, ...]:
    """A shortest ring of waits within the knot that begins with the victim."""
    paths: deque[tuple[Wait, ...]] = deque([(victim,)])
    seen: set[str] = set()
    while paths:
        path = paths.popleft()
        if victim.waiter in path[-1].targets:
            return path
        for actor in sorted((path[-1].targets & knot) - seen):
            seen.add(actor)
            paths.extend((*path, wait) for wait in stuck[actor])
    return (victim,)
