"""The life of each accepted task: waiting, running, waiting again, finished; always on disk too.

Used by the root actor alone, in its thread.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

from .events import EventKind, TaskEvent
from .failure import POLICIES, FailureKind
from .running import Running
from .tasks.recovery import poison_text
from .tasks.rows import Conversation, Lease, Outcome
from .tasks.task import Task, TaskResult, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from .handle import TaskHandle
    from .tasks.inbox import StoredMessage
    from .tasks.queue import TaskQueue
    from .tasks.rows import TaskRow
    from .tasks.store import TaskStore

_log = logging.getLogger(__name__)


class TaskBook:
    """Queue, store and watchers kept in step. `clock` is monotonic, `wall` is the time of day.

    `on_failed` is called when a task has failed whose work, if there is any, has no branch.

    Attributes:
        on_end: told each result, once the task is over in queue and store.
    """

    def __init__(
        self,
        queue: TaskQueue,
        store: TaskStore,
        run_id: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        on_failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue = queue
        self._store = store
        self._run_id = run_id
        self._clock = clock
        self.wall = wall
        self._on_failed = on_failed
        self._attempts: dict[str, int] = {}
        self._cut_off: set[str] = set()
        self._short_of_memory: set[str] = set()
        self._delayed: list[tuple[float, int, Task]] = []
        self._order = itertools.count()
        self._handles: dict[str, TaskHandle] = {}
        self.running: dict[str, Running] = {}
        self.on_end: Callable[[TaskResult], None] = lambda _: None

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

    def recover(
        self,
        tasks: list[tuple[Task, int]],
        handles: list[TaskHandle],
        *,
        may_have_run: Iterable[str] = (),
    ) -> None:
        """Queue what an earlier service had accepted; the number is its attempts so far.

        `may_have_run` are the ids of those that an agent was given before.
        """
        self._attempts.update({task.task_id: attempts for task, attempts in tasks})
        self._cut_off.update(may_have_run)
        self._enqueue([task for task, _ in tasks], handles)

    def replay(self, task_id: str, handle: TaskHandle) -> bool:
        """Queue a task that is in quarantine; False when it is not.

        Raises:
            QueueFull: there is no room for it.
        """
        self._queue.check_room()
        if not self._store.replay(task_id):
            return False
        task = self._store.task(task_id)
        assert task is not None, "the store put it back"
        self._cut_off.add(task_id)
        self._enqueue([task], [handle])
        return True

    def take(
        self, idle: Mapping[str, str | None], parked: Collection[str] = ()
    ) -> tuple[Task, str] | None:
        """The task that is next, and the idle agent it is best given to."""
        return self._queue.take(idle, parked)

    def wanted(self, agent_ids: Collection[str]) -> set[str]:
        """Those of the agents that take a task that waits, also one that waits for a new try."""
        return self._queue.wanted(agent_ids, later=(task for _, _, task in self._delayed))

    def attempt_of(self, task: Task) -> int:
        """The number of the task's next attempt, from 1."""
        return self._attempts.get(task.task_id, 0) + 1

    def may_have_run(self, task: Task) -> bool:
        """Whether an agent was given the task before and did not answer."""
        return task.task_id in self._cut_off

    def deaths_of(self, task: Task) -> int:
        """How often the task was in flight at a death."""
        row = self._store.row(task.task_id) if self.may_have_run(task) else None
        return row.deaths if row else 0

    def conversation_of(self, task: Task) -> Conversation | None:
        """Where the task was worked on last, or None when it never was."""
        return self._store.conversation_of(task.task_id) if self.may_have_run(task) else None

    def row(self, task_id: str) -> TaskRow | None:
        """That task and where it stands, or None."""
        return self._store.row(task_id)

    def result(self, task_id: str) -> TaskResult | None:
        """What came of that task, or None."""
        return self._store.result(task_id)

    def move(self, task_id: str, lease: Lease, session_id: str) -> None:
        """Its holder works on it in another conversation now, in the same place."""
        if not self._store.move(task_id, lease, session_id):
            _log.warning("%s does not hold %s, and moves it nowhere", lease.agent_id, task_id)

    def given_below(self, heads: Collection[str]) -> Counter[str]:
        """How many tasks were given away below each of these, finished ones included."""
        head_of = {head: head for head in heads}
        for task in self._store.tasks_since(heads):
            if task.parent in head_of:
                head_of[task.task_id] = head_of[task.parent]
        return Counter(head for task_id, head in head_of.items() if task_id != head)

    def ancestors(self, task: Task) -> list[Task]:
        """The task in which an agent gave this one away, the one above that, and so on."""
        above: list[Task] = []
        while task.parent is not None and (parent := self._store.task(task.parent)):
            above.append(parent)
            task = parent
        return above

    def leave_message(
        self, to: str, sender: str, task_id: str, text: str, *, at_most: int
    ) -> int | None:
        """Keep a message until it is read; None when `at_most` wait for that agent."""
        return self._store.inbox.put(self._run_id, to, sender, task_id, text, at_most)

    def take_messages(self, agent_id: str, limit: int) -> list[StoredMessage]:
        """The oldest messages for that agent; they are kept no more."""
        return self._store.inbox.take(self._run_id, agent_id, limit)

    def start(
        self,
        task: Task,
        agent_id: str,
        *,
        gives_up_at: float,
        incarnation: int = 0,
        conversation: Conversation | None = None,
    ) -> bool:
        """The task is that agent's now. Call it before the agent is told: then no run is forgotten.

        `conversation` is where it works, from now on to its end.

        Returns:
            False when the task is over already: whoever waits is told, and it must not run.
        """
        attempt = self.attempt_of(task)
        lease = Lease(agent_id, incarnation)
        if not self._store.start(task.task_id, lease, attempt, conversation):
            self._tell_end(task.task_id, self._store.result(task.task_id))
            return False
        self._attempts[task.task_id] = attempt
        number = next(self._order)
        self.running[task.task_id] = Running(
            task,
            agent_id,
            attempt,
            gives_up_at,
            number,
            has_more_memory=self.needs_more_memory(task),
        )
        self.publish(task.task_id, "started", agent_id)
        return True

    def needs_more_memory(self, task: Task) -> bool:
        """Whether the task ran out of memory before."""
        return task.task_id in self._short_of_memory

    def requeue(
        self,
        task: Task,
        why: str,
        *,
        after_s: float = 0.0,
        free: bool = False,
        outcome: Outcome = Outcome.RETRIED,
    ) -> None:
        """The task waits again; `free` gives the attempt back."""
        self._end_attempt(task, outcome, free=free)
        self._wait_again(task, why, after_s)

    def fell(self, running: Running, why: str, max_deaths: int, kind: str | None = None) -> bool:
        """The agent fell while it worked on the task; at the `max_deaths`-th death it is poison.

        Out of memory it gets more of it next time, once.

        Returns:
            Whether the task waits again.
        """
        task = running.task
        deaths = self._end_attempt(task, Outcome.FELL)
        if kind == FailureKind.OOM:
            self._short_of_memory.add(task.task_id)
        if kind == FailureKind.OOM and running.has_more_memory:
            text = f"{why}; again with more of it ({POLICIES[FailureKind.OOM].mend})"
            self.fail(task, FailureKind.OOM, text, running.agent_id)
            return False
        if deaths >= max_deaths:
            self.fail(task, FailureKind.POISON, poison_text(deaths, why), running.agent_id)
            return False
        self._wait_again(task, f"{running.agent_id} fell ({why}); the task runs again")
        return True

    def release_due(self) -> None:
        """Queue the delayed tasks whose time has come."""
        while self._delayed and self._delayed[0][0] <= self._clock():
            self._queue.put(heapq.heappop(self._delayed)[2], force=True)

    def finish(self, result: TaskResult, lease: Lease | None = None) -> bool:
        """Record the result, once, and tell whoever waits.

        With `lease`, only if that incarnation holds the task.

        Returns:
            Whether it was recorded.
        """
        task_id = result.task_id
        result.attempts = max(self._attempts.get(task_id, 0), result.attempts)
        recorded = self._store.finish(result, end_state(result), lease=lease)
        if recorded:
            text = result.status if not result.error else f"{result.status}: {result.error}"
            self.publish(task_id, "finished", result.agent_id, text)
            if result.failure_kind and result.branch is None:
                self._on_failed()
        self._tell_end(task_id, result if recorded else self._store.result(task_id))
        return recorded

    def fail(self, task: Task, kind: FailureKind, error: str, agent_id: str = "none") -> None:
        """Finish a task that has no result of its own."""
        self.finish(
            TaskResult(
                task_id=task.task_id,
                agent_id=agent_id,
                status="timeout" if kind is FailureKind.TIMEOUT else "failed",
                result={},
                error=error,
                failure_kind=kind.value,
                attempts=self._attempts.get(task.task_id, 0),
            )
        )

    def give_up(self, error: str) -> None:
        """Tell whoever waits that the store is lost. What it has of their tasks stays as it is."""
        for task_id, handle in self._handles.items():
            kind = FailureKind.INTERNAL.value
            handle.finish(TaskResult(task_id, "none", "failed", {}, error, failure_kind=kind))
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
        if task.task_id in self.running:
            self._end_attempt(task, Outcome.PARKED)

    def mark(self, task_id: str, state: TaskState, agent_id: str, text: str) -> None:
        """A running task waits for somebody's word, or goes on."""
        if self._store.set_state(task_id, state, agent_id=agent_id):
            self.publish(task_id, "progress", agent_id, text)

    def publish(
        self, task_id: str, kind: EventKind, agent_id: str | None = None, text: str = ""
    ) -> None:
        """Record an event of the task and tell its watchers."""
        event = TaskEvent(task_id, kind, self.wall(), agent_id, text)
        self._store.event(task_id, agent_id, event.at, kind, text)
        if handle := self._handles.get(task_id):
            handle.publish(event)

    def _enqueue(self, tasks: list[Task], handles: list[TaskHandle]) -> None:
        self._handles.update({handle.task_id: handle for handle in handles})
        now = self.wall()
        self._store.events_of_many([task.task_id for task in tasks], now, "queued")
        for task in tasks:
            self._queue.put(task, force=True)
            if handle := self._handles.get(task.task_id):
                handle.publish(TaskEvent(task.task_id, "queued", now))

    def _end_attempt(self, task: Task, outcome: Outcome, *, free: bool = False) -> int:
        """Take the task from its agent; how often it was in flight at a death."""
        task_id = task.task_id
        attempts = max(0, self._attempts.get(task_id, 0) - free)
        deaths = self._store.end_attempt(task_id, outcome, attempts)
        self._attempts[task_id] = attempts
        self.running.pop(task_id, None)
        if outcome is not Outcome.REFUSED:
            self._cut_off.add(task_id)
        return deaths

    def _wait_again(self, task: Task, why: str, after_s: float = 0.0) -> None:
        if after_s > 0:
            heapq.heappush(self._delayed, (self._clock() + after_s, next(self._order), task))
        else:
            self._queue.put(task, force=True)
        self.publish(task.task_id, "requeued", None, why)

    def _tell_end(self, task_id: str, result: TaskResult | None) -> None:
        """Give the result, if there is one, to whoever waits; the task is forgotten here."""
        if result is None:
            return
        self.running.pop(task_id, None)
        self._attempts.pop(task_id, None)
        self._cut_off.discard(task_id)
        self._short_of_memory.discard(task_id)
        if handle := self._handles.pop(task_id, None):
            handle.finish(result)
        self.on_end(result)


def end_state(result: TaskResult) -> TaskState:
    """The state in which a task with that result ends."""
    if result.failure_kind == FailureKind.CANCELED:
        return TaskState.CANCELED
    return TaskState.COMPLETED if result.status in ("success", "partial") else TaskState.FAILED
