"""What is asked and what was measured: plain data, as it is in the JSON file."""

from __future__ import annotations

from typing import Any

import msgspec

FORMAT = 2
"""Of the JSON file; another number is refused."""


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """One comparison.

    Attributes:
        key: its name on the command line; `curve@x` is one point of a growth curve.
        title: what is measured.
        metric: which of the measured values is compared.
        unit: its unit.
        more_is_better: false for times and memory.
        subject: the contender that is judged against the others.
        goals: the least ratio to each of these contenders; above 1 the subject is better.
        limits: values of the subject that may at most be so large.
        most_more: how much the subject's value may at most be above these contenders'.
        also: other values worth showing, of the subject.
        pinned: everything of a contender runs on one CPU.
    """

    key: str
    title: str
    metric: str
    unit: str
    more_is_better: bool
    subject: str
    goals: dict[str, float] = {}
    limits: dict[str, float] = {}
    most_more: dict[str, float] = {}
    also: tuple[str, ...] = ()
    pinned: bool = False

    @property
    def curve(self) -> str:
        """The growth curve it belongs to, or nothing."""
        name, at, _ = self.key.partition("@")
        return name if at else ""

    @property
    def x(self) -> float:
        """Where on its curve it is."""
        return float(self.key.partition("@")[2] or 0)


class Run(msgspec.Struct, frozen=True):
    """One contender, once.

    Attributes:
        values: what it measured; empty when it failed. `left_processes` are those that it left
            behind.
        error: why it failed.
        others_before: share of the machine that others used just before, 0 to 1.
        others_during: the same while it ran.
    """

    values: dict[str, float] = {}
    error: str = ""
    others_before: float = 0.0
    others_during: float = 0.0

    @property
    def noise(self) -> float:
        """The larger share of others."""
        return max(self.others_before, self.others_during)


class Outcome(msgspec.Struct, frozen=True):
    """All rounds of a question: the run of each contender in each."""

    question: Question
    rounds: list[dict[str, Run]] = []

    @property
    def contenders(self) -> list[str]:
        """Their names, the subject first, the others as they first appear."""
        names = dict.fromkeys(name for row in self.rounds for name in sorted(row))
        return sorted(names, key=lambda name: name != self.question.subject)

    def values(self, contender: str, metric: str = "", *, quiet: float = 1.1) -> list[float]:
        """A contender's values, of the runs during which others used at most `quiet`."""
        metric = metric or self.question.metric
        runs = [row[contender] for row in self.rounds if contender in row]
        return [r.values[metric] for r in runs if metric in r.values and r.noise <= quiet]

    def ratios(self, contender: str, *, subject: str = "", quiet: float = 1.1) -> list[float]:
        """How many times better the subject was, by round in which both ended."""
        subject = subject or self.question.subject
        metric = self.question.metric
        found: list[float] = []
        for row in self.rounds:
            if subject not in row or contender not in row:
                continue
            ours, theirs = row[subject], row[contender]
            if max(ours.noise, theirs.noise) > quiet:
                continue
            pair = ours.values.get(metric, 0.0), theirs.values.get(metric, 0.0)
            if all(pair):
                found.append(
                    pair[0] / pair[1] if self.question.more_is_better else pair[1] / pair[0]
                )
        return found

    def noisy_rounds(self, threshold: float) -> int:
        """Rounds in which others used more than `threshold` around or during any run."""
        return sum(any(run.noise > threshold for run in row.values()) for row in self.rounds)

    def failures(self) -> dict[str, list[str]]:
        """Errors by contender."""
        found: dict[str, list[str]] = {}
        for row in self.rounds:
            for name, run in row.items():
                if run.error:
                    found.setdefault(name, []).append(run.error)
        return found


class Report(msgspec.Struct, frozen=True):
    """Everything of one call."""

    machine: dict[str, Any]
    command: str
    seed: int
    outcomes: list[Outcome]
    format: int = FORMAT
    extra: dict[str, Any] = {}
