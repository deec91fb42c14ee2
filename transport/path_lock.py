"""A lock that hangs on a path which others may remove: whoever has it has what is at that path.

Between open and `flock` the holder before may have removed it, and somebody made and locked a new
one. Then there are two locks of one name, each free for the other's holder to ignore.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def lock_opened(fd: int, path: Path) -> int | None:
    """Lock what was opened, at once or not at all.

    Returns:
        The descriptor when it is locked, and still what is at that path. Else None, and it is
        closed.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = is_at(fd, path)
    except BlockingIOError:
        is_ours = False
    except BaseException:
        os.close(fd)
        raise
    if not is_ours:
        os.close(fd)
    return fd if is_ours else None


def is_at(fd: int, path: Path) -> bool:
    """Whether the file or folder at that path is the one that is open."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))
