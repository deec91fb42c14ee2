"""Reports as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.noise import NOISY
from bench.stats import Spread, figure
from bench.verdict import verdicts

if TYPE_CHECKING:
    from bench.model import Outcome, Report


def table(report: Report) -> str:
    """All questions, then goals, then what was noisy or failed."""
    outcomes = report.outcomes
    single = [outcome for outcome in outcomes if not outcome.question.curve]
    parts = [_questions(single), _curves(outcomes), _goals(outcomes), noise(report)]
    parts += [_failures(outcomes)]
    return "\n\n".join(part for part in parts if part)


def _questions(outcomes: list[Outcome]) -> str:
    if not outcomes:
        return ""
    lines = [
        "| | contender | min / **median** / max | n | subject \u00f7 it, by round |",
        "|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        question = outcome.question
        head = f"**{question.key}** {question.title}, {question.unit}"
        for name in outcome.contenders:
            cells = [head, name, *_cells(outcome, name)]
            lines.append(f"| {' | '.join(cells)} |")
            head = ""
    return "\n".join(lines)


def _cells(outcome: Outcome, name: str) -> tuple[str, str, str]:
    values = outcome.values(name)
    if not values:
        return "failed", "0", ""
    shown = spread(values) + _also(outcome, name)
    ratios = [] if name == outcome.question.subject else outcome.ratios(name)
    return shown, str(len(values)), spread(ratios, "\u00d7") if ratios else ""


def _also(outcome: Outcome, name: str) -> str:
    """Medians of the other values worth showing."""
    found = [
        f"{metric} {figure(Spread.of(values).mid)}"
        for metric in outcome.question.also
        if (values := outcome.values(name, metric))
    ]
    return f" ({', '.join(found)})" if found else ""


def _curves(outcomes: list[Outcome]) -> str:
    parts: list[str] = []
    for curve in dict.fromkeys(o.question.curve for o in outcomes if o.question.curve):
        points = [outcome for outcome in outcomes if outcome.question.curve == curve]
        names = points[0].contenders
        question = points[0].question
        lines = [
            f"**{curve}**: {question.title}, {question.unit}",
            "",
            f"| {curve} | {' | '.join(names)} |",
            "|---" * (len(names) + 1) + "|",
        ]
        for point in points:
            cells = [_cells(point, name)[0] for name in names]
            lines.append(f"| {figure(point.question.x)} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _goals(outcomes: list[Outcome]) -> str:
    found = [verdict for outcome in outcomes for verdict in verdicts(outcome)]
    if not found:
        return ""
    words = {True: "reached", False: "**missed**", None: ""}
    lines = ["| goal | against | wanted | median | |", "|---|---|---|---|---|"]
    for one in found:
        cells = [one.key, one.against, one.goal, one.found, words[one.reached]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def noise(report: Report) -> str:
    """Whether others used the machine meanwhile."""
    rounds = sum(len(outcome.rounds) for outcome in report.outcomes)
    noisy = {o.question.key: o.noisy_rounds(NOISY) for o in report.outcomes}
    total = sum(noisy.values())
    if not total:
        return f"The machine was quiet: others used at most {NOISY:.0%} of it in every run."
    which = ", ".join(f"{key} {count}" for key, count in noisy.items() if count)
    return (
        f"**This run was noisy**: in {total} of {rounds} rounds others used more than {NOISY:.0%} "
        f"of the machine before or during a run ({which})."
    )


def _failures(outcomes: list[Outcome]) -> str:
    lines = [
        f"- {outcome.question.key}, {name}: failed in {len(errors)} of {len(outcome.rounds)} "
        f"rounds: {errors[0]}"
        for outcome in outcomes
        for name, errors in outcome.failures().items()
    ]
    lines += [
        f"- {outcome.question.key}, {name}: left {max(left):.0f} processes behind, which were ended"
        for outcome in outcomes
        for name in outcome.contenders
        if (left := outcome.values(name, "left_processes"))
    ]
    return "\n".join(lines)


def spread(values: list[float], unit: str = "") -> str:
    """Least, middle and largest."""
    found = Spread.of(values)
    return f"{figure(found.low)} / **{figure(found.mid)}{unit}** / {figure(found.high)}"
