"""Copies of a task's work in progress: patches against its beginning, few, and bounded in bytes.

    saved/<task>~<number>.patch    "~" is in no task's id

A newer copy takes the place of an older one that it wholly covers: every file that was written in
the older one is written in it, too. Where it does not, something was undone or removed in between,
and both stay. Of too many, those go first whose files are nearly all in the next.
"""

from __future__ import annotations

import itertools
import logging
import re
from typing import IO, TYPE_CHECKING

from .repository.patches import written_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_log = logging.getLogger(__name__)

_MAX_COPIES = 5


def task_of_copy(file: Path) -> str | None:
    """The task whose copy a file is; None when it is none."""
    task_id, tilde, _ = file.stem.rpartition("~")
    return task_id if tilde and file.suffix == ".patch" else None


class SavedCopies:
    """The copies of one task. One process writes them at a time, any may read them.

    Args:
        folder: of all tasks' copies; it is there.
        task_id: whose copies.
        max_bytes: the most that they have together.
    """

    def __init__(self, folder: Path, task_id: str, *, max_bytes: int = 0) -> None:
        self._folder = folder
        self._task_id = task_id
        self._max_bytes = max_bytes
        self._written: dict[Path, frozenset[str]] = {}

    def files(self) -> list[Path]:
        """Those that there are, the newest first."""
        name = re.compile(re.escape(self._task_id) + r"~([0-9]+)\.patch")
        matches = ((name.fullmatch(file.name), file) for file in self._folder.glob("*.patch"))
        found = [(int(match[1]), file) for match, file in matches if match]
        return [file for _, file in sorted(found, reverse=True)]

    def add(self, write: Callable[[IO[bytes]], bool]) -> bool:
        """Have a copy written, and let go of older ones; whether there is a new one.

        Raises:
            OSError: it cannot be written.
        """
        fresh = self._folder / f".{self._task_id}.new"
        try:
            with fresh.open("wb") as file:
                is_new = write(file)
                size_bytes = file.tell()
            if is_new and size_bytes > self._max_bytes:
                _log.warning("a copy of %s has %d bytes and is not kept", self._task_id, size_bytes)
                is_new = False
            if is_new:
                last = next((file for file in self.files()), None)
                number = int(last.stem.rpartition("~")[2]) + 1 if last else 1
                fresh.rename(self._folder / f"{self._task_id}~{number}.patch")
                self._thin()
        finally:
            fresh.unlink(missing_ok=True)
        return is_new

    def remove(self) -> None:
        """Remove them all."""
        for file in self.files():
            file.unlink(missing_ok=True)

    def _thin(self) -> None:
        """Let go of copies, the newest never."""
        files = self.files()
        while len(files) > 1:
            lost = [len(self._in(old) - self._in(new)) for new, old in itertools.pairwise(files)]
            least = min(lost)
            is_much = sum(file.stat().st_size for file in files) > self._max_bytes
            if least > 0 and len(files) <= _MAX_COPIES and not is_much:
                return
            doomed = files[1:][len(lost) - 1 - lost[::-1].index(least)]  # the oldest of them
            doomed.unlink(missing_ok=True)
            files.remove(doomed)

    def _in(self, file: Path) -> frozenset[str]:
        if file not in self._written:
            with file.open("rb") as lines:
                self._written[file] = written_in(lines)
        return self._written[file]
