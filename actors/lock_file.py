"""A lock file: see `transport/path_lock.py` for what may happen to it."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from understudy.transport.path_lock import is_at

if TYPE_CHECKING:
    from pathlib import Path

# Each miss means that somebody else had the lock and is through with it.
_ATTEMPTS = 100


def try_lock(path: Path, flags: int = 0, *, waits: bool = False) -> tuple[int, bool]:
    """Open the file, made when missing, and lock it; the descriptor, and whether it is locked.

    The caller closes the descriptor in either case; what this process starts does not inherit it.
    A file that was removed each time that it was tried is somebody else's: not locked.

    Args:
        path: in a folder that is there.
        flags: of open(2), beside the usual ones.
        waits: for as long as somebody else has it.

    Raises:
        OSError: the file cannot be opened.
    """
    attempts_left = _ATTEMPTS
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
            attempts_left -= 1
            is_locked = is_at(fd, path)
        except BlockingIOError:
            return fd, False
        except BaseException:
            os.close(fd)
            raise
        if is_locked or not attempts_left:
            return fd, is_locked
        os.close(fd)
