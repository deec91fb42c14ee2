"""What is asked about the fleet, and how it is measured."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.model import Question
from bench.rounds import Bench, Measure

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from bench.fleet.byhand import ByHand
    from understudy import Orchestrator

_READY_S = 30.0

CONTENDERS = ("fleet", "by-hand", "xargs-P3")


def _seconds(key: str, title: str, **more: object) -> Question:
    fields = {"metric": "s", "unit": "s", "more_is_better": False, "subject": "fleet", **more}
    return Question(key, title, **fields)  # type: ignore[arg-type]


QUESTIONS = (
    _seconds("fleet-cold", "first task of a cold fleet", most_more={"by-hand": 0.5}),
    _seconds("fleet-warm", "task on a warm agent", goals={"by-hand": 5}),
    _seconds("fleet-thirty", "30 tasks, 3 at once", goals={"xargs-P3": 3}),
    Question(
        "fleet-rest",
        "3 idle agents: memory of all our processes (PSS)",
        "pss_mb",
        "MB",
        more_is_better=False,
        subject="fleet",
        limits={"pss_mb": 150, "share_of_a_core_percent": 1},
        also=("share_of_a_core_percent",),
    ),
)


def measured(work: Callable[[], float]) -> Measure:
    """Seconds as a contender's values; what goes wrong as an error of the run."""

    def measure() -> dict[str, float]:
        try:
            return {"s": work()}
        except (AssertionError, subprocess.SubprocessError) as error:
            raise BenchError(f"{type(error).__name__}: {str(error)[:200]}") from error

    return measure


@contextmanager
def scripted_model(folder: Path) -> Generator[str]:
    """The scripted model in a process of its own, on a port and on a socket in `folder`."""
    command = [
        sys.executable, "-m", "understudy", "fake-api", "--port", "0",
        "--unix", str(folder / "api.sock"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "http://" in line:
                yield line[line.index("http://") :].strip()
                return
        raise BenchError("the scripted model did not start; run: understudy fake-api --port 0")
    finally:
        process.terminate()
        process.communicate(timeout=_READY_S)


@contextmanager
def opened(keys: Sequence[str]) -> Generator[list[Bench]]:
    """Those of the benches, with the scripted model and warm fleets; nothing runs for none."""
    if not keys:
        yield []
        return
    # Behind the check: what they import takes a second, and podman.
    from bench.fleet import byhand, measure  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="us-bench-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        sockets = folder / "sockets"
        sockets.mkdir()
        with scripted_model(sockets) as url:
            measure.use_model(url)
            repo = byhand.example_repo(folder)
            hand = byhand.ByHand(folder, repo, sockets)
            with measure.warm_fleet(1) as one, measure.warm_fleet(3) as three:
                benches = _benches(hand, repo, one, three)
                yield [bench for bench in benches if bench.question.key in keys]


def _benches(hand: ByHand, repo: Path, one: Orchestrator, three: Orchestrator) -> tuple[Bench, ...]:
    from bench.fleet import measure  # noqa: PLC0415 - as above

    cold, warm, thirty, rest = QUESTIONS
    by_hand = measured(partial(measure.by_hand, hand))
    by_xargs = measured(partial(measure.by_xargs, hand))
    ours = [
        measured(partial(measure.cold, repo)),
        measured(partial(measure.warm, one, repo)),
        measured(partial(measure.thirty, three, repo)),
    ]
    # Containers do not run below this process.
    strays = frozenset(CONTENDERS)
    return (
        Bench(cold, {"by-hand": by_hand, "fleet": ours[0]}, strays=strays),
        Bench(warm, {"by-hand": by_hand, "fleet": ours[1]}, strays=strays),
        Bench(thirty, {"xargs-P3": by_xargs, "fleet": ours[2]}, strays=strays),
        Bench(rest, {"fleet": measure.at_rest}, rounds_at_most=1, strays=strays),
    )
