"""`python -m tests.faults`: kill at numbered points, check what is left and what was promised."""

from __future__ import annotations

import argparse
import os
import statistics
import sys

from .points import POINTS, table
from .trial import Outcome, run


def main() -> int:
    """Run the points with each seed; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the points as a table")
    parser.add_argument("--points", help="numbers, with commas: one trial. Default: each by itself")
    parser.add_argument("--seed", type=int, help="one seed; 0: each point at its first passing")
    seeds = int(os.environ.get("FAULT_SEEDS", "3"))
    parser.add_argument("--seeds", type=int, default=seeds, help="how many, from 0 (FAULT_SEEDS)")
    args = parser.parse_args()
    if args.list:
        sys.stdout.write(table() + "\n")
        return 0
    numbers = [int(word) for word in args.points.split(",")] if args.points else []
    chosen = [args.seed] if args.seed is not None else list(range(args.seeds))
    trials = [numbers] if numbers else [[number] for number in POINTS]
    outcomes = [one(trial, seed) for seed in chosen for trial in trials]
    return summary(outcomes)


def one(numbers: list[int], seed: int) -> Outcome:
    """One trial, told in a line."""
    light = not any(POINTS[number].needs_container for number in numbers)
    outcome = run(numbers, seed, light=light, env=os.environ)
    verdict = "FAILED" if outcome.faults else "ok"
    left = " ".join(f"{left_s:.2f}" for _, left_s in outcome.left_s)
    names = str(POINTS[numbers[0]]) if len(numbers) == 1 else f"points {numbers}"
    sys.stdout.write(f"{verdict} seed {seed} {outcome.took_s:.1f} s, left {left or '-'}: {names}\n")
    if outcome.faults:
        sys.stdout.write(outcome.report() + "\n")
    sys.stdout.flush()
    return outcome


def summary(outcomes: list[Outcome]) -> int:
    """What all of them have shown, in a line."""
    failed = [outcome for outcome in outcomes if outcome.faults]
    left = sorted(left_s for outcome in outcomes for _, left_s in outcome.left_s)
    if left:
        shown = f"median {statistics.median(left):.2f} s, longest {left[-1]:.2f} s"
        sys.stdout.write(f"nothing left after {len(left)} deaths of the service: {shown}\n")
    sys.stdout.write(f"{len(outcomes)} trials, {len(failed)} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
