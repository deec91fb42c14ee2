"""Which task is next, and which idle agent gets it: priority with ageing, in O(log n)."""

from __future__ import annotations

import heapq
import itertools
import time
from typing import TYPE_CHECKING

from ..errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .task import Task

    _Entry = tuple[float, int, Task]

# Below this many, dead entries are not worth a rebuild.
_MIN_REBUILD = 64


class QueueFull(AgentError):
    """There is no room for the tasks; none of them was taken.

    Attributes:
        max_size: how many may wait.
        waiting: how many do.
        wanted: how many more were to come.
    """

    def __init__(self, max_size: int, waiting: int, wanted: int) -> None:
        super().__init__(max_size, waiting, wanted)
        self.max_size = max_size
        self.waiting = waiting
        self.wanted = wanted

    def __str__(self) -> str:
        return (
            f"the task queue is full: {self.waiting} of {self.max_size} places are taken and"
            f" {self.wanted} more were wanted; submit later, or raise task_queue.max_size"
        )


class TaskQueue:
    """Tasks that wait. Used by one thread, its owner's.

    A task's rank is its priority plus one for each `ageing_s` seconds it has waited; of equals, the
    one that came first is first. `put`, `take` and `remove` take O(log n) on average.

    Args:
        clock: seconds, monotonic.
        ageing_s: seconds of waiting that weigh as much as one step of priority.
        max_size: how many may wait; None is without limit.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        ageing_s: float = 60.0,
        max_size: int | None = None,
    ) -> None:
        self._clock = clock
        self._ageing_s = ageing_s
        self._max_size = max_size
        self._serials = itertools.count()
        self._heap: list[_Entry] = []
        self._live: dict[str, _Entry] = {}

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._live

    def check_room(self, wanted: int = 1) -> None:
        """Make sure that so many more tasks may be put.

        Raises:
            QueueFull: they may not.
        """
        if self._max_size is not None and len(self) + wanted > self._max_size:
            raise QueueFull(self._max_size, len(self), wanted)

    def put(self, task: Task, *, force: bool = False) -> None:
        """Let the task wait from now on; one that waits already starts again at the end.

        `force` is for tasks that were accepted before: they are never turned away.

        Raises:
            QueueFull: there is no room, and `force` is not set.
        """
        if not force:
            self.check_room()
        # All ranks grow at the same pace, so their order is fixed when a task comes: no re-sorting.
        key = self._clock() / self._ageing_s - task.priority
        entry = (key, next(self._serials), task)
        self._live[task.task_id] = entry
        heapq.heappush(self._heap, entry)
        self._forget_dead()

    def take(self, idle: Mapping[str, str | None]) -> tuple[Task, str] | None:
        """Remove the task of the highest rank; it comes with the idle agent that suits it best.

        Args:
            idle: idle agents, and the task type that each is warm for; None is warm for nothing.

        Returns:
            The task, and an agent that is warm for its type, else one that is warm for nothing
            (nothing is thrown away), else the first. None without tasks or agents.
        """
        if not idle or not self._live:
            return None
        task = self._pop()
        return task, _best_agent(task.task_type, idle)

    def remove(self, task_id: str) -> Task | None:
        """Take that task out and return it; None when it does not wait here."""
        entry = self._live.pop(task_id, None)
        self._forget_dead()
        return entry[2] if entry else None

    def drain(self) -> list[Task]:
        """Take all tasks out, the one of the highest rank first."""
        return [self._pop() for _ in range(len(self))]

    def _pop(self) -> Task:
        while True:
            entry = heapq.heappop(self._heap)
            task = entry[2]
            if self._live.get(task.task_id) is entry:
                del self._live[task.task_id]
                return task

    def _forget_dead(self) -> None:
        # A heap gives no way to take from its middle: the removed stay in it until they are many.
        if len(self._heap) > 2 * len(self._live) + _MIN_REBUILD:
            self._heap = list(self._live.values())
            heapq.heapify(self._heap)


def _best_agent(task_type: str, idle: Mapping[str, str | None]) -> str:
    def distance(agent_id: str) -> int:
        warm_for = idle[agent_id]
        if warm_for == task_type:
            return 0
        return 1 if warm_for is None else 2

    return min(idle, key=distance)
