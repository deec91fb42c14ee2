"""How long to wait before a child is started again. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import InvalidSpec

if TYPE_CHECKING:
    import random


@dataclass(frozen=True)
class Backoff:
    """Exponential delay with jitter: `min(max_s, min_s * factor**failures) * (1 + jitter * rand)`.

    The jitter comes after the cap, as in Pekko: children that all reached the cap still spread out.

    Args:
        min_s: the delay after the first failure, in seconds.
        max_s: the cap before jitter, in seconds.
        factor: growth from one failure to the next.
        jitter: the largest share of the delay that chance adds on top.
        reset_after_s: a child that was ready this long starts over at `min_s`; None: the middle
            of `min_s` and `max_s`.

    Raises:
        InvalidSpec: a value makes no sense.
    """

    min_s: float = 0.2
    max_s: float = 30.0
    factor: float = 2.0
    jitter: float = 0.2
    reset_after_s: float | None = None

    def __post_init__(self) -> None:
        _require(0 <= self.min_s < math.inf, "min_s", "must be 0 or more seconds")
        _require(self.min_s <= self.max_s < math.inf, "max_s", "must not be below min_s")
        _require(1 <= self.factor < math.inf, "factor", "must be 1 or more")
        _require(0 <= self.jitter < math.inf, "jitter", "must be 0 or more")
        _require(
            self.reset_after_s is None or self.reset_after_s >= 0,
            "reset_after_s",
            "must be 0 or more seconds",
        )

    @property
    def calm_s(self) -> float:
        """How long a child must have been ready for its failures to be forgotten, in seconds."""
        if self.reset_after_s is not None:
            return self.reset_after_s
        return (self.min_s + self.max_s) / 2

    def delay_s(self, failures: int, rng: random.Random) -> float:
        """The wait in seconds after that many earlier failures in a row (0: this is the first)."""
        try:
            wait_s = min(self.max_s, self.min_s * float(self.factor) ** failures)
        except OverflowError:
            wait_s = self.max_s if self.min_s else 0.0
        return wait_s * (1 + self.jitter * rng.random())


def _require(holds: bool, field: str, detail: str) -> None:
    if not holds:
        raise InvalidSpec("invalid_backoff", f"backoff: {field}", detail)
