"""Whether the fleet can still do anything; when it cannot, whoever waits is told, once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .failure import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.supervision import ChildEvent

    from .task_book import TaskBook

_log = logging.getLogger(__name__)


class Hope:
    """Used by the root actor alone, in its thread.

    Args:
        book: its waiting tasks fail when hope is lost, unless there is an `on_hopeless`.
        on_hopeless: told why; tasks that wait then stay where they are.

    Attributes:
        lost: why nothing more can be done here, or None.
    """

    def __init__(self, book: TaskBook, on_hopeless: Callable[[str], None] | None) -> None:
        self._book = book
        self._on_hopeless = on_hopeless
        self.lost: tuple[FailureKind, str] | None = None

    @property
    def problem(self) -> str | None:
        """Why nothing more can be done, in words."""
        return self.lost[1] if self.lost else None

    @property
    def fails_tasks(self) -> bool:
        """Whether tasks end because hope is lost, instead of waiting for another fleet."""
        return self.lost is not None and self._on_hopeless is None

    def lose(self, text: str, event: ChildEvent) -> None:
        """Nothing will work any more since that happened; a later reason changes nothing."""
        if self.lost:
            return
        reason = event.reason
        if reason and reason.detail and reason.detail not in text:
            text = f"{text}: {reason.detail}"
        kind = reason.failure_kind if reason else None
        self.lost = (FailureKind(kind) if kind else FailureKind.CRASH, text)
        if self._on_hopeless is not None:
            self._on_hopeless(text)
            return
        for task in self._book.take_all_waiting():
            self._book.fail(task, *self.lost)

    def lose_store(self, error: Exception) -> None:
        """Nothing can be recorded, so nothing can be promised."""
        _log.error("nothing more is taken: %s", error)
        if not self.lost:
            self._lose_all(f"the orchestrator cannot go on: {error}")

    def lose_root(self, error: BaseException | None) -> None:
        """The root itself has failed."""
        text = f"the orchestrator cannot go on: {error}"
        _log.critical(text, exc_info=error)
        self._lose_all(text)
        self._book.give_up(text)

    def _lose_all(self, text: str) -> None:
        self.lost = (FailureKind.INTERNAL, text)
        if self._on_hopeless is not None:
            self._on_hopeless(text)
        else:
            self._book.give_up(text)
