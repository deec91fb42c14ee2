"""How soon a supervisor can give up, and when it never does: arithmetic on its spec. Pure."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy.supervision import Strategy

if TYPE_CHECKING:
    from understudy.supervision import Backoff, SupervisorSpec


@dataclass(frozen=True)
class WorstCase:
    """What the falls of a supervisor's children can lead to. Times in seconds; None: never.

    Attributes:
        falls: so many within the period, and it gives up.
        process_starts: so many processes it has started by then at most, the first starts included.
        together_s: the shortest time from the first of the falls to the giving up: all children
            fall as often and as fast as they can, without jitter.
        longest_s: the longest such time: the falls are spread over the whole period.
        alone_can_end: whether the falls of one child alone can ever make it give up.
        alone_s: how soon they do if it falls as soon as it is started; without jitter.
        alone_jitter_s: the same with all the jitter there can be.
        endless_life_s: a child alone that lives longer than this each time is restarted for ever;
            0 when it is in any case.
        restarts_per_hour: the most restarts in an hour that never make it give up.
    """

    falls: int
    process_starts: int
    together_s: float | None
    longest_s: float | None
    alone_can_end: bool
    alone_s: float | None
    alone_jitter_s: float | None
    endless_life_s: float
    restarts_per_hour: int


def worst_case(rules: SupervisorSpec) -> WorstCase:
    """The worst case of a supervisor whose children all have the backoff of its first."""
    count = max(1, len(rules.children))
    backoff = rules.children[0].backoff if rules.children else None
    borne = rules.intensity
    as_group = rules.strategy is Strategy.ONE_FOR_ALL
    if as_group:
        # One restart after the other, each led by another child.
        together = shortest_s(backoff, borne, leaders=count)
    else:
        together = shortest_s(backoff, math.ceil((borne + 1) / count) - 1)
    alone = _growing(backoff, borne)[borne]
    can_end = together <= rules.period_s
    jitter = 1 + (backoff.jitter if backoff else 0.0)
    per_restart = 1 if rules.strategy in (Strategy.ONE_FOR_ONE, Strategy.DYNAMIC) else count
    room_s = max(0.0, rules.period_s - alone)
    return WorstCase(
        falls=borne + 1,
        process_starts=count + borne * per_restart,
        together_s=_within(together, rules.period_s),
        longest_s=rules.period_s if can_end and borne else together if can_end else None,
        alone_can_end=_within(shortest_s(backoff, borne), rules.period_s) is not None,
        alone_s=_within(alone, rules.period_s),
        alone_jitter_s=_within(alone * jitter, rules.period_s),
        endless_life_s=room_s / borne if borne else 0.0,
        restarts_per_hour=borne * math.ceil(3600.0 / rules.period_s),
    )


def shortest_s(backoff: Backoff | None, restarts: int, *, leaders: int = 1) -> float:
    """The least time that so many restarts take whose children fall at once, without jitter.

    A child may also live just long enough for its failures to be forgotten, where that is faster.
    `leaders` children take turns in falling.
    """
    sums = _growing(backoff, restarts, leaders)
    calm_s = backoff.calm_s if backoff else 0.0
    best = sums[restarts]
    for parts in range(2, restarts + 1):
        length, longer = divmod(restarts, parts)
        split = sums[length + 1] * longer + sums[length] * (parts - longer)
        best = min(best, split + (parts - 1) * calm_s)
    return best


def _growing(backoff: Backoff | None, restarts: int, leaders: int = 1) -> list[float]:
    """The sums of the first waits: of none, of one, and so on; one more than `restarts`."""
    if backoff is None:
        return [0.0] * (restarts + 2)
    waits = (backoff.delay_s(number // leaders, _NO_JITTER) for number in range(restarts + 1))
    return list(itertools.accumulate(waits, initial=0.0))


def _within(time_s: float, period_s: float) -> float | None:
    # Sums of decimal fractions miss their value in the last digits.
    return time_s if time_s <= period_s * (1 + 1e-12) else None


class _Least(random.Random):
    """Chance at its least."""

    def random(self) -> float:
        return 0.0


_NO_JITTER = _Least()
