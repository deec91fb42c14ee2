"""Tasks that were accepted stay accepted; each has one result; a bad file is left as it is."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from understudy.actors.tasks import Task, TaskResult, TaskState
from understudy.actors.tasks.database import _use_wal  # pyright: ignore[reportPrivateUsage]
from understudy.actors.tasks.rows import Lease, Outcome
from understudy.actors.tasks.store import DuplicateTask, StoreError, TaskStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DAY_S = 24 * 3600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tasks.db"


@pytest.fixture
def store(path: Path) -> Iterator[TaskStore]:
    with TaskStore(path) as opened:
        yield opened


def success(task_id: str, **output: object) -> TaskResult:
    return TaskResult(task_id, "agent_000", "success", dict(output), attempts=2)


def test_a_stored_task_is_there_after_reopening(path: Path) -> None:
    task = Task(description="grün", files=["a.py"], subtasks=[{"type": "analysis"}])
    with TaskStore(path, wall=lambda: 100.0) as store:
        store.add(task, "run-1")
    with TaskStore(path) as store:
        assert store.task(task.task_id) == task
        row = store.row(task.task_id)
    assert row is not None
    assert (row.state, row.run_id, row.attempts) == (TaskState.SUBMITTED, "run-1", 0)
    assert (row.agent_id, row.submitted_at) == (None, 100.0)


def test_what_is_not_known_is_none(store: TaskStore) -> None:
    assert (store.task("x"), store.row("x"), store.result("x")) == (None, None, None)


def test_a_taken_id_is_refused_and_nothing_of_the_call_is_stored(store: TaskStore) -> None:
    store.add(Task(task_id="a"), "r")
    with pytest.raises(DuplicateTask, match="'a' is taken"):
        store.add_many([Task(task_id="b"), Task(task_id="a")], "r")
    with pytest.raises(DuplicateTask, match="'c' is taken"):
        store.add_many([Task(task_id="c"), Task(task_id="c")], "r")
    assert [row.task_id for row in store.tasks()] == ["a"]


def test_a_task_has_one_result_and_the_first_stays(store: TaskStore) -> None:
    store.add(Task(task_id="a"), "r")
    store.set_state("a", TaskState.WORKING, agent_id="agent_000", attempts=1)
    assert store.finish(success("a", n=1), TaskState.COMPLETED)
    assert not store.finish(success("a", n=2), TaskState.FAILED)
    result, row = store.result("a"), store.row("a")
    assert result is not None
    assert row is not None
    assert result.result == {"n": 1}
    assert (row.state, row.attempts) == (TaskState.COMPLETED, 2)


def test_a_result_of_an_unknown_task_is_not_stored(store: TaskStore) -> None:
    assert not store.finish(success("ghost"), TaskState.COMPLETED)
    assert store.result("ghost") is None


def test_a_finished_task_does_not_come_back_to_life(store: TaskStore) -> None:
    store.add(Task(task_id="a"), "r")
    for state in (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED):
        task_id = f"task-{state}"
        store.add(Task(task_id=task_id), "r")
        assert store.finish(success(task_id), state)
        assert not store.set_state(task_id, TaskState.SUBMITTED)
    assert [row.task_id for row in store.unfinished()] == ["a"]


def test_many_finishers_at_once_make_one_result(store: TaskStore) -> None:
    store.add(Task(task_id="a"), "r")
    told: list[bool] = []
    start = threading.Barrier(8)

    def finish(number: int) -> None:
        start.wait(10)
        told.append(store.finish(success("a", n=number), TaskState.COMPLETED))

    threads = [threading.Thread(target=finish, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(told) == [False] * 7 + [True]


def test_states_are_listed_newest_first_and_unfinished_ones_oldest_first(store: TaskStore) -> None:
    store.add_many([Task(task_id=str(i)) for i in range(5)], "one")
    store.add(Task(task_id="other"), "two")
    store.set_state("3", TaskState.WORKING, agent_id="agent_001", attempts=1)
    store.finish(success("1"), TaskState.COMPLETED)
    assert [r.task_id for r in store.tasks(limit=3)] == ["other", "4", "3"]
    assert [r.task_id for r in store.tasks(TaskState.WORKING)] == ["3"]
    assert [r.task_id for r in store.unfinished("one")] == ["0", "2", "3", "4"]
    assert [r.task_id for r in store.unfinished()] == ["0", "2", "3", "4", "other"]


def test_a_task_that_waits_again_keeps_its_attempts_and_loses_its_agent(store: TaskStore) -> None:
    store.add(Task(task_id="a"), "r")
    store.set_state("a", TaskState.WORKING, agent_id="agent_001", attempts=2)
    store.set_state("a", TaskState.SUBMITTED)
    row = store.row("a")
    assert row is not None
    assert (row.agent_id, row.attempts) == (None, 2)


def test_events_are_followed_by_task_and_by_agent(store: TaskStore) -> None:
    first = store.event("a", None, 1.0, "queued", "")
    store.event("a", "agent_000", 2.0, "started", "")
    store.event("b", "agent_000", 3.0, "progress", "reads b.py")
    assert [e.kind for e in store.events(task_id="a")] == ["queued", "started"]
    assert [e.task_id for e in store.events(agent_id="agent_000")] == ["a", "b"]
    assert [e.at for e in store.events(after=first)] == [2.0, 3.0]
    assert [e.kind for e in store.events(task_id="a", agent_id="agent_000")] == ["started"]
    assert len(store.events(limit=1)) == 1


def test_old_finished_tasks_are_pruned_with_all_that_is_theirs(path: Path) -> None:
    now = [0.0]
    with TaskStore(path, wall=lambda: now[0]) as store:
        store.add_many([Task(task_id="old"), Task(task_id="waits"), Task(task_id="new")], "r")
        for task_id in ("old", "waits", "new"):
            store.event(task_id, "agent_000", 0.0, "queued", "")
        store.event(None, "agent_000", 0.0, "restarted", "")
        store.finish(success("old"), TaskState.COMPLETED)
        now[0] = 10 * DAY_S
        store.finish(success("new"), TaskState.COMPLETED)
        now[0] = 31 * DAY_S
        assert store.prune(30 * DAY_S) == 1
        assert (store.task("old"), store.result("old")) == (None, None)
        assert [row.task_id for row in store.tasks()] == ["new", "waits"]
        assert [event.task_id for event in store.events()] == ["waits", "new"]


def test_ten_thousand_tasks_are_stored_in_a_second(store: TaskStore) -> None:
    tasks = [Task(description=f"task {i}", files=["a.py"]) for i in range(10_000)]
    started = time.perf_counter()
    store.add_many(tasks, "r")
    assert time.perf_counter() - started < 20.0  # 0.06 s; one by one and synced it takes minutes
    assert len(store.unfinished()) == 10_000


def test_a_task_whose_adding_returned_survives_the_sigkill_of_its_process(path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from understudy.actors.tasks import Task\n"
        "from understudy.actors.tasks.store import TaskStore\n"
        "store = TaskStore(pathlib.Path(sys.argv[1]))\n"
        "for i in range(10**9):\n"
        "    store.add(Task(task_id=str(i)), 'r')\n"
        "    print(i, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        acknowledged = [child.stdout.readline().strip() for _ in range(200)]
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.read().split()
    with TaskStore(path) as store:
        stored = {row.task_id for row in store.unfinished()}
    assert set(acknowledged) <= stored


def test_two_processes_write_to_one_store_at_once(path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from understudy.actors.tasks import Task\n"
        "from understudy.actors.tasks.store import TaskStore\n"
        "with TaskStore(pathlib.Path(sys.argv[1])) as store:\n"
        "    for i in range(200): store.add(Task(task_id=f'{sys.argv[2]}-{i}'), sys.argv[2])\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in ("a", "b")
    ]
    assert [child.wait(60) for child in children] == [0, 0]
    with TaskStore(path) as store:
        assert len(store.unfinished("a")) == len(store.unfinished("b")) == 200


def test_the_turn_to_write_ahead_logging_waits_for_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)

    class BusyTwice(sqlite3.Connection):
        """What a second process meets while the first one makes the file."""

        def execute(self, _sql: str, _values: object = (), /) -> sqlite3.Cursor:
            if len(pauses) < 2:
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise error
            return self.cursor()

    connection = BusyTwice(":memory:")
    _use_wal(connection)
    connection.close()
    assert len(pauses) == 2


def test_the_file_is_for_its_owner_alone(store: TaskStore, path: Path) -> None:
    store.add(Task(), "r")
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_closed_store_says_so(store: TaskStore) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.tasks()
    with pytest.raises(StoreError, match="closed"):
        store.add(Task(), "r")


def not_a_database(path: Path) -> None:
    path.write_text("These are my notes. " * 100)


def another_programs(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title)")
    connection.close()


def of_a_newer_version(path: Path) -> None:
    TaskStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (not_a_database, "not an SQLite database"),
        (another_programs, "another program's database"),
        (of_a_newer_version, "schema version 99, this program knows 4"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(
    path: Path, make: Callable[[Path], None], problem: str
) -> None:
    path.parent.mkdir()
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        TaskStore(path)
    assert problem in caught.value.problem
    assert caught.value.path == str(path)
    assert caught.value.mend
    assert path.read_bytes() == before


def test_a_damaged_record_is_reported_not_returned(store: TaskStore, path: Path) -> None:
    store.add(Task(task_id="a"), "r")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE tasks SET task = x'c1c1'")
    connection.close()
    with pytest.raises(StoreError, match="record is damaged"):
        store.task("a")


def test_a_folder_in_the_place_of_the_file_is_reported(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be opened"):
        TaskStore(path)


def test_a_file_where_the_folder_should_be_is_reported(path: Path) -> None:
    path.parent.write_text("a file")
    with pytest.raises(StoreError, match=r"cannot be opened: .* storage\.state_dir"):
        TaskStore(path)


def test_the_error_crosses_processes() -> None:
    for error in (StoreError("p", "q", "m"), DuplicateTask("a")):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_reported_loses_nothing_and_the_store_goes_on(small_disk: Path) -> None:
    stored: list[str] = []
    with TaskStore(small_disk / "tasks.db") as store:
        (small_disk / "ballast").write_bytes(b"x" * 50_000)

        def fill() -> None:
            for i in range(10_000):
                store.add(Task(task_id=str(i), description="x" * 1000), "r")
                stored.append(str(i))

        with pytest.raises(StoreError, match=r"disk is full .*; free some space"):
            fill()
        assert [row.task_id for row in store.unfinished()] == stored
        (small_disk / "ballast").unlink()
        store.add(Task(task_id="after"), "r")
    with TaskStore(small_disk / "tasks.db") as store:
        assert [row.task_id for row in store.unfinished()] == [*stored, "after"]


def test_on_a_full_disk_no_step_of_a_task_is_half_done(small_disk: Path) -> None:
    lease = Lease("agent_000", 1)
    with TaskStore(small_disk / "tasks.db") as store:
        store.add_many([Task(task_id="a"), Task(task_id="b")], "r")
        assert store.start("b", lease, 1)
        fill_up(small_disk)
        large = TaskResult("b", "agent_000", "success", {"output": "x" * 50_000})
        with pytest.raises(StoreError, match="disk is full"):
            store.finish(large, TaskState.COMPLETED, lease=lease)
        assert store.result("b") is None
        assert [attempt.outcome for attempt in store.attempts("b")] == [None]
        with pytest.raises(StoreError, match="disk is full"):
            start_again_and_again(store, lease)
        (small_disk / "ballast").unlink()
        assert store.finish(large, TaskState.COMPLETED, lease=lease)
        row = store.row("a")
        assert row is not None
        held = any(attempt.ended_at is None for attempt in store.attempts("a"))
        assert (row.state is TaskState.WORKING) is held


def fill_up(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def start_again_and_again(store: TaskStore, lease: Lease) -> None:
    for number in range(1, 1000):
        store.start("a", lease, number)
        store.end_attempt("a", Outcome.RETRIED, number)


def test_a_disk_that_cannot_be_written_is_reported(small_disk: Path) -> None:
    TaskStore(small_disk / "tasks.db").close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreError, match="cannot be"):
        TaskStore(small_disk / "tasks.db")


def test_a_limit_on_file_sizes_is_reported_without_the_right_to_mount(path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from understudy.actors.tasks import Task\n"
        "from understudy.actors.tasks.store import StoreError, TaskStore\n"
        "store = TaskStore(pathlib.Path(sys.argv[1]))\n"
        "try:\n"
        "    for i in range(10_000): store.add(Task(description='x' * 1000), 'r')\n"
        "except StoreError as error:\n"
        "    print(error.problem, len(store.unfinished()) == i)\n"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "disk" in done.stdout
    assert done.stdout.endswith("True\n")
