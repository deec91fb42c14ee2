"""Which tasks were given away by which. Pure bookkeeping, for one thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..tasks.task import Task


@dataclass(slots=True)
class _Family:
    given: int = 0
    unfinished: set[str] = field(default_factory=set[str])


class Families:
    """All that was given away below tasks which are not finished.

    A family is a task that a user gave, with everything that was given away below it.
    """

    def __init__(self) -> None:
        self._children: dict[str, set[str]] = {}
        self._head: dict[str, str] = {}
        self._families: dict[str, _Family] = {}

    def add(self, child: Task, above: list[Task]) -> None:
        """That task was given away; `above` are its parent, the parent's parent, and so on."""
        giver, head = above[0].task_id, above[-1].task_id
        family = self._families.setdefault(head, _Family())
        family.given += 1
        # Those further above may be finished: only one that works gives something away.
        for task_id in (child.task_id, giver):
            family.unfinished.add(task_id)
            self._head[task_id] = head
        self._children.setdefault(giver, set()).add(child.task_id)

    def remember(self, task: Task, head: str, given: int) -> None:
        """That task is not finished, and an earlier service gave away so many in its family."""
        family = self._families.setdefault(head, _Family())
        family.given = max(family.given, given)
        family.unfinished.add(task.task_id)
        self._head[task.task_id] = head

    def given(self, head: str) -> int:
        """How many tasks were given away in the family of that task, which a user gave."""
        family = self._families.get(head)
        return family.given if family else 0

    def children(self, task_id: str) -> list[str]:
        """What was given away in that task and is not finished."""
        return sorted(self._children.get(task_id, ()))

    def ended(self, task_id: str) -> None:
        """That task is finished; a family is forgotten with its last one."""
        head = self._head.pop(task_id, None)
        if head is None:
            return
        self._children.pop(task_id, None)
        for children in self._children.values():
            children.discard(task_id)
        family = self._families[head]
        family.unfinished.discard(task_id)
        if not family.unfinished:
            del self._families[head]
