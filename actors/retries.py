"""When a task tries again whose agent is well: the API was at fault, not the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .failure import POLICIES

if TYPE_CHECKING:
    from .failure import FailureKind
    from .task_book import Running


@dataclass(frozen=True)
class RootLimits:
    """The root's own limits, from the settings."""

    max_running: int
    max_attempts: int
    retry_wait_min_s: float
    retry_wait_max_s: float


class Retries:
    """How often each task tried again. It may do so for as long as the task itself may take."""

    def __init__(self, limits: RootLimits) -> None:
        self._limits = limits
        self._tries: dict[str, int] = {}

    def wait_s(self, running: Running, kind: FailureKind) -> float | None:
        """How long the task waits before its next try after that failure; None: it ends with it."""
        policy, task, limits = POLICIES[kind], running.task, self._limits
        if not policy.requeue:
            return None
        tries = self._tries[task.task_id] = self._tries.get(task.task_id, 0) + 1
        wait_s = min(limits.retry_wait_max_s, limits.retry_wait_min_s * 2.0 ** (tries - 1))
        if policy.uses_attempt and running.attempt >= limits.max_attempts:
            return None
        return None if tries * wait_s > task.timeout else wait_s

    def forget(self, task_id: str) -> None:
        """The task is over."""
        self._tries.pop(task_id, None)
