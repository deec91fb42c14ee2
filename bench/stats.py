"""What may be said of a few numbers."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Spread:
    """The least, the middle and the largest of some values."""

    low: float
    mid: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises ValueError when there are none."""
        if not values:
            raise ValueError("a spread needs at least one value")
        return cls(min(values), statistics.median(values), max(values))


def figure(value: float) -> str:
    """A number with three places that count: 0.0123, 1.23, 12.3, 123, 12.3k, 1.23M."""
    size = abs(value)
    for least, unit in ((1e6, "M"), (1e4, "k")):
        if size >= least:
            return f"{_three(value / (1e6 if unit == 'M' else 1e3))}{unit}"
    return _three(value)


def _three(value: float) -> str:
    size = abs(value)
    if size >= 100:  # noqa: PLR2004 - a hundred is where no place is left behind the point
        return f"{value:.0f}"
    if size >= 10:  # noqa: PLR2004 - likewise
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 or not value else f"{value:.3f}"
