"""What the task store hands out. Times are seconds since the epoch."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .task import Task, TaskState


class DuplicateTask(AgentError):
    """The id of a task is taken; nothing of what came with it was stored."""

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        return f"task id {self.task_id!r} is taken; leave task_id out to get a fresh one"


class Outcome(StrEnum):
    """How an attempt ended that brought no result; one that did ends with the result's word."""

    FELL = "fell"
    """The agent died."""
    SERVICE_DIED = "service_died"
    """The whole service died."""
    PARKED = "parked"
    """The service stopped in good order while the task ran."""
    RETRIED = "retried"
    """The API was at fault; the task waits and tries again."""
    RECALLED = "recalled"
    """Its agent was restarted or suspended by request while the task ran."""
    REFUSED = "refused"
    """The agent did not take it; nothing ran."""

    @property
    def is_death(self) -> bool:
        """Whether it counts towards poison."""
        return self in (Outcome.FELL, Outcome.SERVICE_DIED)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to record a task's result: one incarnation of one agent has it at a time."""

    agent_id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """Where a task is worked on, from its first attempt to its end.

    Attributes:
        session_id: the CLI's id of the conversation.
        place: the name of the folder that holds its home and its workspace.
    """

    session_id: str
    place: str

    @classmethod
    def new(cls) -> Conversation:
        """One that nobody has begun. The CLI takes UUIDs only."""
        name = str(uuid.uuid4())
        return cls(name, name)

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> Conversation | None:
        """The one that a message names, or None when it names none."""
        match payload:
            case {"session_id": str(session_id), "place": str(place)}:
                return cls(session_id, place)
            case _:
                return None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A stored task and where it stands.

    Attributes:
        attempts: how often it was given to an agent, without what did not count.
        deaths: how often it was in flight when its agent or the service died.
        quarantined: whether it ended as poison, and was not put back.
        may_have_run: whether an agent ever had it and was cut off, or failed for a while.
    """

    task: Task
    state: TaskState
    run_id: str
    agent_id: str | None
    attempts: int
    submitted_at: float
    updated_at: float
    deaths: int = 0
    quarantined: bool = False
    may_have_run: bool = False

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.task.task_id


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """One time that a task was with an agent; without an end it is the task's lease."""

    attempt: int
    agent_id: str
    incarnation: int
    started_at: float
    ended_at: float | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class StoredIncarnation:
    """One life of a supervised process."""

    run_id: str
    agent_id: str
    incarnation: int
    started_at: float
    ended_at: float | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One thing that happened; `seq` grows with each."""

    seq: int
    task_id: str | None
    agent_id: str | None
    at: float
    kind: str
    text: str
