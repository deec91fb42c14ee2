"""The work in progress, copied at intervals: a task may damage or remove what it has written."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .diffing import SavingStopped
from .saved_copies import SavedCopies
from .untrusted_tree import WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from .workspace import Workspace

_log = logging.getLogger(__name__)

# Saving takes at most a twentieth of the time: after one that took long, the next waits.
_SHARE = 20


@dataclass(frozen=True)
class Saving:
    """How work in progress is saved; see `SavedCopies`.

    Attributes:
        folder: where the copies are.
        every_s: the time between two; 0 is never.
        max_bytes: the most that the copies of one task have together.
    """

    folder: Path
    every_s: float
    max_bytes: int

    def copies(self, task_id: str) -> SavedCopies:
        """Those of a task."""
        return SavedCopies(self.folder, task_id, max_bytes=self.max_bytes)

    def save(
        self, workspace: Workspace, task_id: str, stopped: Callable[[], bool] = lambda: False
    ) -> bool:
        """Copy the work once, if something is new; whether it was. What fails is logged."""
        try:
            return self.copies(task_id).add(lambda file: workspace.save(file, stopped))
        except SavingStopped:
            return False
        except (WorkspaceError, OSError) as error:
            _log.warning("the work of %s in progress is not saved: %s", task_id, error)
            return False

    @contextmanager
    def during(self, workspace: Workspace, task_id: str) -> Generator[None]:
        """Save at intervals, in a thread of its own, as long as this is open."""
        if not self.every_s or not workspace.has_baseline:
            yield
            return
        over = threading.Event()
        thread = threading.Thread(
            target=self._keep_saving, args=(workspace, task_id, over), name="understudy-saving"
        )
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _keep_saving(self, workspace: Workspace, task_id: str, over: threading.Event) -> None:
        wait_s = self.every_s
        while not over.wait(wait_s):
            began = time.monotonic()
            self.save(workspace, task_id, over.is_set)
            took_s = time.monotonic() - began
            wait_s = pause_s(self.every_s, took_s)
            if wait_s > self.every_s:
                text = "saving the work of %s took %.1f s: the next time is in %.0f s"
                _log.warning(text, task_id, took_s, wait_s)


def pause_s(every_s: float, took_s: float) -> float:
    """How long to wait after a copy that took so long."""
    return max(every_s, took_s * (_SHARE - 1))
