"""Whether what was wanted was reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.stats import Spread, figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.model import Outcome


@dataclass(frozen=True)
class Verdict:
    """One goal.

    Attributes:
        key: of the question.
        against: the contender, or the value that has a limit.
        goal: in words.
        found: in words.
        reached: whether; None when it was not measured.
    """

    key: str
    against: str
    goal: str
    found: str
    reached: bool | None


def verdicts(outcome: Outcome) -> Iterator[Verdict]:
    """Every goal of a question: the median decides."""
    question = outcome.question
    for name, least in question.goals.items():
        yield _judge(outcome, name, f"\u2265 {figure(least)}\u00d7", least, outcome.ratios(name), 1)
    for metric, most in question.limits.items():
        values = outcome.values(question.subject, metric)
        yield _judge(outcome, metric, f"\u2264 {figure(most)}", most, values, -1)
    for name, most in question.most_more.items():
        text = f"at most {figure(most)} {question.unit} more"
        yield _judge(outcome, name, text, most, _differences(outcome, name), -1)


def _judge(
    outcome: Outcome, against: str, goal: str, bound: float, values: list[float], sign: int
) -> Verdict:
    if not values:
        return Verdict(outcome.question.key, against, goal, "not measured", None)
    middle = Spread.of(values).mid
    return Verdict(
        outcome.question.key, against, goal, figure(middle), sign * middle >= sign * bound
    )


def _differences(outcome: Outcome, name: str) -> list[float]:
    question = outcome.question
    ours, theirs = outcome.values(question.subject), outcome.values(name)
    return [one - other for one, other in zip(ours, theirs, strict=False)]
