"""An earlier report beside this one: what became worse beyond the noise.

A single number moves for many reasons. The subject counts as worse only when its own value did
become worse (the others may have become better) and so did its ratio to one who ran in the same
rounds (the machine may have become slower). Between different machines only ratios are looked at.
Each of these is worse when the median is by more than 5 % and the two ranges do not touch, runs
left out during which others used the machine; with fewer than three runs, by more than 25 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.noise import NOISY
from bench.stats import Spread, figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.model import Outcome, Report

_ENOUGH = 3
_LEAST_LOSS = 0.05
_LEAST_LOSS_OF_FEW = 0.25
_SAME_MACHINE = ("cpu", "cpus", "python", "kernel")


@dataclass(frozen=True)
class Regression:
    """What became worse, in words."""

    key: str
    text: str


def same_machine(old: Report, new: Report) -> bool:
    """Whether their numbers may be compared as they are."""
    return all(old.machine.get(name) == new.machine.get(name) for name in _SAME_MACHINE)


def is_ours(name: str) -> bool:
    """Whether a contender is one of ours, and no peer."""
    return name.startswith("understudy")


def comparable(old: Report, new: Report) -> bool:
    """Whether the two have anything in common that `regressions` looks at."""
    before = {outcome.question.key: outcome for outcome in old.outcomes}
    absolute = same_machine(old, new)
    return any(
        _has_both(before[outcome.question.key], outcome, absolute=absolute)
        for outcome in new.outcomes
        if outcome.question.key in before
    )


def _has_both(old: Outcome, new: Outcome, *, absolute: bool) -> bool:
    subject = new.question.subject
    if old.values(subject) and (absolute or not new.values(subject)):
        return True
    return any(old.ratios(name) and new.ratios(name) for name in _others(new))


def _others(outcome: Outcome) -> list[str]:
    return [name for name in outcome.contenders if not is_ours(name)]


def regressions(old: Report, new: Report) -> Iterator[Regression]:
    """What is worse in `new`."""
    before = {outcome.question.key: outcome for outcome in old.outcomes}
    absolute = same_machine(old, new)
    for outcome in new.outcomes:
        earlier = before.get(outcome.question.key)
        if earlier is not None:
            found = _of_question(earlier, outcome, absolute=absolute)
            if found:
                yield Regression(outcome.question.key, found)


def _of_question(old: Outcome, new: Outcome, *, absolute: bool) -> str:
    question = new.question
    subject = question.subject
    if old.values(subject) and not new.values(subject):
        return f"{subject} failed: {new.failures().get(subject, ['not run'])[0]}"
    own = worse(
        _quiet(lambda share: old.values(subject, question.metric, quiet=share)),
        _quiet(lambda share: new.values(subject, question.metric, quiet=share)),
        more_is_better=question.more_is_better,
    )
    others = _others(new)
    texts = [text for name in others if (text := _ratio_worse(old, new, name))]
    compared = any(old.ratios(name) and new.ratios(name) for name in others)
    if absolute and not own:
        return ""
    if compared:
        return "; ".join([f"{own} {question.unit}"] * bool(own) + texts) if texts else ""
    return f"{own} {question.unit}" if absolute else ""


def _ratio_worse(old: Outcome, new: Outcome, name: str) -> str:
    found = worse(
        _quiet(lambda share: old.ratios(name, quiet=share)),
        _quiet(lambda share: new.ratios(name, quiet=share)),
        more_is_better=True,
    )
    return f"{found}\u00d7 of {name}" if found else ""


def _quiet(values: Callable[[float], list[float]]) -> list[float]:
    """The values of quiet runs when there are enough, else of all."""
    quiet = values(NOISY)
    return quiet if len(quiet) >= _ENOUGH else values(1.1)


def worse(old: list[float], new: list[float], *, more_is_better: bool) -> str:
    """Old and new median in words when new is worse beyond the noise, else nothing."""
    if not old or not new:
        return ""
    before, after = Spread.of(old), Spread.of(new)
    if more_is_better:
        loss, apart = before.mid - after.mid, after.high < before.low
    else:
        loss, apart = after.mid - before.mid, after.low > before.high
    few = min(len(old), len(new)) < _ENOUGH
    least = _LEAST_LOSS_OF_FEW if few else _LEAST_LOSS
    if apart and loss > least * abs(before.mid):
        return f"{figure(before.mid)} \u2192 {figure(after.mid)}"
    return ""
