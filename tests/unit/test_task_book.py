from __future__ import annotations

from pathlib import Path

import pytest

from understudy.actors.events import TaskEvent
from understudy.actors.failure import FailureKind
from understudy.actors.handle import TaskHandle
from understudy.actors.task_book import TaskBook
from understudy.actors.tasks.queue import QueueFull, TaskQueue
from understudy.actors.tasks.store import DuplicateTask, TaskStore
from understudy.actors.tasks.task import Task, TaskResult, TaskState


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Book:
    """A book on a store of its own, with its clock in the test's hand."""

    def __init__(self, path: Path, max_size: int = 100) -> None:
        self.clock = Clock()
        self.store = TaskStore(path / "tasks.db")
        queue = TaskQueue(max_size=max_size, clock=self.clock)
        self.book = TaskBook(queue, self.store, "run", clock=self.clock, wall=self.clock)

    def accept(self, *names: str) -> list[TaskHandle]:
        tasks = [Task(task_id=name, description=name) for name in names]
        handles = [TaskHandle(name, lambda _: False) for name in names]
        self.book.accept(tasks, handles)
        return handles

    def start_next(self, agent_id: str = "agent_000") -> Task:
        picked = self.book.take({agent_id: None})
        assert picked is not None
        self.book.start(picked[0], agent_id, gives_up_at=self.clock() + 60)
        return picked[0]

    def state(self, task_id: str) -> TaskState:
        row = self.store.row(task_id)
        assert row is not None
        return row.state


@pytest.fixture
def book(tmp_path: Path):  # type: ignore[no-untyped-def]  # noqa: ANN201
    made = Book(tmp_path)
    yield made
    made.store.close()


def success(task_id: str) -> TaskResult:
    return TaskResult(task_id=task_id, agent_id="agent_000", status="success", result={"n": 1})


def kinds(handle: TaskHandle) -> list[str]:
    seen: list[TaskEvent | None] = []
    handle.subscribe(seen.append)
    return [event.kind for event in seen if event is not None]


def test_an_accepted_task_is_on_disk_before_it_is_given_to_anybody(book: Book) -> None:
    book.accept("a")
    assert book.state("a") is TaskState.SUBMITTED


def test_when_one_of_many_ids_is_taken_none_is_accepted(book: Book) -> None:
    book.accept("a")
    with pytest.raises(DuplicateTask):
        book.accept("b", "a")
    assert book.book.waiting == 1
    assert book.store.row("b") is None


def test_when_there_is_no_room_for_all_none_is_accepted(tmp_path: Path) -> None:
    book = Book(tmp_path, max_size=2)
    with pytest.raises(QueueFull):
        book.accept("a", "b", "c")
    assert book.book.waiting == 0
    assert book.store.tasks() == []
    book.store.close()


def test_a_finished_task_has_its_result_in_the_store_and_at_its_handle(book: Book) -> None:
    (handle,) = book.accept("a")
    book.start_next()
    book.book.finish(success("a"))
    assert handle.wait(0).status == "success"
    stored = book.store.result("a")
    assert stored is not None
    assert stored.result == {"n": 1}
    assert book.state("a") is TaskState.COMPLETED
    assert kinds(handle) == ["queued", "started", "finished"]


def test_a_second_result_changes_nothing(book: Book) -> None:
    (handle,) = book.accept("a")
    book.start_next()
    book.book.finish(success("a"))
    book.book.fail(Task(task_id="a"), FailureKind.CRASH, "late")
    stored = book.store.result("a")
    assert stored is not None
    assert stored.status == handle.wait(0).status == "success"


def test_a_requeued_task_keeps_its_attempts(book: Book) -> None:
    book.accept("a")
    task = book.start_next()
    book.book.requeue(task, "the agent fell")
    assert book.state("a") is TaskState.SUBMITTED
    assert book.book.attempt_of(task) == 2
    book.start_next()
    assert book.book.running["a"].attempt == 2


def test_a_free_requeue_gives_the_attempt_back(book: Book) -> None:
    book.accept("a")
    task = book.start_next()
    book.book.requeue(task, "rate limited", free=True)
    assert book.book.attempt_of(task) == 1


def test_a_delayed_task_waits_for_its_time(book: Book) -> None:
    book.accept("a")
    task = book.start_next()
    book.book.requeue(task, "overloaded", after_s=5.0)
    book.book.release_due()
    assert book.book.take({"agent_000": None}) is None
    book.clock.now += 5.0
    book.book.release_due()
    assert book.book.take({"agent_000": None}) is not None


def test_a_delayed_task_can_be_taken_out(book: Book) -> None:
    book.accept("a")
    book.book.requeue(book.start_next(), "overloaded", after_s=5.0)
    assert book.book.take_waiting("a") is not None
    assert book.book.waiting == 0


def test_all_that_waits_is_taken_at_once_delayed_or_not(book: Book) -> None:
    book.accept("a", "b")
    book.book.requeue(book.start_next(), "overloaded", after_s=5.0)
    assert {task.task_id for task in book.book.take_all_waiting()} == {"a", "b"}
    assert book.book.waiting == 0


def test_a_task_kept_for_later_is_found_by_the_next_service_with_its_attempts(book: Book) -> None:
    book.accept("a")
    book.book.keep_for_later(book.start_next())
    (row,) = book.store.unfinished("run")
    assert (row.task_id, row.attempts, row.state) == ("a", 1, TaskState.SUBMITTED)


def test_a_recovered_task_goes_on_counting_its_attempts(book: Book) -> None:
    task = Task(task_id="a", description="a")
    book.store.add(task, "run")
    book.book.recover([(task, 2)], [])
    assert book.book.attempt_of(task) == 3


def test_a_canceled_task_ends_in_its_own_state(book: Book) -> None:
    (handle,) = book.accept("a")
    task = book.book.take_waiting("a")
    assert task is not None
    book.book.fail(task, FailureKind.CANCELED, "canceled before it ran")
    assert book.state("a") is TaskState.CANCELED
    assert handle.state is TaskState.CANCELED
