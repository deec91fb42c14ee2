"""When the API fails: how many requests may try it. Pure: time and chance are passed in.

One breaker belongs to one credential. Closed, everything passes. After failures in a row it is
open: nothing passes for a while. Then a single probe goes; each success doubles how many may be
on their way at once, until nobody counts any more. A rejected key breaks it: all are refused until
there is another one, or a probe finds the same one good again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_FREE = 64


class Breaker:
    """Used in one thread.

    Args:
        rng: moves the waits by chance, so that fleets do not probe in step.
        threshold: so many failures in a row open it.
        min_s, max_s: the first wait, and the longest; each is twice the one before.
        jitter: by which share a wait is made longer at most.
        probe_s: so long after a key was rejected one request may try it again.

    Attributes:
        broken: why the key counts as rejected, or None.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        threshold: int = 3,
        min_s: float = 0.5,
        max_s: float = 10.0,
        jitter: float = 0.2,
        probe_s: float = 60.0,
    ) -> None:
        self._rng = rng
        self._threshold = threshold
        self._min_s = min_s
        self._max_s = max_s
        self._jitter = jitter
        self._probe_s = probe_s
        self._probe_at = float("-inf")
        self._in_a_row = 0
        self._openings = 0
        self._opened_at = float("-inf")
        self._room: int | None = None
        self.open_until = float("-inf")
        self.why = ""
        self.broken: str | None = None

    def room(self, now: float) -> int | None:
        """How many requests may be on their way at once; None is no limit."""
        return 0 if now < self.open_until else self._room

    def refusal(self, now: float) -> str | None:
        """Why everybody is refused; None: who comes may wait for its turn."""
        return self.broken if now < self._probe_at else None

    def state(self, now: float) -> str:
        """`closed`, `open`, `half_open` or `broken`."""
        if self.refusal(now) is not None:
            return "broken"
        if now < self.open_until:
            return "open"
        return "closed" if self._room is None else "half_open"

    def failed(self, now: float, sent_at: float, why: str) -> None:
        """A request that was sent at that time was not answered as it should be."""
        # What was on its way when it opened fails too: that tells nothing new.
        if sent_at < self._opened_at:
            return
        self._in_a_row += 1
        if self._in_a_row < self._threshold and self._room is None:
            return
        wait_s = min(self._max_s, self._min_s * 2.0 ** min(self._openings, 30))
        self._openings += 1
        self._opened_at, self._room, self.why = now, 1, why
        self.open_until = now + wait_s * (1 + self._jitter * self._rng.random())

    def succeeded(self, sent_at: float) -> None:
        """A request that was sent at that time was answered."""
        if sent_at < self._opened_at:
            return
        self.broken = None
        self._in_a_row = self._openings = 0
        if self._room is not None:
            self._room = self._room * 2 if self._room < _FREE else None

    def break_(self, reason: str, now: float) -> None:
        """The credential is rejected: nothing passes until there is another, but for a probe."""
        self.broken, self._probe_at = reason, now + self._probe_s
        # Then one goes, and the others wait for what it finds.
        self._opened_at, self._room, self.why = now, 1, "api_down"

    def mend(self) -> None:
        """There is a new credential: start anew."""
        self.broken, self._room, self._in_a_row, self._openings = None, None, 0, 0
        self._opened_at = self.open_until = float("-inf")
