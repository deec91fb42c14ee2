"""When a task tries again whose agent is well: the API was at fault, not the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .failure import POLICIES, FailureKind
from .team.giving import TeamLimits

if TYPE_CHECKING:
    from .running import Running
    from .settings import Settings

_TEAM = TeamLimits()
# What a request that the API does not want now ends as, by the CLI's release and the moment.
_REFUSED_FOR_NOW = (FailureKind.RATE_LIMITED, FailureKind.OVERLOADED, FailureKind.API_DOWN)


@dataclass(frozen=True)
class RootLimits:
    """The root's own limits, from the settings."""

    max_running: int
    max_attempts: int
    retry_wait_min_s: float
    retry_wait_max_s: float
    team: TeamLimits = _TEAM
    park_after_s: float | None = None

    @classmethod
    def of(cls, settings: Settings) -> RootLimits:
        """The limits that the settings name."""
        return cls(
            max_running=settings.orchestrator.max_workers,
            max_attempts=settings.supervision.max_attempts,
            retry_wait_min_s=settings.supervision.backoff_min,
            retry_wait_max_s=settings.supervision.backoff_max,
            team=TeamLimits.of(settings),
            park_after_s=settings.agent.park_after,
        )


class Retries:
    """How often each task tried again. It may do so for as long as the task itself may take.

    Time for which the API asks is none of the task's, however long that is: only its deadline ends
    a task that waits for it.
    """

    def __init__(self, limits: RootLimits) -> None:
        self._limits = limits
        self._tries: dict[str, int] = {}

    def wait_s(self, running: Running, kind: FailureKind, pause_s: float = 0.0) -> float | None:
        """How long the task waits before its next try after that failure; None: it ends with it.

        `pause_s` is for how long the API wants no request.
        """
        policy, task, limits = POLICIES[kind], running.task, self._limits
        if not policy.requeue:
            return None
        if pause_s > 0 and kind in _REFUSED_FOR_NOW:
            return max(pause_s, limits.retry_wait_min_s)
        tries = self._tries[task.task_id] = self._tries.get(task.task_id, 0) + 1
        if policy.uses_attempt and running.attempt >= limits.max_attempts:
            return None
        return wait_before(tries, limits, task.timeout)

    def forget(self, task_id: str) -> None:
        """The task is over."""
        self._tries.pop(task_id, None)


def wait_before(tries: int, limits: RootLimits, timeout_s: float) -> float | None:
    """The seconds that a task waits before its `tries`-th new try; None: it has none.

    `timeout_s` is how long the task itself may take.
    """
    wait_s = min(limits.retry_wait_max_s, limits.retry_wait_min_s * 2.0 ** min(tries - 1, 60))
    return None if tries * wait_s > timeout_s else wait_s


def tries_within(limits: RootLimits, timeout_s: float) -> int:
    """How many new tries a task of that timeout has at most, while the API fails."""
    tries = 0
    while wait_before(tries + 1, limits, timeout_s) is not None:
        tries += 1
    return tries
