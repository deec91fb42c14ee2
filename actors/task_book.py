"""The life of each accepted task: waiting, running, waiting again, finished; always on disk too.

Used by the root actor alone, in its thread.
"""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .events import EventKind, TaskEvent
from .failure import FailureKind
from .tasks.task import Task, TaskResult, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .handle import TaskHandle
    from .tasks.queue import TaskQueue
    from .tasks.store import TaskStore


@dataclass(slots=True)
class Running:
    """A task that an agent holds, until its answer or the agent's end."""

    task: Task
    agent_id: str
    attempt: int
    gives_up_at: float
    canceled: bool = False


class TaskBook:
    """Queue, store and watchers kept in step. `clock` is monotonic, `wall` is the time of day."""

    def __init__(
        self,
        queue: TaskQueue,
        store: TaskStore,
        run_id: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._store = store
        self._run_id = run_id
        self._clock = clock
        self._wall = wall
        self._attempts: dict[str, int] = {}
        self._delayed: list[tuple[float, int, Task]] = []
        self._order = itertools.count()
        self._handles: dict[str, TaskHandle] = {}
        self.running: dict[str, Running] = {}

    @property
    def waiting(self) -> int:
        """How many accepted tasks no agent holds."""
        return len(self._queue) + len(self._delayed)

    def accept(self, tasks: list[Task], handles: list[TaskHandle]) -> None:
        """Make the tasks durable, all or none, then queue them.

        Raises:
            QueueFull: there is no room for all of them.
            DuplicateTask: an id is taken.
        """
        self._queue.check_room(len(tasks))
        self._store.add_many(tasks, self._run_id)
        self._enqueue(tasks, handles)

    def recover(self, tasks: list[tuple[Task, int]], handles: list[TaskHandle]) -> None:
        """Queue what an earlier service had accepted; the number is its attempts so far."""
        self._attempts.update({task.task_id: attempts for task, attempts in tasks})
        self._enqueue([task for task, _ in tasks], handles)

    def take(self, idle: Mapping[str, str | None]) -> tuple[Task, str] | None:
        """The task that is next, and the idle agent it is best given to."""
        return self._queue.take(idle)

    def put_back(self, task: Task) -> None:
        """Queue a task that could not be handed over."""
        self._queue.put(task, force=True)

    def attempt_of(self, task: Task) -> int:
        """The number of the task's next attempt, from 1."""
        return self._attempts.get(task.task_id, 0) + 1

    def start(self, task: Task, agent_id: str, *, gives_up_at: float) -> None:
        """The task is with that agent now."""
        attempt = self._attempts[task.task_id] = self.attempt_of(task)
        self.running[task.task_id] = Running(task, agent_id, attempt, gives_up_at)
        self._store.set_state(task.task_id, TaskState.WORKING, agent_id=agent_id, attempts=attempt)
        self.publish(task.task_id, "started", agent_id)

    def requeue(self, task: Task, why: str, *, after_s: float = 0.0, free: bool = False) -> None:
        """The task waits again; `free` gives the attempt back."""
        self.running.pop(task.task_id, None)
        if free:
            self._attempts[task.task_id] -= 1
        attempts = self._attempts.get(task.task_id, 0)
        self._store.set_state(task.task_id, TaskState.SUBMITTED, attempts=attempts)
        if after_s > 0:
            heapq.heappush(self._delayed, (self._clock() + after_s, next(self._order), task))
        else:
            self._queue.put(task, force=True)
        self.publish(task.task_id, "requeued", None, why)

    def release_due(self) -> None:
        """Queue the delayed tasks whose time has come."""
        while self._delayed and self._delayed[0][0] <= self._clock():
            self._queue.put(heapq.heappop(self._delayed)[2], force=True)

    def finish(self, result: TaskResult) -> None:
        """Record the result, once, and tell whoever waits."""
        task_id = result.task_id
        self.running.pop(task_id, None)
        result.attempts = max(self._attempts.pop(task_id, 0), result.attempts)
        self._store.finish(result, end_state(result))
        text = result.status if not result.error else f"{result.status}: {result.error}"
        self.publish(task_id, "finished", result.agent_id, text)
        if handle := self._handles.pop(task_id, None):
            handle.finish(result)

    def fail(self, task: Task, kind: FailureKind, error: str, agent_id: str = "none") -> None:
        """Finish a task that has no result of its own."""
        self.finish(
            TaskResult(
                task_id=task.task_id,
                agent_id=agent_id,
                status="failed",
                result={},
                error=error,
                failure_kind=kind.value,
                attempts=self._attempts.get(task.task_id, 0),
            )
        )

    def give_up(self, error: str) -> None:
        """Tell every watcher that its task will not end here. The store is left as it is."""
        for task_id, handle in list(self._handles.items()):
            handle.finish(
                TaskResult(
                    task_id=task_id,
                    agent_id="none",
                    status="failed",
                    result={},
                    error=error,
                    failure_kind=FailureKind.INTERNAL.value,
                )
            )
        self._handles.clear()

    def take_waiting(self, task_id: str) -> Task | None:
        """Remove that task from those that wait."""
        for entry in self._delayed:
            if entry[2].task_id == task_id:
                self._delayed.remove(entry)
                heapq.heapify(self._delayed)
                return entry[2]
        return self._queue.remove(task_id)

    def take_all_waiting(self) -> list[Task]:
        """Remove all that wait."""
        tasks = self._queue.drain() + [task for _, _, task in self._delayed]
        self._delayed.clear()
        return tasks

    def keep_for_later(self, task: Task) -> None:
        """Leave the task in the store for the next service."""
        self.running.pop(task.task_id, None)
        attempts = self._attempts.get(task.task_id, 0)
        self._store.set_state(task.task_id, TaskState.SUBMITTED, attempts=attempts)

    def publish(
        self, task_id: str, kind: EventKind, agent_id: str | None = None, text: str = ""
    ) -> None:
        """Record an event of the task and tell its watchers."""
        event = TaskEvent(task_id, kind, self._wall(), agent_id, text)
        self._store.event(task_id, agent_id, event.at, kind, text)
        if handle := self._handles.get(task_id):
            handle.publish(event)

    def _enqueue(self, tasks: list[Task], handles: list[TaskHandle]) -> None:
        self._handles.update({handle.task_id: handle for handle in handles})
        for task in tasks:
            self._queue.put(task, force=True)
            self.publish(task.task_id, "queued")


def end_state(result: TaskResult) -> TaskState:
    """The state in which a task with that result ends."""
    if result.failure_kind == FailureKind.CANCELED:
        return TaskState.CANCELED
    return TaskState.COMPLETED if result.status in ("success", "partial") else TaskState.FAILED
