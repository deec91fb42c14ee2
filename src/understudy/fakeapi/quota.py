"""A rate limit as the Messages API has one, and bad weather: for tests of what must bear both."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

_MINUTE_S = 60.0


class Quota(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What `limits` says in the scenarios. Each limit is by the minute; 0 is none.

    `burst` is the share of a minute's worth that a full bucket holds. Without `headers` the answers
    say nothing of the limit; a refusal says `retry-after` all the same.
    """

    requests_per_minute: float = 0
    input_tokens_per_minute: float = 0
    output_tokens_per_minute: float = 0
    burst: float = 1.0
    headers: bool = True


class Storm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What `storm` says in the scenarios: from the moment they are set, only errors."""

    status: int = 529
    seconds: float
    retry_after: float | None = None


@dataclass
class _Bucket:
    rate: float
    size: float
    level: float
    at: float

    def fill(self, now: float) -> None:
        self.level = min(self.size, self.level + (now - self.at) * self.rate / _MINUTE_S)
        self.at = now


@dataclass(frozen=True)
class Refusal:
    """Why a request is not served: the status, and the head of the answer."""

    status: int
    headers: dict[str, str]


@dataclass
class Gauge:
    """Counts requests and tokens against the limits. Used in one thread.

    Args:
        clock: monotonic seconds.
        wall: seconds since the epoch.
    """

    clock: Callable[[], float]
    wall: Callable[[], float]
    _buckets: dict[str, _Bucket] = field(default_factory=dict[str, _Bucket])
    _headers: bool = True
    _storm: Storm | None = None
    _storm_ends: float = 0.0

    def set(self, quota: Quota | None, storm: Storm | None) -> None:
        """From now on these hold; the buckets are full."""
        now = self.clock()
        limits = {
            "requests": quota.requests_per_minute,
            "input-tokens": quota.input_tokens_per_minute,
            "output-tokens": quota.output_tokens_per_minute,
        } if quota else {}  # fmt: skip
        share = quota.burst if quota else 1.0
        self._buckets = {
            name: _Bucket(limit, max(1.0, limit * share), max(1.0, limit * share), now)
            for name, limit in limits.items()
            if limit
        }
        self._headers = quota is None or quota.headers
        self._storm, self._storm_ends = storm, now + (storm.seconds if storm else 0.0)

    def admit(self, input_tokens: int) -> Refusal | None:
        """Count one request; why it is refused, when it is."""
        now = self.clock()
        if self._storm is not None and now < self._storm_ends:
            wait_s = self._storm.retry_after
            headers = {} if wait_s is None else {"retry-after": f"{wait_s:g}"}
            return Refusal(self._storm.status, headers)
        wanted = {"requests": 1.0, "input-tokens": float(input_tokens), "output-tokens": 1.0}
        waits = [self._wait_s(name, wanted[name], now) for name in self._buckets]
        if any(waits):
            # Whole seconds, as the API says them.
            return Refusal(429, {"retry-after": str(max(1, math.ceil(max(waits)))), **self.head()})
        for name in self._buckets:
            if name != "output-tokens":
                self._buckets[name].level -= wanted[name]
        return None

    def spend(self, output_tokens: int) -> None:
        """Count what an answer said."""
        if bucket := self._buckets.get("output-tokens"):
            bucket.fill(self.clock())
            bucket.level -= output_tokens

    def head(self) -> dict[str, str]:
        """What an answer's head says of the limits."""
        shown: dict[str, str] = {}
        if not self._headers:
            return shown
        for name, bucket in self._buckets.items():
            bucket.fill(self.clock())
            full_s = (bucket.size - bucket.level) * _MINUTE_S / bucket.rate
            reset = datetime.fromtimestamp(self.wall() + full_s, UTC)
            prefix = f"anthropic-ratelimit-{name}"
            shown[f"{prefix}-limit"] = f"{bucket.rate:g}"
            shown[f"{prefix}-remaining"] = str(max(0, math.floor(bucket.level)))
            shown[f"{prefix}-reset"] = reset.strftime("%Y-%m-%dT%H:%M:%SZ")
        return shown

    def _wait_s(self, name: str, wanted: float, now: float) -> float:
        bucket = self._buckets[name]
        bucket.fill(now)
        missing = min(wanted, bucket.size) - bucket.level
        return max(0.0, missing * _MINUTE_S / bucket.rate)
