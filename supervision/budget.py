"""What a child may spend, and what it has spent: a signal to its supervisor. Pure.

Supervision knows neither money nor tokens: a unit is a word, and what was spent is told to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import InvalidSpec


@dataclass(frozen=True)
class Budget:
    """What one child may spend over all its incarnations, until its parent grants more.

    Args:
        unit: what is counted, as `usd` or `tokens`; for people.
        limit: so much; when it is spent the child is asked to finish.
        meter: who measures what it spends. A budget that nobody measures would never be used up.
        warn_at: at this share of the limit an event warns.
        start_cost: what one more start costs at least; a restart that cannot pay it is refused.

    Raises:
        InvalidSpec: a value makes no sense; `no_meter` when there is no meter.
    """

    unit: str
    limit: float
    meter: str = ""
    warn_at: float = 0.8
    start_cost: float = 0.0

    def __post_init__(self) -> None:
        _require(bool(self.unit), "unit", "must not be empty")
        if not self.meter:
            detail = "nobody measures what is spent; name the meter that does"
            raise InvalidSpec("no_meter", "budget: meter", detail)
        _require(0 < self.limit < math.inf, "limit", "must be more than 0, and finite")
        _require(0 < self.warn_at <= 1, "warn_at", "must be a share: more than 0, at most 1")
        _require(
            0 <= self.start_cost <= self.limit,
            "start_cost",
            "must be 0 or more, and not above the limit",
        )


@dataclass
class Account:
    """What one child has spent, of what it may.

    Args:
        budget: None: it may spend what it likes; it is counted all the same.
        granted: on top of the budget's limit.
        warned: whether the warning for this limit was given.
    """

    budget: Budget | None
    spent: float = 0.0
    granted: float = 0.0
    warned: bool = False

    @property
    def limit(self) -> float | None:
        """What it may spend in all; None: no limit."""
        return None if self.budget is None else self.budget.limit + self.granted

    @property
    def is_spent(self) -> bool:
        """Whether the limit is reached."""
        return self.limit is not None and self.spent >= self.limit

    @property
    def pays_for_start(self) -> bool:
        """Whether one more start can be paid."""
        if self.budget is None:
            return True
        return not self.is_spent and self.spent + self.budget.start_cost <= (self.limit or 0.0)

    def add(self, amount: float) -> bool:
        """Count it; whether this is the moment to warn."""
        self.spent += amount
        if self.budget is None or self.limit is None or self.warned:
            return False
        self.warned = self.spent >= self.budget.warn_at * self.limit
        return self.warned

    def grant(self, amount: float) -> None:
        """Allow so much more; a later warning is for the new limit."""
        self.granted += amount
        if self.budget is not None and self.limit is not None:
            self.warned = self.spent >= self.budget.warn_at * self.limit

    def describe(self) -> str:
        """How it stands, for people."""
        if self.budget is None:
            return f"{self.spent:g} spent"
        return f"{self.spent:g} of {self.limit:g} {self.budget.unit} spent"


def check_amount(child_id: str, what: str, amount: object) -> None:
    """Whether that can have been spent or granted.

    Raises:
        InvalidSpec: it is no finite number of 0 or more.
    """
    if not is_amount(amount):
        detail = f"must be a finite number, 0 or more, and is {amount!r}"
        raise InvalidSpec("invalid_amount", f"child {child_id}: {what}", detail)


def is_amount(amount: object) -> bool:
    """Whether it is a finite number, 0 or more."""
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        return False
    return 0 <= amount < math.inf


def _require(holds: bool, field: str, detail: str) -> None:
    if not holds:
        raise InvalidSpec("invalid_budget", f"budget: {field}", detail)
