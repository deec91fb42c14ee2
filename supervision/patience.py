"""How long a child is waited for, with doubt in ourselves. Pure; clocks are passed in.

A child that stood still together with us, in a suspended machine, a paused virtual machine or a
stopped process group, must not be killed for the time that it could not use.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

# A wait is looked at in this many steps, so that a standstill in its midst is seen as well.
_STEPS = 4


@dataclass(frozen=True)
class Clocks:
    """What time it is.

    Args:
        now: monotonic seconds, which do not pass while the machine is suspended (CLOCK_MONOTONIC).
        suspended_s: how long it was suspended since it was booted (CLOCK_BOOTTIME less the other).
    """

    now: float
    suspended_s: float = 0.0

    @staticmethod
    def read() -> Clocks:
        """As it is now."""
        now = time.clock_gettime(time.CLOCK_MONOTONIC)
        return Clocks(now, time.clock_gettime(time.CLOCK_BOOTTIME) - now)


class Patience:
    """Waits for one thing that a child is to do within `limit_s`.

    It asks to be looked at four times within the limit. When a look comes late by more than a step,
    or the machine was suspended for longer than one, we stood still ourselves: then the child gets
    the whole limit anew. What is not noticed leaves it at least half the limit.

    Args:
        limit_s: how long the child may take.
        clocks: when the wait begins.
    """

    def __init__(self, limit_s: float, clocks: Clocks) -> None:
        self._limit_s = limit_s
        self._step_s = limit_s / _STEPS
        self.away_s = 0.0
        """How long we stood still, as far as is known; of the last time."""
        self._begin(clocks)

    def _begin(self, clocks: Clocks) -> None:
        self._over_at = clocks.now + self._limit_s
        self._suspended_s = clocks.suspended_s
        self.wakes_at = clocks.now + self._step_s
        """When `look` is due next, in monotonic seconds."""

    def look(self, clocks: Clocks) -> Literal["over", "doubt"] | None:
        """Whether the time is over, or begins anew because we stood still."""
        if clocks.now < self.wakes_at:
            return None
        late_s = clocks.now - self.wakes_at
        slept_s = clocks.suspended_s - self._suspended_s
        if max(late_s, slept_s) > self._step_s:
            self.away_s = late_s + slept_s
            self._begin(clocks)
            return "doubt"
        if clocks.now >= self._over_at:
            return "over"
        self.wakes_at = min(clocks.now + self._step_s, self._over_at)
        return None
