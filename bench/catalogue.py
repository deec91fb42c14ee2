"""All benches by name and group, and how each is measured."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.contenders import CONTENDERS, measure_program, measure_with
from bench.errors import BenchError
from bench.fleet import questions as fleet
from bench.questions import WORKLOADS, Workload, curves, for_seconds
from bench.rounds import Bench, Measure
from bench.store import question as store_question

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from bench.model import Question


@dataclass(frozen=True)
class Choice:
    """How benches are run.

    Attributes:
        peers_python: the interpreter of the peers' environment; None leaves the peers out.
        only: who stands beside the subjects; None is everybody.
        seconds: of an overload.
    """

    peers_python: Path | None
    only: frozenset[str] | None
    seconds: float


def groups() -> dict[str, list[Question]]:
    """Every question by group."""
    return {
        "messaging": [workload.question for workload in WORKLOADS],
        "curves": [workload.question for workload in curves()],
        "fleet": list(fleet.QUESTIONS),
        "store": [store_question()],
    }


def chosen(names: Sequence[str]) -> list[str]:
    """The keys of questions that are meant: by key, curve, or group; all without names.

    Raises:
        BenchError: there is nothing of that name.
    """
    known = groups()
    keys: dict[str, None] = {}
    for name in names or list(known):
        found = [
            question.key
            for group, questions in known.items()
            for question in questions
            if name.lower() in (group, "all", question.key.lower(), question.curve)
        ]
        if not found:
            raise BenchError(f"there is no bench {name!r}; python -m bench lists them")
        keys.update(dict.fromkeys(found))
    return list(keys)


def check_peers(names: Iterable[str], peers_python: Path | None) -> frozenset[str]:
    """The contenders of these names.

    Raises:
        BenchError: one is unknown, or its environment is missing.
    """
    others = {*CONTENDERS, *fleet.CONTENDERS}
    found = frozenset(name for name in names if name)
    for name in sorted(found):
        if name not in others:
            raise BenchError(
                f"there is no contender {name!r}; there are: {', '.join(sorted(others))}"
            )
        needs_peers = name in CONTENDERS and CONTENDERS[name].distribution
        if needs_peers and peers_python is None:
            raise BenchError(f"{name} is not installed; make bench-peers")
    return found


def messaging(keys: Sequence[str], choice: Choice) -> list[Bench]:
    """Those of the workloads and curves that are meant."""
    return [
        _bench(for_seconds(workload, choice.seconds), choice)
        for workload in (*WORKLOADS, *curves())
        if workload.question.key in keys
    ]


def _bench(workload: Workload, choice: Choice) -> Bench:
    question = workload.question
    # The last: the first one serves most interrupts.
    cpu = max(os.sched_getaffinity(0)) if question.pinned else None
    measures: dict[str, Measure] = {}
    for name in workload.contenders:
        if name != question.subject and not _wanted(name, choice):
            continue
        if choice.peers_python is None and CONTENDERS[name].distribution:
            continue
        measures[name] = measure_with(name, workload.job, choice.peers_python, cpu)
    strays = frozenset(name for name in measures if not CONTENDERS[name].waits)
    return Bench(question, measures, workload.rounds_at_most, strays)


def _wanted(name: str, choice: Choice) -> bool:
    return choice.only is None or name in choice.only


def store() -> Bench:
    """The task store, in a process of its own."""
    command = [sys.executable, "-m", "bench.store", "--flat"]
    return Bench(
        store_question(), {"understudy": partial(measure_program, "understudy", command, 300.0)}, 3
    )


@contextmanager
def opened(keys: Sequence[str], choice: Choice) -> Generator[list[Bench]]:
    """All that are meant, with what they need running."""
    benches = messaging(keys, choice)
    if store_question().key in keys:
        benches.append(store())
    with fleet.opened(
        [question.key for question in fleet.QUESTIONS if question.key in keys]
    ) as more:
        yield [*benches, *more]
