"""`python -m bench` lists and runs the benches: contenders side by side, in interleaved rounds."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.fleet import measure
from bench.fleet.byhand import ByHand, example_repo
from bench.harness import Bench, Outcome, machine, run, save, table

if TYPE_CHECKING:
    from understudy import Orchestrator


def scripted_model(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """The scripted model in a process of its own, on a port and on a socket in `folder`."""
    command = [
        sys.executable, "-m", "understudy", "fake-api", "--port", "0",
        "--unix", str(folder / "api.sock"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "http://" in line:
            return process, line[line.index("http://") :].strip()
    raise SystemExit("the scripted model did not start")


def fleet_benches(rounds: int, names: list[str]) -> list[Outcome]:
    """The fleet beside doing it by hand."""
    with tempfile.TemporaryDirectory(prefix="us-bench-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        sockets = folder / "sockets"
        sockets.mkdir()
        model, url = scripted_model(sockets)
        measure.use_model(url)
        try:
            repo = example_repo(folder)
            hand = ByHand(folder, repo, sockets)
            with measure.warm_fleet(1) as one, measure.warm_fleet(3) as three:
                return [
                    run(bench, rounds, seed=1)
                    for bench in benches(hand, repo, one, three)
                    if not names or any(word in bench.name for word in names)
                ]
        finally:
            model.terminate()
            model.communicate(timeout=30)


def benches(hand: ByHand, repo: Path, one: Orchestrator, three: Orchestrator) -> tuple[Bench, ...]:
    """What is compared, with a warm fleet of one agent and one of three."""
    return (
        Bench(
            "first task of a cold fleet",
            "What does a fleet of its own add to one run?",
            {"by hand": partial(measure.by_hand, hand), "fleet": partial(measure.cold, repo)},
            base="by hand",
            goal="at most 0.5 s more",
        ),
        Bench(
            "task on a warm agent",
            "What does a warm agent save?",
            {"by hand": partial(measure.by_hand, hand), "fleet": partial(measure.warm, one, repo)},
            base="by hand",
            goal="≥ 5\u00d7",
        ),
        Bench(
            "30 tasks, 3 at once",
            "How much more does a fleet get done?",
            {
                "xargs -P3": partial(measure.by_xargs, hand),
                "fleet": partial(measure.thirty, three, repo),
            },
            base="xargs -P3",
            goal="≥ 3\u00d7",
        ),
    )


def main() -> None:
    """Parse the command line, measure, print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", help="words of the benches to run; all without")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write everything that was measured there")
    parser.add_argument("--list", action="store_true", help="list the benches")
    parser.add_argument("--rest", action="store_true", help="measure memory and CPU at rest too")
    args = parser.parse_args()
    if args.list:
        print(
            "first task of a cold fleet\ntask on a warm agent\n30 tasks, 3 at once\n--rest: memory"
        )
        return
    outcomes = fleet_benches(args.rounds, args.names)
    extra: dict[str, object] = {}
    if args.rest:
        extra["at_rest"] = measure.at_rest()
    print(table(outcomes))
    print(json.dumps({"machine": machine(), **extra}, indent=1))
    if args.json:
        save(args.json, outcomes, extra)


if __name__ == "__main__":
    main()
