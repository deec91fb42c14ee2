"""One rate limit for the whole fleet, learned from the API's own headers. Pure: time is passed in.

The API fills each of its buckets without a pause, up to a minute's worth, and tells with every
answer what is left. This is a copy of those buckets: it is corrected by every answer, and tells
how long to wait so that the API has no reason to refuse.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .rate_headers import Window, WindowName

_MINUTE_S = 60.0
# A bucket is a copy: rounding must not make it wait for the last billionth.
_CLOSE = 1e-6


@dataclass(frozen=True)
class Cost:
    """What a request takes from the buckets."""

    input_tokens: float = 0.0
    output_tokens: float = 0.0

    def of(self, window: WindowName) -> float:
        """Its share of that bucket."""
        match window:
            case "requests":
                return 1.0
            case "input-tokens":
                return self.input_tokens
            case "output-tokens":
                return self.output_tokens
            case "tokens":
                return self.input_tokens + self.output_tokens


@dataclass
class Bucket:
    """Fills at `limit` a minute, holds `limit` at most."""

    limit: float
    level: float
    at: float

    def fill(self, now: float) -> None:
        """Bring the level to the present."""
        gained = max(0.0, now - self.at) * self.limit / _MINUTE_S
        self.level, self.at = min(self.limit, self.level + gained), max(now, self.at)

    def wait_s(self, now: float, amount: float) -> float:
        """How long until so much is in it; what is more than it can hold needs a full one."""
        self.fill(now)
        missing = min(amount, self.limit) - self.level
        return missing * _MINUTE_S / self.limit if missing > _CLOSE else 0.0


@dataclass(frozen=True)
class Permit:
    """A request that may go, and what it was thought to cost."""

    number: int
    cost: Cost
    at: float


@dataclass
class RateLimits:
    """The buckets and the pause that the API asked for.

    Args:
        own: limits of our own, by window, a minute; the API's are learned.
    """

    own: Mapping[WindowName, float]
    _own: dict[WindowName, Bucket] = field(init=False)
    _learned: dict[WindowName, Bucket] = field(default_factory=dict["WindowName", Bucket])
    # Permits whose answer's head has not come: nobody knows whether the API has counted them.
    _open: dict[int, Permit] = field(default_factory=dict[int, Permit])
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    paused_until: float = 0.0

    def __post_init__(self) -> None:
        self._own = {name: Bucket(limit, limit, 0.0) for name, limit in self.own.items()}

    def wait_s(self, now: float, cost: Cost) -> float:
        """How long until a request of that cost may go; 0 is now."""
        waits = [
            bucket.wait_s(now, cost.of(name))
            for buckets in (self._own, self._learned)
            for name, bucket in buckets.items()
        ]
        return max([0.0, self.paused_until - now, *waits])

    def take(self, now: float, cost: Cost) -> Permit:
        """Let a request go."""
        permit = Permit(next(self._numbers), cost, now)
        self._open[permit.number] = permit
        self._add(now, cost, -1.0)
        return permit

    def learn(self, now: float, permit: Permit, windows: Mapping[WindowName, Window]) -> None:
        """Correct the copies by what the answer to that permit told."""
        self._open.pop(permit.number, None)
        later = [each for each in self._open.values() if each.number > permit.number]
        for name, window in windows.items():
            # What left after this one had not been counted when the answer was made, as a rule;
            # if it had, the next answer says so.
            level = window.remaining - sum(each.cost.of(name) for each in later)
            self._learned[name] = Bucket(window.limit, level, now)

    def give_back(self, now: float, permit: Permit) -> None:
        """The API has not counted that request: it refused it, or was never reached."""
        if self._open.pop(permit.number, None) is not None:
            self._add(now, permit.cost, 1.0)

    def correct(self, now: float, permit: Permit, cost: Cost) -> None:
        """The request's true cost has become known; what it had taken too little is taken now."""
        more = Cost(
            cost.input_tokens - permit.cost.input_tokens,
            cost.output_tokens - permit.cost.output_tokens,
        )
        for buckets in (self._own, self._learned):
            for name, bucket in buckets.items():
                if name != "requests":
                    bucket.fill(now)
                    bucket.level = min(bucket.limit, bucket.level - more.of(name))

    def pause(self, until: float) -> None:
        """Nothing goes before that time."""
        self.paused_until = max(self.paused_until, until)

    def describe(self, now: float) -> dict[str, dict[str, float]]:
        """The learned limits and what is left of them, for views."""
        shown: dict[str, dict[str, float]] = {}
        for name, bucket in self._learned.items():
            bucket.fill(now)
            shown[name] = {"limit": bucket.limit, "left": round(bucket.level, 1)}
        return shown

    def _add(self, now: float, cost: Cost, sign: float) -> None:
        for buckets in (self._own, self._learned):
            for name, bucket in buckets.items():
                bucket.fill(now)
                bucket.level = min(bucket.limit, bucket.level + sign * cost.of(name))


class Estimate:
    """What a request will cost, guessed from those before it.

    Only what the API counts against its limits is guessed: tokens read from its cache are free.
    """

    # Half of what is known is of the last dozen answers.
    _WEIGHT = 0.06

    def __init__(self) -> None:
        self._tokens_per_byte = 0.25
        self._output_tokens = 200.0

    def cost(self, body_bytes: int) -> Cost:
        """The guess for a request of so many bytes."""
        return Cost(body_bytes * self._tokens_per_byte, self._output_tokens)

    def learn(self, body_bytes: int, cost: Cost) -> None:
        """Take a measured request into account."""
        per_byte = cost.input_tokens / max(1, body_bytes)
        self._tokens_per_byte += self._WEIGHT * (per_byte - self._tokens_per_byte)
        self._output_tokens += self._WEIGHT * (cost.output_tokens - self._output_tokens)
