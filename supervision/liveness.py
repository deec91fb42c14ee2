"""Hung is not dead: pings that a child's own loop must answer. Pure; clocks are passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .patience import Patience

if TYPE_CHECKING:
    from .patience import Clocks


class Liveness:
    """Decides when to ping a child and when to call it hung.

    A ping goes out half an interval after the last answer and must be answered within an interval:
    a loop that gets stuck is found within one and a half. Only one ping is on its way at a time.

    When we stood still ourselves (`Patience`), the child gets a new ping and a fresh interval: its
    answer may be waiting unread, or it stood still with us.

    Args:
        interval_s: how long a loop may be silent.
        clocks: when the child became ready.
    """

    def __init__(self, interval_s: float, clocks: Clocks) -> None:
        self._interval_s = interval_s
        self._number = 0
        self._patience: Patience | None = None
        self._ping_at = clocks.now + interval_s / 2

    @property
    def number(self) -> int:
        """The number of the last ping; an answer must carry it."""
        return self._number

    @property
    def wakes_at(self) -> float:
        """When `due` must be asked next, in monotonic seconds."""
        return self._ping_at if self._patience is None else self._patience.wakes_at

    @property
    def away_s(self) -> float:
        """How long we stood still, when `due` last said `doubt`."""
        return 0.0 if self._patience is None else self._patience.away_s

    def due(self, clocks: Clocks) -> Literal["ping", "doubt", "hung"] | None:
        """What must be done now; with `doubt`, a ping must be sent as well."""
        if self._patience is None:
            return self._ping(clocks) if clocks.now >= self._ping_at else None
        match self._patience.look(clocks):
            case "over":
                return "hung"
            case "doubt":
                self._number += 1
                return "doubt"
            case None:
                return None

    def _ping(self, clocks: Clocks) -> Literal["ping"]:
        self._number += 1
        self._patience = Patience(self._interval_s, clocks)
        return "ping"

    def answered(self, number: int, now: float) -> None:
        """Take an answer; one to an older ping says nothing about now and is dropped."""
        if self._patience is not None and number == self._number:
            self._patience = None
            self._ping_at = now + self._interval_s / 2
