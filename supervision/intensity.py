"""The restart budget: how many restarts a supervisor allows itself in a window. Pure."""

from __future__ import annotations

import math
from collections import deque


class RestartWindow:
    """Counts restarts over the last `period_s` seconds, all children of a supervisor together.

    As in OTP a restart of several children counts once, and the budget is exceeded by the first
    restart that would be number `intensity + 1` in the window; one that is exactly `period_s` old
    still counts.

    Args:
        intensity: how many are borne.
        period_s: within so many seconds.
        whole_seconds: to read the clock as OTP does, which knows no fractions: a restart then
            counts for at least `period_s`, and up to a second longer.
    """

    def __init__(self, intensity: int, period_s: float, *, whole_seconds: bool = False) -> None:
        self._intensity = intensity
        self._period_s = period_s
        self._whole_seconds = whole_seconds
        self._times: deque[float] = deque()

    def add(self, now: float) -> bool:
        """Count a restart at `now` (monotonic seconds); False when it is over the budget."""
        now = self._read(now)
        self._times.append(now)
        while now - self._times[0] > self._period_s:
            self._times.popleft()
        return len(self._times) <= self._intensity

    def count(self, now: float) -> int:
        """How many restarts of the last `period_s` seconds there were, seen at `now`."""
        now = self._read(now)
        return sum(now - time <= self._period_s for time in self._times)

    def _read(self, now: float) -> float:
        return math.floor(now) if self._whole_seconds else now
