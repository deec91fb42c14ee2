"""A system's folder in the temporary directory, gone at the latest when the next one is made."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from understudy.transport.path_lock import lock_opened

PREFIX = "us-"
LOCK_NAME = "root.lock"
"""Only a folder with this file in it is one of ours."""

# Each miss means that somebody swept the folder between its making and its lock.
_ATTEMPTS = 100


class OwnFolder:
    """A new folder, of this user alone, that is locked while this object is open.

    A root that was killed leaves its folder. The kernel unlocks it; the next that is made removes
    it.

    Args:
        parent: where it is made; None: the temporary directory.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, parent: str | None = None) -> None:
        where = parent or tempfile.gettempdir()
        sweep(where)
        self.path, self._fd = _make(where)

    def remove(self) -> None:
        """Remove it and what is in it. Safe to call again."""
        if self._fd < 0:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._fd)
        self._fd = -1


def sweep(parent: str) -> None:
    """Remove the folders that dead roots of this user left there."""
    for folder in Path(parent).glob(f"{PREFIX}*"):
        # Others remove and make things here, too.
        with contextlib.suppress(OSError):
            _remove_if_dead(folder)


def _make(parent: str) -> tuple[str, int]:
    for _ in range(_ATTEMPTS):
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
        fd = _try_lock(Path(folder, LOCK_NAME), os.O_CREAT | os.O_EXCL)
        if fd is not None:
            return folder, fd
    raise FileExistsError(f"somebody removes each folder that is made in {parent}")


def _remove_if_dead(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return
    fd = _try_lock(folder / LOCK_NAME, 0)
    if fd is None:
        return
    try:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(fd)


def _try_lock(path: Path, flags: int) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    except FileNotFoundError:
        return None
    return lock_opened(fd, path)
