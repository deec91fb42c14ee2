"""`python -m bench.store`: how fast tasks are accepted, given out, and found again after a crash.

The work is done in one thread, on the real book, queue and store, without agents.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bench.model import Question
from understudy.actors.collector import collector_paused
from understudy.actors.handle import TaskHandle
from understudy.actors.task_book import TaskBook
from understudy.actors.tasks.queue import TaskQueue
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task, TaskResult

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from multiprocessing.connection import Connection

_RUN = "service"
_DISPATCHES = 10_000
_SINGLES = 5000
_IN_FLIGHT = 10
_CHECKPOINT_EVERY_S = 0.5


@contextmanager
def open_book(folder: Path) -> Generator[tuple[TaskBook, TaskStore]]:
    """A book on the store of that folder, with checkpoints beside it as a fleet makes them."""
    closing = threading.Event()
    with TaskStore(folder / "tasks.db") as store:

        def write_through() -> None:
            while not closing.wait(_CHECKPOINT_EVERY_S):
                store.checkpoint()

        thread = threading.Thread(target=write_through)
        thread.start()
        yield TaskBook(TaskQueue(), store, _RUN), store
        closing.set()
        thread.join()


def new_tasks(count: int) -> tuple[list[Task], list[TaskHandle]]:
    """Tasks as people write them, with their handles."""
    tasks = [
        Task(description=f"review part {number}", files=[f"src/part_{number}.py"], repo="/srv/shop")
        for number in range(count)
    ]
    return tasks, [TaskHandle(task.task_id, lambda _: False) for task in tasks]


def submit_one_by_one(folder: Path) -> float:
    """Tasks a second, each accepted in a call of its own."""
    tasks, handles = new_tasks(_SINGLES)
    with open_book(folder) as (book, _):
        started = time.perf_counter()
        for task, handle in zip(tasks, handles, strict=True):
            book.accept([task], [handle])
        return _SINGLES / (time.perf_counter() - started)


def fill(folder: Path, count: int) -> float:
    """Tasks a second, accepted together."""
    tasks, handles = new_tasks(count)
    with open_book(folder) as (book, _):
        started = time.perf_counter()
        book.accept(tasks, handles)
        return count / (time.perf_counter() - started)


def recover(book: TaskBook, store: TaskStore) -> float:
    """Seconds until all that a dead service left is queued again."""
    started = time.perf_counter()
    with collector_paused():
        rows = store.recover(_RUN, 3)
        handles = [TaskHandle(row.task_id, lambda _: False) for row in rows]
        may_have_run = [row.task_id for row in rows if row.may_have_run]
        book.recover([(row.task, row.attempts) for row in rows], handles, may_have_run=may_have_run)
    return time.perf_counter() - started


def timed(times: list[float], work: Callable[[], object]) -> None:
    """Add what the work took, in milliseconds."""
    started = time.perf_counter()
    work()
    times.append((time.perf_counter() - started) * 1000)


def dispatch(book: TaskBook, per_s: float) -> tuple[list[float], list[float]]:
    """Milliseconds of each hand-over and of each result."""
    given: list[float] = []
    finished: list[float] = []

    def give() -> None:
        picked = book.take({"agent_000": "generic", "agent_001": None})
        assert picked is not None
        book.start(picked[0], picked[1], gives_up_at=1e12, incarnation=1)

    started = time.perf_counter()
    for number in range(_DISPATCHES):
        time.sleep(max(0.0, started + number / per_s - time.perf_counter()))
        timed(given, give)
        (task_id,) = book.running
        result = TaskResult(task_id, "agent_000", "success", {"output": "done"})
        timed(finished, lambda result=result: book.finish(result))  # type: ignore[misc]
    for _ in range(_IN_FLIGHT):
        timed(given, give)
    return given, finished


def give_out_and_die(folder: Path, per_s: float, pipe: Connection) -> None:
    """Start with all that waits, give some of it out, and end as a crash does."""
    with open_book(folder) as (book, store):
        started_s = recover(book, store)
        given, finished = dispatch(book, per_s)
        found = {"dispatch_ms": spread(given), "result_ms": spread(finished)}
        pipe.send({"start_with_all_waiting_s": round(started_s, 2), **found})
        # Nothing is parked, closed or moved from the log.
        os._exit(1)


def in_a_process(
    work: Callable[[Path, float, Connection], None], folder: Path, per_s: float
) -> dict[str, object]:
    """What it sends before it dies."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(folder, per_s, theirs))
    process.start()
    theirs.close()
    with ours:
        found: dict[str, object] = ours.recv()
    process.join()
    return found


def spread(times: list[float]) -> dict[str, float]:
    """Median, 99 of 100, the longest, and how many took more than 1 ms."""
    ordered = sorted(times)
    return {
        "median": round(statistics.median(ordered), 3),
        "p99": round(ordered[int(len(ordered) * 0.99)], 3),
        "max": round(ordered[-1], 3),
        "over_1_ms": sum(took > 1.0 for took in ordered),
    }


def question() -> Question:
    """What the harness asks of it."""
    return Question(
        "store",
        "tasks accepted one by one, 100,000 waiting",
        "submitted_per_s",
        "tasks/s",
        more_is_better=True,
        subject="understudy",
        also=(
            "submitted_together_per_s",
            "dispatch_ms.median",
            "dispatch_ms.p99",
            "result_ms.median",
            "result_ms.p99",
            "start_with_all_waiting_s",
            "start_after_crash_s",
        ),
    )


def flat(found: dict[str, object]) -> dict[str, float]:
    """Nested values under names with a dot."""
    values: dict[str, float] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            nested = cast("dict[str, float]", value)
            values |= {f"{name}.{key}": float(one) for key, one in nested.items()}
        elif isinstance(value, int | float):
            values[name] = float(value)
    return values


def main() -> None:
    """Measure, print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the store is made; a disk that counts")
    parser.add_argument(
        "--per-s", type=float, default=math.inf, help="tasks given out a second; without: no rest"
    )
    parser.add_argument("--flat", action="store_true", help="one line, names with a dot")
    args = parser.parse_args()
    found = measure(args.tasks, args.folder, args.per_s)
    print(json.dumps(flat(found)) if args.flat else json.dumps(found, indent=1))


def measure(tasks: int, folder: Path | None, per_s: float) -> dict[str, object]:
    """All of it, with so many tasks given out a second."""
    found: dict[str, object] = {"tasks": tasks}
    with tempfile.TemporaryDirectory(prefix="us-bench-", dir=folder) as name:
        singles, many = Path(name, "singles"), Path(name, "many")
        found["submitted_per_s"] = round(submit_one_by_one(singles))
        found["submitted_together_per_s"] = round(fill(many, tasks))
        found |= in_a_process(give_out_and_die, many, per_s)
        started = time.perf_counter()
        with open_book(many) as (book, store):
            recover(book, store)
            found["start_after_crash_s"] = round(time.perf_counter() - started, 2)
            found["waiting_after_crash"] = book.waiting
    return found


if __name__ == "__main__":
    main()
