"""`python -m bench` lists the benches; `python -m bench run NAME…` measures, round by round."""

from __future__ import annotations

import argparse
import math
import random
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bench import report as files
from bench.catalogue import Choice, check_peers, chosen, groups, opened
from bench.compare import comparable, is_ours, regressions, same_machine
from bench.contenders import CONTENDERS, PEERS_VENV
from bench.errors import BenchError
from bench.machine import machine, peer_versions
from bench.model import Report
from bench.picture import svg
from bench.rounds import run
from bench.table import table

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

WORSE, BAD_INPUT, FAILED = 1, 2, 3
"""Exit codes besides 0: worse than --compare; wrong arguments, or a comparison with nothing in
common; one of our own contenders failed."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    verbs = top.add_subparsers(dest="verb")
    verbs.add_parser("list", help="list the benches (also without a verb)")
    measure = verbs.add_parser("run", help="measure")
    measure.add_argument("names", nargs="*", help="benches, curves or groups; everything without")
    measure.add_argument("--rounds", type=int, default=5, help="default 5")
    measure.add_argument("--peers", help="who stands beside us, by comma; 'none'; default: all")
    measure.add_argument("--peers-venv", type=Path, help=f"default {PEERS_VENV.name}")
    measure.add_argument("--seed", type=int, help="of the order; chosen and printed without")
    measure.add_argument("--seconds", type=float, default=60.0, help="of an overload, default 60")
    measure.add_argument("--json", type=Path, help="write everything that was measured there")
    measure.add_argument("--picture", type=Path, help="draw it there, as SVG")
    measure.add_argument("--compare", type=Path, metavar="OLD.json", help="name what became worse")
    show = verbs.add_parser("show", help="tables of a report; also draws and compares")
    show.add_argument("report", type=Path)
    show.add_argument("--picture", type=Path)
    show.add_argument("--compare", type=Path, metavar="OLD.json")
    return top


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    args = parser().parse_args(argv)
    try:
        if args.verb == "run":
            with ended_by_sigterm():
                return measure(args)
        if args.verb == "show":
            return shown(files.read(args.report), args.picture, old(args.compare))
    except BenchError as error:
        print(f"bench: {error.message}", file=sys.stderr)
        return BAD_INPUT
    print(listed())
    return 0


@contextmanager
def ended_by_sigterm() -> Generator[None]:
    """SIGTERM unwinds as Ctrl-C does, so that the contender that runs is ended too."""

    def leave(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def listed() -> str:
    """Every bench with its question and what it is measured against."""
    lines: list[str] = []
    for group, questions in groups().items():
        lines.append(f"{group}:")
        done: set[str] = set()
        for question in questions:
            name = question.curve or question.key
            if name not in done:
                done.add(name)
                lines.append(f"  {name:14} {question.title} ({question.unit})")
    lines.append("contenders:")
    lines += [f"  {name:18} {one.what}" for name, one in CONTENDERS.items()]
    return "\n".join(lines)


def choice(args: argparse.Namespace) -> Choice:
    """How the benches are to be run.

    Raises:
        BenchError: that cannot be.
    """
    if args.rounds < 1 or not 0 < args.seconds < math.inf:
        raise BenchError("--rounds takes 1 or more, --seconds more than 0")
    python = (args.peers_venv or PEERS_VENV) / "bin" / "python"
    if args.peers_venv and not python.exists():
        raise BenchError(f"{args.peers_venv} is no virtual environment; make bench-peers")
    peers_python = python if python.exists() else None
    if args.peers is None:
        if peers_python is None:
            print(
                "bench: the peers are not installed and left out; make bench-peers", file=sys.stderr
            )
        return Choice(peers_python, None, args.seconds)
    names: list[str] = [] if args.peers == "none" else args.peers.split(",")
    if args.peers != "none" and not any(names):
        raise BenchError("--peers takes names with commas between them, or 'none'")
    return Choice(peers_python, check_peers(names, peers_python), args.seconds)


def about(how: Choice) -> dict[str, Any]:
    """The machine, and the peers that are installed."""
    found = machine()
    if how.peers_python:
        names = sorted({one.distribution for one in CONTENDERS.values() if one.distribution})
        found["peers"] = peer_versions(how.peers_python, names)
    return found


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def old(path: Path | None) -> Report | None:
    """The report to compare with."""
    return None if path is None else files.read(path)


def measure(args: argparse.Namespace) -> int:
    """Run, print, write, compare."""
    how = choice(args)
    keys = chosen(args.names)
    before = old(args.compare)
    if before and not {outcome.question.key for outcome in before.outcomes}.intersection(keys):
        raise BenchError(f"nothing can be compared: {args.compare} has none of these benches")
    for path in (args.json, args.picture):
        files.check_writable(path)
    seed = random.SystemRandom().randrange(10_000) if args.seed is None else args.seed
    print(f"seed {seed}, {args.rounds} rounds", file=sys.stderr)
    report = Report(about(how), " ".join(["python -m bench", *sys.argv[1:]]), seed, [])
    with opened(keys, how) as benches:
        for bench in benches:
            report.outcomes.append(run(bench, args.rounds, seed, say))
            # Each time: what was measured is not lost when the rest is given up.
            if args.json:
                files.write(args.json, report)
    return shown(report, args.picture, before)


def shown(report: Report, picture: Path | None, before: Report | None) -> int:
    """Print tables, draw, compare; the exit code."""
    print(table(report))
    about = ", ".join(f"{name} {value}" for name, value in report.machine.items() if value)
    print(f"\n{report.command}, seed {report.seed}; {about}")
    if picture:
        files.write_text(picture, svg(report))
    worse = 0 if before is None else compared(before, report)
    return FAILED if any(failed_ours(report)) else worse


def failed_ours(report: Report) -> Iterator[str]:
    """The contenders of ours that failed."""
    for outcome in report.outcomes:
        for name in outcome.failures():
            if name == outcome.question.subject or is_ours(name):
                yield name


def compared(before: Report, report: Report) -> int:
    """Print what became worse; the exit code."""
    if not comparable(before, report):
        wanted = "values" if same_machine(before, report) else "ratios (of two machines)"
        print(f"\nNothing can be compared: no bench has {wanted} in both reports.")
        return BAD_INPUT
    if not same_machine(before, report):
        print("\nThe earlier report is of another machine: only ratios are compared.")
    found = list(regressions(before, report))
    for one in found:
        print(f"\nworse: {one.key}: {one.text}")
    if not found:
        print("\nNothing became worse beyond the noise.")
    return WORSE if found else 0


if __name__ == "__main__":
    sys.exit(main())
