"""A submitted task as its submitter holds it: wait, watch, cancel."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from .tasks.task import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .events import TaskEvent
    from .tasks.task import TaskResult


class TaskHandle:
    """Usable from any thread, by any number of waiters and watchers."""

    def __init__(self, task_id: str, cancel: Callable[[str], bool]) -> None:
        self.task_id = task_id
        self._cancel = cancel
        self._changed = threading.Condition()
        self._result: TaskResult | None = None
        self._events: list[TaskEvent] = []
        self._watchers: list[Callable[[TaskEvent | None], object]] = []

    def wait(self, timeout_s: float | None = None) -> TaskResult:
        """The task's result, once there is one.

        Raises:
            TimeoutError: there was none within `timeout_s`; the task goes on.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._result is not None, timeout_s):
                message = f"task {self.task_id} has no result after {timeout_s:g} s; it goes on"
                raise TimeoutError(message)
            assert self._result is not None
            return self._result

    def done(self) -> bool:
        """Whether there is a result."""
        return self._result is not None

    def cancel(self) -> bool:
        """Ask for the task to end; False when it is over already. Its result says `canceled`."""
        return False if self.done() else self._cancel(self.task_id)

    @property
    def state(self) -> TaskState:
        """Where the task stands, as its events tell."""
        if self._result is not None:
            if self._result.failure_kind == TaskState.CANCELED:
                return TaskState.CANCELED
            good = self._result.status in ("success", "partial")
            return TaskState.COMPLETED if good else TaskState.FAILED
        kinds = [event.kind for event in self._events if event.kind != "progress"]
        return TaskState.WORKING if kinds[-1:] == ["started"] else TaskState.SUBMITTED

    def events(self, timeout_s: float | None = None) -> Iterator[TaskEvent]:
        """All events of the task from its first, as they come, until it is finished.

        Raises:
            TimeoutError: the task was not finished within `timeout_s`.
        """
        mailbox: queue.SimpleQueue[TaskEvent | None] = queue.SimpleQueue()
        self.subscribe(mailbox.put)
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = None if ends is None else max(0.0, ends - time.monotonic())
            try:
                event_or_end = mailbox.get(timeout=left_s)
            except queue.Empty:
                message = f"task {self.task_id} was not finished after {timeout_s} s; it goes on"
                raise TimeoutError(message) from None
            if event_or_end is None:
                return
            yield event_or_end

    def subscribe(self, watcher: Callable[[TaskEvent | None], object]) -> None:
        """Call `watcher` with each event from the first on, and with None when all is told.

        It is called in the orchestrator's thread and must return at once.
        """
        with self._changed:
            for event in self._events:
                watcher(event)
            if self._result is not None:
                watcher(None)
            else:
                self._watchers.append(watcher)

    def publish(self, event: TaskEvent) -> None:
        """Tell the watchers. For the orchestrator."""
        with self._changed:
            self._events.append(event)
            for watcher in self._watchers:
                watcher(event)

    def finish(self, result: TaskResult) -> None:
        """Give the result to all who wait; the first one counts. For the orchestrator."""
        with self._changed:
            if self._result is not None:
                return
            self._result = result
            for watcher in self._watchers:
                watcher(None)
            self._watchers.clear()
            self._changed.notify_all()
