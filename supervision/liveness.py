"""Hung is not dead: pings that a child's own loop must answer. Pure; time is passed in."""

from __future__ import annotations

from typing import Literal


class Liveness:
    """Decides when to ping a child and when to call it hung.

    A ping goes out half an interval after the last answer and must be answered within an interval:
    a loop that gets stuck is found within one and a half. Only one ping is on its way at a time.

    When *we* were late, because our own process or machine stood still, the child gets a new
    chance: its answer may be waiting unread.

    Args:
        interval_s: how long a loop may be silent.
        now: when the child became ready, in monotonic seconds.
    """

    def __init__(self, interval_s: float, now: float) -> None:
        self._interval_s = interval_s
        self._number = 0
        self._waiting = False
        self.wakes_at = now + interval_s / 2
        """When `due` must be asked next."""

    @property
    def number(self) -> int:
        """The number of the last ping; an answer must carry it."""
        return self._number

    def due(self, now: float) -> Literal["ping", "hung"] | None:
        """What must be done now."""
        if now < self.wakes_at:
            return None
        late_s = now - self.wakes_at
        if self._waiting and late_s <= self._interval_s / 2:
            return "hung"
        self._number += 1
        self._waiting = True
        self.wakes_at = now + self._interval_s
        return "ping"

    def answered(self, number: int, now: float) -> None:
        """Take an answer; one to an older ping says nothing about now and is dropped."""
        if self._waiting and number == self._number:
            self._waiting = False
            self.wakes_at = now + self._interval_s / 2
