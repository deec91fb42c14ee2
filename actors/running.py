"""A task that an agent holds: since when, until when, and as what it ends when it is ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .failure import FailureKind
from .pauses import Pauses

if TYPE_CHECKING:
    from .tasks.task import Task


@dataclass(slots=True)
class Running:
    """A task that an agent holds, until its answer or the agent's end.

    `number` tells this run from every other one, also of the same attempt. `recalled` says why it
    is taken from the agent to wait again. `gives_up_at` is when its agent is ended if it has not
    answered; `pauses` put that off. `is_overdue`: it is ended because of its deadline.
    `has_more_memory`: an earlier run ran out of it.
    """

    task: Task
    agent_id: str
    attempt: int
    gives_up_at: float
    number: int = 0
    canceled: bool = False
    recalled: str | None = None
    is_overdue: bool = False
    has_more_memory: bool = False
    pauses: Pauses = field(default_factory=Pauses)

    @property
    def ends_early(self) -> bool:
        """Whether its agent was told to end it."""
        return self.canceled or self.recalled is not None

    @property
    def ended_as(self) -> tuple[FailureKind, str]:
        """As what it ends when it was canceled."""
        if self.is_overdue:
            return past_deadline("while it ran")
        return FailureKind.CANCELED, "canceled while it ran"

    def left_s(self, now: float) -> float:
        """How long its agent has to answer."""
        return self.gives_up_at + self.pauses.total_s(now) - now

    def must_end_in(self, seconds: float, now: float) -> None:
        """From now on nothing puts its end off."""
        self.pauses, self.gives_up_at = Pauses(), now + seconds


def past_deadline(when: str) -> tuple[FailureKind, str]:
    """How a task ends whose deadline has passed."""
    return FailureKind.TIMEOUT, f"its deadline passed {when}"
