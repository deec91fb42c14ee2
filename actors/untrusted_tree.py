"""Filling, reading and emptying a folder whose content is somebody else's, and may be changing.

An agent can put anything in its workspace: links to files of the host, folders nested a thousand
deep, pipes that never end. So no link is ever followed here, each step goes from an open folder to
an entry in it, and everything has a limit.
"""

# ruff: noqa: PTH101, PTH123, PTH208 - pathlib knows no descriptors.
from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from .errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path, PurePosixPath

MAX_DEPTH = 64
MAX_ENTRIES = 200_000

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking: to open a pipe must not wait for a writer.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20
# Somebody who fills the folder while it is emptied does not keep us for ever.
_EMPTYING_LIMIT_S = 60.0


class WorkspaceError(AgentError):
    """A file cannot come into the workspace, or the work cannot be taken out of it.

    Attributes:
        path: the file or folder.
        reason: what is wrong with it.
        mend: what to do about it.
    """

    def __init__(self, path: str, reason: str, mend: str) -> None:
        super().__init__(path, reason, mend)
        self.path = path
        self.reason = reason
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; {self.mend}"


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file or link that was read. For a link, `data` is where it points, and never what is there.

    Attributes:
        path: below the root, with "/" between names.
        mode: as git has it: 100644, 100755 or 120000.
    """

    path: bytes
    mode: str
    data: bytes


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file, or a whole folder, that could not be read, or is over a limit."""

    path: bytes
    why: str


@dataclass(frozen=True, slots=True)
class Known:
    """A file that needs no reading: its content is known to the caller."""

    path: bytes


Item = TreeFile | LeftOut | Known


def read_tree(
    root: Path,
    *,
    max_file_bytes: int,
    max_total_bytes: int,
    knows: Callable[[bytes, os.stat_result], bool] = lambda _path, _status: False,
) -> Iterator[Item]:
    """Every file and link below a folder, but for git's own; pipes and devices are no work.

    `knows` is asked before a file is opened.

    Raises:
        WorkspaceError: it is nested too deeply or has too many entries.
        OSError: the root itself cannot be read.
    """
    descriptor = os.open(root, _FOLDER)
    try:
        reader = _Reader(str(root), max_file_bytes, max_total_bytes, knows)
        yield from reader.walk(descriptor, b"", 0)
    finally:
        os.close(descriptor)


class _Reader:
    """One pass over a tree, with what is left of its limits."""

    def __init__(
        self,
        root: str,
        max_file_bytes: int,
        bytes_left: int,
        knows: Callable[[bytes, os.stat_result], bool],
    ) -> None:
        self._root = root
        self._knows = knows
        self._max_file_bytes = max_file_bytes
        self._bytes_left = bytes_left
        self._entries_left = MAX_ENTRIES

    def walk(self, folder: int, prefix: bytes, depth: int) -> Iterator[Item]:
        """What is in an open folder, sorted, and in those below it."""
        if depth > MAX_DEPTH:
            raise self._too_much(prefix, f"folders are nested more than {MAX_DEPTH} deep")
        for name in sorted(os.listdir(folder), key=os.fsencode):
            path = prefix + os.fsencode(name)
            self._entries_left -= 1
            if self._entries_left < 0:
                raise self._too_much(prefix, f"there are more than {MAX_ENTRIES:,} files")
            if name.lower() == ".git":
                continue
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    yield from self._below(folder, name, path, depth)
                elif stat.S_ISLNK(status.st_mode):
                    target = os.readlink(name, dir_fd=folder)
                    yield TreeFile(path, "120000", os.fsencode(target))
                elif stat.S_ISREG(status.st_mode):
                    is_known = self._knows(path, status)
                    yield Known(path) if is_known else self._file(folder, name, path)
            except FileNotFoundError:
                continue  # removed, or turned into something else, while it was looked at
            except OSError as error:
                yield LeftOut(path, error.strerror or str(error))

    def _below(self, folder: int, name: str, path: bytes, depth: int) -> Iterator[Item]:
        below = os.open(name, _FOLDER, dir_fd=folder)
        try:
            yield from self.walk(below, path + b"/", depth + 1)
        finally:
            os.close(below)

    def _file(self, folder: int, name: str, path: bytes) -> TreeFile | LeftOut:
        limit = min(self._max_file_bytes, self._bytes_left)
        with open(os.open(name, _READ, dir_fd=folder), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return LeftOut(path, "it changed while it was read")
            if status.st_size > limit:
                return LeftOut(path, f"it has {status.st_size:,} bytes")
            data = file.read(limit + 1)
        if len(data) > limit:
            return LeftOut(path, "it grew while it was read")
        self._bytes_left -= len(data)
        return TreeFile(path, "100755" if status.st_mode & 0o100 else "100644", data)

    def _too_much(self, prefix: bytes, reason: str) -> WorkspaceError:
        path = f"{self._root}/{prefix[:200].decode(errors='replace')}"
        return WorkspaceError(path, reason, "have the agent clean up what it made")


def place_file(
    root: Path,
    relative: PurePosixPath,
    source: BinaryIO,
    *,
    mode: int,
    owner: tuple[int, int] | None,
    max_bytes: int,
) -> int:
    """Write a new file below a folder, with the folders on its way; return its size in bytes.

    Raises:
        FileExistsError: it is there, or something that is no folder is in its way.
        ValueError: the source has more than `max_bytes`.
        OSError: it cannot be written.
    """
    with contextlib.ExitStack() as opened:
        folder = os.open(root, _FOLDER)
        opened.callback(os.close, folder)
        for name in relative.parts[:-1]:
            folder = _enter(folder, name, owner)
            opened.callback(os.close, folder)
        target = opened.enter_context(
            open(os.open(relative.name, _CREATE, mode, dir_fd=folder), "wb")
        )
        size_bytes = 0
        while chunk := source.read(_CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > max_bytes:
                raise ValueError(size_bytes)
            target.write(chunk)
        # Past the umask: what could be run must stay so, and belong to the one who works with it.
        os.fchmod(target.fileno(), mode)
        if owner is not None:
            os.fchown(target.fileno(), *owner)
        return size_bytes


def _enter(folder: int, name: str, owner: tuple[int, int] | None) -> int:
    """The folder of that name in an open one, made if it is not there."""
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    except FileExistsError:
        return os.open(name, _FOLDER, dir_fd=folder)
    below = os.open(name, _FOLDER, dir_fd=folder)
    if owner is not None:
        os.fchown(below, *owner)
    return below


def empty_folder(root: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Remove everything below a folder, however deeply nested, but not the folder itself.

    Raises:
        OSError: something cannot be removed, or comes faster than it is removed.
    """
    ends = clock() + _EMPTYING_LIMIT_S
    # Nobody can guess these names, and so have something in the way.
    fresh_names = (f".removed-{secrets.token_hex(16)}" for _ in itertools.count())
    folder = os.open(root, _FOLDER)
    try:
        while names := os.listdir(folder):
            for name in names:
                _remove(folder, name, fresh_names)
            if clock() > ends:
                raise OSError(errno.ENOTEMPTY, "it is filled while it is emptied", str(root))
    finally:
        os.close(folder)


def _remove(root: int, name: str, fresh_names: Iterator[str]) -> None:
    """Remove an entry of the root; folders in it move up first, which needs no recursion."""
    with contextlib.suppress(FileNotFoundError):
        if not _is_folder(root, name):
            os.unlink(name, dir_fd=root)
            return
        folder = _open_writable(root, name)
        try:
            for below in os.listdir(folder):
                if not _is_folder(folder, below):
                    os.unlink(below, dir_fd=folder)
                    continue
                # Only a folder that may be written can change its parent.
                os.close(_open_writable(folder, below))
                os.rename(below, next(fresh_names), src_dir_fd=folder, dst_dir_fd=root)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=root)


def _is_folder(parent: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _open_writable(parent: int, name: str) -> int:
    """Open a folder whose owner may have taken every right away, from himself too."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if stat.S_IMODE(os.fstat(handle).st_mode) & 0o700 != 0o700:  # noqa: PLR2004 - rwx
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
        return os.open(".", _FOLDER, dir_fd=handle)
    finally:
        os.close(handle)
