"""Supervisors by chance, for fault schedules: all strategies and additions, exact ones as well."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from understudy.supervision import (
    AutoShutdown,
    Backoff,
    Budget,
    ChildSpec,
    Restart,
    Strategy,
    SupervisorSpec,
)

if TYPE_CHECKING:
    import random

NAMES = ("a", "b", "c", "d", "e", "f")
STRATEGIES = tuple(Strategy)
ENDS = (AutoShutdown.NEVER, AutoShutdown.NEVER, *AutoShutdown)
RESTARTS = tuple(Restart)
UNCOUNTED = frozenset({"rate_limited", "hung"})
PERMANENT = frozenset({"auth"})
NONE: frozenset[str] = frozenset()
BACKOFFS = (Backoff(0.5, 4), Backoff(1, 1, jitter=0))
BUDGETS = (
    None,
    Budget("usd", 4, "gateway"),
    Budget("usd", 6, "gateway", warn_at=0.5, start_cost=2),
)


@cache
def child(name: str, restart: int, backoff: int | None, budget: int, ends: bool) -> ChildSpec:
    """One of the few hundred different children; made once, as that takes its time."""
    return ChildSpec(
        name,
        "some.where:main",
        restart=RESTARTS[restart],
        backoff=None if backoff is None else BACKOFFS[backoff],
        budget=BUDGETS[budget],
        significant=ends,
        shutdown_s=1,
    )


class Forest:
    """Makes the supervisor of one schedule, and children that fit to it.

    Args:
        rng: where its choices come from.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._exact = rng.random() < 0.3
        self._counts_all = self._exact or rng.random() < 0.5
        self._backs_off = not self._exact and (not self._counts_all or rng.random() < 0.5)
        self._spends = not self._exact and rng.random() < 0.5
        self._ends = ENDS[int(rng.random() * len(ENDS))]
        self._can_end = self._ends is not AutoShutdown.NEVER

    def supervisor(self) -> SupervisorSpec:
        """The supervisor."""
        rng = self._rng
        children = tuple(self.child(name) for name in NAMES[: 1 + int(rng.random() * 4)])
        return SupervisorSpec(
            "top",
            STRATEGIES[int(rng.random() * 4)],
            intensity=int(rng.random() * 5),
            period_s=(1, 3, 10)[int(rng.random() * 3)],
            children=children,
            auto_shutdown=self._ends,
            exact=self._exact,
            uncounted_kinds=NONE if self._counts_all else UNCOUNTED,
            permanent_kinds=NONE if self._exact else PERMANENT,
        )

    def child(self, name: str) -> ChildSpec:
        """A child of that name that the supervisor can have."""
        rng = self._rng
        restart = int(rng.random() * 3)
        can_end = self._can_end and RESTARTS[restart] is not Restart.PERMANENT
        return child(
            name,
            restart,
            int(rng.random() * 2) if self._backs_off else None,
            int(rng.random() * 3) if self._spends else 0,
            can_end and rng.random() < 0.5,
        )
