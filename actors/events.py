"""What a task's watchers are told: the same from the API, the store and the service."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

EventKind = Literal["queued", "started", "progress", "requeued", "finished"]


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One thing that happened to a task. `at` is in seconds since the epoch."""

    task_id: str
    kind: EventKind
    at: float
    agent_id: str | None = None
    text: str = ""

    def to_wire(self) -> dict[str, Any]:
        """The event as plain data."""
        return asdict(self)

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> TaskEvent:
        """The event that `to_wire` wrote."""
        return cls(**{key: data.get(key) for key in cls.__dataclass_fields__})  # type: ignore[arg-type]
