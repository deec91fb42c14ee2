"""A restart under way: which children still have to stop, and which to start then. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass
class Plan:
    """Stops first, one by one; then, not before `due`, starts, each after the one before is ready.

    Args:
        stops: in the order in which they are stopped: the reverse of the start order.
        starts: in start order.
        due: monotonic seconds.
        is_first: these are the supervisor's first starts.
    """

    stops: list[str] = field(default_factory=list[str])
    starts: list[str] = field(default_factory=list[str])
    due: float = 0.0
    is_first: bool = False

    def drop(self, child_ids: Iterable[str]) -> None:
        """Leave these to somebody else."""
        gone = set(child_ids)
        self.stops = [child_id for child_id in self.stops if child_id not in gone]
        self.starts = [child_id for child_id in self.starts if child_id not in gone]

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return not self.stops and not self.starts
