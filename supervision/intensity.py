"""The restart budget: how many restarts a supervisor allows itself in a window. Pure."""

from __future__ import annotations

from collections import deque


class RestartWindow:
    """Counts restarts over the last `period_s` seconds, all children of a supervisor together.

    As in OTP a restart of several children counts once, and the budget is exceeded by the first
    restart that would be number `intensity + 1` in the window; one that is exactly `period_s` old
    still counts.
    """

    def __init__(self, intensity: int, period_s: float) -> None:
        self._intensity = intensity
        self._period_s = period_s
        self._times: deque[float] = deque()

    def add(self, now: float) -> bool:
        """Count a restart at `now` (monotonic seconds); False when it is over the budget."""
        self._times.append(now)
        while now - self._times[0] > self._period_s:
            self._times.popleft()
        return len(self._times) <= self._intensity

    def count(self, now: float) -> int:
        """How many restarts of the last `period_s` seconds there were, seen at `now`."""
        return sum(now - time <= self._period_s for time in self._times)
