"""Rounds: every contender once in each, in an order that changes, and who else used the machine."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.model import Outcome, Question, Run
from bench.noise import NOISY, share, snapshot

if TYPE_CHECKING:
    from bench.noise import Snapshot

Measure = Callable[[], dict[str, float]]
"""Measures a contender once. Raises BenchError when that fails."""

_LOOK_S = 0.2
# How long a run waits for a quiet machine before it takes a noisy one.
_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Bench:
    """A question and how each contender is measured.

    Attributes:
        question: what is asked.
        contenders: each by name.
        rounds_at_most: of what takes long and is not compared.
        strays: contenders of which not all runs below this process, or not to its account; what
            is used by others meanwhile is then not known.
    """

    question: Question
    contenders: Mapping[str, Measure]
    rounds_at_most: int = 1_000
    strays: frozenset[str] = frozenset()


def plan(names: list[str], rounds: int, seed: str) -> list[list[str]]:
    """Each round's order; the same for the same seed."""
    order = random.Random(seed)
    return [order.sample(names, len(names)) for _ in range(rounds)]


def run(bench: Bench, rounds: int, seed: int, say: Callable[[str], None]) -> Outcome:
    """Measure, round by round; `say` is told of each run."""
    key = bench.question.key
    outcome = Outcome(bench.question, [])
    orders = plan(list(bench.contenders), min(rounds, bench.rounds_at_most), f"{seed} {key}")
    for number, names in enumerate(orders, 1):
        row: dict[str, Run] = {}
        for name in names:
            row[name] = one(bench.contenders[name], is_stray=name in bench.strays)
            say(f"  {key} {number}/{len(orders)} {name}: {shown(bench.question, row[name])}")
        outcome.rounds.append(row)
    return outcome


def one(measure: Measure, *, is_stray: bool) -> Run:
    """Measure one contender, and what others did before and meanwhile."""
    cpus = os.cpu_count() or 1
    before = quiet_moment(cpus)
    first = snapshot()
    values: dict[str, float] = {}
    error = ""
    try:
        values = measure()
    except BenchError as wrong:
        error = wrong.message
    during = 0.0 if is_stray else share(first, snapshot(), cpus)
    return Run(values, error, round(before, 3), round(during, 3))


def quiet_moment(cpus: int) -> float:
    """Wait for others to be quiet, but not for long; the share they used last."""
    ends = time.monotonic() + _PATIENCE_S
    while True:
        first: Snapshot = snapshot()
        time.sleep(_LOOK_S)
        used = share(first, snapshot(), cpus)
        if used <= NOISY or time.monotonic() > ends:
            return used


def shown(question: Question, run: Run) -> str:
    """A run in a few words."""
    if run.error:
        return f"failed: {run.error}"
    noisy = f" (others used {run.noise:.0%})" if run.noise > NOISY else ""
    return f"{run.values.get(question.metric, float('nan')):,.4g} {question.unit}{noisy}"
