"""Where things are kept: the XDG base directories, and what is used where they are not set."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UnsafeDirectory

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = "understudy"
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_dir(env: Mapping[str, str]) -> Path:
    """What can be made again: downloads, base images. Not created here."""
    return _base(env, "XDG_CACHE_HOME", ".cache") / _NAME


def state_dir(env: Mapping[str, str]) -> Path:
    """What must last: tasks, transcripts, logs. Not created here."""
    return _base(env, "XDG_STATE_HOME", ".local/state") / _NAME


def run_root(env: Mapping[str, str]) -> Path:
    """The folder for sockets, created with mode 0700 when missing.

    Raises:
        UnsafeDirectory: it is a link, no folder, another user's, or others may write to it. Whoever
            can write there could put a socket of his own in the place of ours.
    """
    runtime = env.get("XDG_RUNTIME_DIR", "")
    uid = os.geteuid()
    path = Path(runtime) / _NAME if _is_usable(runtime) else Path(f"/tmp/{_NAME}-{uid}")  # noqa: S108 - checked below
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_unsafe(path, uid)
    return path


def _base(env: Mapping[str, str], variable: str, below_home: str) -> Path:
    # The XDG specification: a relative path in these variables is invalid and must be ignored.
    given = env.get(variable, "")
    if given.startswith("/"):
        return Path(given)
    home = env.get("HOME", "")
    return (Path(home) if home.startswith("/") else Path.home()) / below_home


def _is_usable(runtime: str) -> bool:
    # After `su` the variable often still names the other user's folder.
    return runtime.startswith("/") and os.access(runtime, os.W_OK | os.X_OK)


def _refuse_unsafe(path: Path, uid: int) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeDirectory(str(path), "is not a folder")
    if found.st_uid != uid:
        raise UnsafeDirectory(str(path), f"belongs to user {found.st_uid}, not {uid}")
    if found.st_mode & _OTHERS_MAY_WRITE:
        raise UnsafeDirectory(str(path), f"has mode {stat.S_IMODE(found.st_mode):04o}, not 0700")
