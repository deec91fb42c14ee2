"""Rounds of contenders side by side, and what may be said of them.

That is medians and ranges of ratios, each taken within one round.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

# Before each round, while nothing of ours works: others' share of the machine.
_LOOK_S = 0.5
_NOISY_PERCENT = 15.0


@dataclass(frozen=True)
class Bench:
    """One question: how do these contenders compare? Each returns seconds (less is better)."""

    name: str
    question: str
    contenders: Mapping[str, Callable[[], float]]
    base: str
    goal: str


@dataclass
class Outcome:
    """The seconds of each contender in each round."""

    bench: Bench
    rounds: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    noisy: int = 0

    def ratios(self, contender: str) -> list[float]:
        """The base's seconds over the contender's, by round; above 1 the contender is quicker."""
        return [row[self.bench.base] / row[contender] for row in self.rounds]

    def to_dict(self) -> dict[str, object]:
        """All that was measured."""
        return {
            "name": self.bench.name,
            "question": self.bench.question,
            "goal": self.bench.goal,
            "base": self.bench.base,
            "noisy_rounds": self.noisy,
            "rounds_s": self.rounds,
        }


def run(bench: Bench, rounds: int, seed: int) -> Outcome:
    """Every contender once in each round, in an order that changes."""
    order = random.Random(seed)
    outcome = Outcome(bench)
    for number in range(rounds):
        names = list(bench.contenders)
        order.shuffle(names)
        if psutil.cpu_percent(interval=_LOOK_S) > _NOISY_PERCENT:
            outcome.noisy += 1
        row = {name: bench.contenders[name]() for name in names}
        outcome.rounds.append(row)
        shown = "  ".join(f"{name} {row[name] * 1e3:.0f} ms" for name in sorted(row))
        print(f"  {bench.name} {number + 1}/{rounds}: {shown}", file=sys.stderr)
    return outcome


def table(outcomes: list[Outcome]) -> str:
    """A Markdown table: seconds and ratios as minimum / median / maximum."""
    lines = [
        "| bench | contender | ms min / **median** / max | ratio to base | goal |",
        "|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        bench = outcome.bench
        for name in bench.contenders:
            milliseconds = [row[name] * 1e3 for row in outcome.rounds]
            ratio = "base" if name == bench.base else _spread(outcome.ratios(name), ".2f", "\u00d7")
            goal = "" if name == bench.base else bench.goal
            noisy = f" ({outcome.noisy} noisy rounds)" if outcome.noisy else ""
            cells = [bench.name + noisy, name, _spread(milliseconds, ".0f"), ratio, goal]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float], how: str, unit: str = "") -> str:
    low, mid, high = min(values), statistics.median(values), max(values)
    return f"{low:{how}} / **{mid:{how}}{unit}** / {high:{how}}"


def machine() -> dict[str, object]:
    """What was measured on, and when."""
    podman = subprocess.run(
        ["podman", "--version"], capture_output=True, text=True, timeout=30, check=False
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "podman": podman.stdout.strip(),
    }


def save(path: Path, outcomes: list[Outcome], extra: Mapping[str, object]) -> None:
    """Write everything that was measured as JSON."""
    data = {
        "machine": machine(),
        "command": " ".join(sys.argv),
        "benches": [outcome.to_dict() for outcome in outcomes],
        **extra,
    }
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
