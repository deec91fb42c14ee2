"""Which task is next, and which idle agent gets it: priority with ageing, in O(log n)."""

from __future__ import annotations

import heapq
import itertools
import time
from typing import TYPE_CHECKING

from ..errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from ..team.roles import Roles
    from .task import Task

    _Entry = tuple[float, int, Task]

# Below this many, dead entries are not worth a rebuild.
_MIN_REBUILD = 64
_ONLY_LANE = ""


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
        roles: who takes which tasks; None: every agent takes every task.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        ageing_s: float = 60.0,
        max_size: int | None = None,
        roles: Roles | None = None,
    ) -> None:
        self._roles = roles
        self._clock = clock
        self._ageing_s = ageing_s
        self._max_size = max_size
        self._serials = itertools.count()
        # A heap for each group of agents that takes the same tasks.
        self._lanes: dict[str, list[_Entry]] = {}
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
        lane = self._lane(task)
        heapq.heappush(self._lanes.setdefault(lane, []), entry)
        self._forget_dead()

    def take(
        self, idle: Mapping[str, str | None], parked: Collection[str] = ()
    ) -> tuple[Task, str] | None:
        """Remove the task of the highest rank; it comes with the idle agent that suits it best.

        Args:
            idle: idle agents, and the task type that each is warm for; None is warm for nothing.
            parked: those of them that stay so for as long as others can do the work.

        Returns:
            The task, and of the agents that take it one that is warm for its type, else one that
            is warm for nothing (nothing is thrown away), else the first, else a parked one. None
            when there is no task that one of the agents takes.
        """
        if not idle or not self._live:
            return None
        takers = self._takers(idle)
        lane = min((lane for lane in takers if self._top(lane)), key=self._rank, default=None)
        if lane is None:
            return None
        task = self._pop(lane)
        key = self._roles.type_of(task).key if self._roles else task.task_type
        return task, _best_agent(key, {agent: idle[agent] for agent in takers[lane]}, parked)

    def wanted(self, agent_ids: Collection[str], later: Iterable[Task] = ()) -> set[str]:
        """Those of the agents that take one of the tasks that wait here, or will: `later`."""
        lanes = {lane for lane in self._lanes if self._top(lane)} | {self._lane(t) for t in later}
        takers = self._takers(agent_ids)
        return {agent_id for lane in lanes for agent_id in takers.get(lane, ())}

    def remove(self, task_id: str) -> Task | None:
        """Take that task out and return it; None when it does not wait here."""
        entry = self._live.pop(task_id, None)
        self._forget_dead()
        return entry[2] if entry else None

    def drain(self) -> list[Task]:
        """Take all tasks out, the one of the highest rank first."""
        entries = sorted(self._live.values())
        self._live.clear()
        self._lanes.clear()
        return [entry[2] for entry in entries]

    def _lane(self, task: Task) -> str:
        return self._roles.lane(task) if self._roles else _ONLY_LANE

    def _takers(self, idle: Collection[str]) -> dict[str, list[str]]:
        """The idle agents by the lanes they take from."""
        if self._roles is None:
            return {_ONLY_LANE: list(idle)}
        takers: dict[str, list[str]] = {}
        for agent_id in idle:
            for lane in self._roles.lanes(agent_id):
                takers.setdefault(lane, []).append(agent_id)
        return takers

    def _top(self, lane: str) -> bool:
        """Whether a task waits in the lane; it is on top then."""
        heap = self._lanes.get(lane)
        while heap and self._live.get(heap[0][2].task_id) is not heap[0]:
            heapq.heappop(heap)
        return bool(heap)

    def _rank(self, lane: str) -> tuple[float, int]:
        key, serial, _ = self._lanes[lane][0]
        return key, serial

    def _pop(self, lane: str) -> Task:
        task = heapq.heappop(self._lanes[lane])[2]
        del self._live[task.task_id]
        return task

    def _forget_dead(self) -> None:
        # A heap gives no way to take from its middle: the removed stay in it until they are many.
        if sum(map(len, self._lanes.values())) > 2 * len(self._live) + _MIN_REBUILD:
            for lane, heap in self._lanes.items():
                kept = [entry for entry in heap if self._live.get(entry[2].task_id) is entry]
                heapq.heapify(kept)
                self._lanes[lane] = kept


def _best_agent(task_type: str, idle: Mapping[str, str | None], parked: Collection[str]) -> str:
    def distance(agent_id: str) -> int:
        if agent_id in parked:
            return 3
        warm_for = idle[agent_id]
        if warm_for == task_type:
            return 0
        return 1 if warm_for is None else 2

    return min(idle, key=distance)
