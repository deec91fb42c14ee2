"""A Unix socket at a path: made safely, owned by one living service, gone when that is."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import SocketInUse, SocketPathTooLong, SocketPathUnusable, UntrustedPeer
from .path_lock import lock_opened

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

MAX_PATH_BYTES = 107
"""sun_path has 108 bytes (unix(7)), the last one for the terminating zero."""

_BACKLOG = 128
_LOCK_WAIT_S = 5.0
_LOCK_POLL_S = 0.01
_UCRED = struct.Struct("iII")


@dataclass(frozen=True)
class PeerCredentials:
    """Who was at the other end when the connection was made, as the kernel says."""

    pid: int
    uid: int
    gid: int

    @classmethod
    def of(cls, sock: socket.socket) -> PeerCredentials:
        """The credentials of a connected Unix socket's other end (SO_PEERCRED, unix(7))."""
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return cls(*_UCRED.unpack(raw))

    def check(self, own_uid: int) -> None:
        """Trust the same user and root, nobody else.

        Raises:
            UntrustedPeer: it is another user.
        """
        if self.uid not in (own_uid, 0):
            raise UntrustedPeer(self.pid, self.uid, own_uid)


def check_path_length(path: str) -> None:
    """See that a path fits into a socket address.

    Raises:
        SocketPathTooLong: it does not.
        SocketPathUnusable: it has a NUL, which ends a path.
    """
    if "\0" in path:
        raise SocketPathUnusable(repr(path), "a path has no NUL in it")
    length = len(os.fsencode(path))
    if length > MAX_PATH_BYTES:
        raise SocketPathTooLong(path, length, MAX_PATH_BYTES)


class Listener:
    """A listening socket with mode 0600, in a folder that is made with mode 0700 when missing.

    What a dead service left at the path is replaced; a living service's socket, and anything
    that is no socket, is left alone.

    Args:
        path: of the socket.

    Raises:
        SocketPathTooLong: the path is over 107 bytes.
        SocketInUse: a living service listens there.
        SocketPathUnusable: the folder cannot be made or written, or something else is at the path.
    """

    def __init__(self, path: str) -> None:
        check_path_length(path)
        self.path = path
        folder = Path(path).parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _only_one_at_a_time(folder, path):
                _clear_stale(path)
                self._sock = _bind(path)
                self._identity = _identity(path)
        except OSError as error:
            raise SocketPathUnusable(path, error.strerror or str(error)) from error

    def fileno(self) -> int:
        """The listening descriptor; -1 once closed."""
        return self._sock.fileno()

    def accept(self) -> socket.socket:
        """The next connection.

        Raises:
            BlockingIOError: nobody waits.
            OSError: as accept(2), for example no descriptors are left.
        """
        return self._sock.accept()[0]

    def close(self) -> None:
        """Stop listening, and remove the path if it is still this socket's. Safe to call again."""
        if self._sock.fileno() < 0:
            return
        with contextlib.suppress(FileNotFoundError):
            if _identity(self.path) == self._identity:
                Path(self.path).unlink()
        self._sock.close()


@contextlib.contextmanager
def _only_one_at_a_time(
    folder: Path, path: str, clock: Callable[[], float] = time.monotonic
) -> Generator[None]:
    """Hold the folder's lock.

    Else two services that start at once both find the stale socket, and the second removes the
    fresh one of the first.
    """
    until_s = clock() + _LOCK_WAIT_S
    while (fd := _try_lock(folder)) is None:
        if clock() >= until_s:
            reason = f"another process holds the lock of the folder {folder}"
            raise SocketPathUnusable(path, reason)
        time.sleep(_LOCK_POLL_S)
    try:
        yield
    finally:
        os.close(fd)


def _try_lock(folder: Path) -> int | None:
    return lock_opened(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), folder)


def _clear_stale(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketPathUnusable(path, "something that is not a socket is there")
    if _is_live(path):
        raise SocketInUse(path)
    Path(path).unlink(missing_ok=True)


def _is_live(path: str) -> bool:
    """Whether somebody listens there: only a refused connection proves that nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.0)
        return probe.connect_ex(path) not in (errno.ECONNREFUSED, errno.ENOENT)


def _bind(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(0.0)
        # bind(2) gives the path the socket's own mode: no moment in which others can connect, and
        # no umask, which all threads share.
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(path)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino
