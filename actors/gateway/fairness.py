"""Who of those that wait goes first. Pure: time is passed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

# What waits goes up by one step of priority in that time: the least urgent has its turn too.
_AGEING_S = 15.0


class Waiter(Protocol):
    """Somebody who waits."""

    @property
    def agent_id(self) -> str:
        """For whom."""
        ...

    @property
    def priority(self) -> int:
        """How urgent; the higher the sooner."""
        ...

    @property
    def since(self) -> float:
        """Since when."""
        ...


W = TypeVar("W", bound=Waiter)


@dataclass
class FairLine(Generic[W]):
    """The more urgent go first; among equals the agent whose last turn is the longest ago."""

    ageing_s: float = _AGEING_S
    _waiting: list[W] = field(default_factory=list[W])
    _last_turn: dict[str, int] = field(default_factory=dict[str, int])
    _turns: int = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[W]:
        return iter(self._waiting)

    def add(self, waiter: W) -> None:
        """Let one more wait."""
        self._waiting.append(waiter)

    def discard(self, waiter: W) -> None:
        """Forget one; no error when it does not wait."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def go(self, waiter: W) -> None:
        """Its turn has come."""
        self._waiting.remove(waiter)
        self._turns += 1
        self._last_turn[waiter.agent_id] = self._turns

    def forget(self, agent_id: str) -> None:
        """That agent is gone."""
        self._last_turn.pop(agent_id, None)

    def in_order(self, now: float) -> list[W]:
        """All of them, the next one first."""
        return sorted(self._waiting, key=lambda waiter: self._rank(waiter, now))

    def _rank(self, waiter: W, now: float) -> tuple[int, int, float]:
        urgency = waiter.priority + int(max(0.0, now - waiter.since) / self.ageing_s)
        return -urgency, self._last_turn.get(waiter.agent_id, 0), waiter.since
