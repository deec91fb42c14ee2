"""A listening Unix socket that another user's container may connect to."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

from understudy.transport.errors import SocketInUse, SocketPathTooLong, SocketPathUnusable

# sun_path has 108 bytes (unix(7)), the last one for the terminating zero.
_MAX_PATH_BYTES = 107
_PROBE_TIMEOUT_S = 1.0
BACKLOG = 128


class UnixListener:
    """A socket at a path, open to every user who can reach its folder.

    The mode is 0666 because a container's user is not ours; the folder above keeps others out.
    A missing folder is made, what a dead server left is replaced.

    Raises:
        SocketPathTooLong: the path is over 107 bytes.
        SocketInUse: a living server listens there.
        SocketPathUnusable: the folder cannot be used, or something else is at the path.
    """

    def __init__(self, path: str) -> None:
        length = len(os.fsencode(path))
        if length > _MAX_PATH_BYTES:
            raise SocketPathTooLong(path, length, _MAX_PATH_BYTES)
        self.path = path
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            _clear_stale(path)
            self.sock, self._inode = _bind(path)
        except OSError as error:
            raise SocketPathUnusable(path, error.strerror or str(error)) from error

    def close(self) -> None:
        """Remove the path and close the socket. Safe to call again.

        A server that accepts on the socket must have stopped: see `unlink`.
        """
        self.unlink()
        self.sock.close()

    def unlink(self) -> None:
        """Remove the path, if it is still this socket's: nobody new finds the way in."""
        with contextlib.suppress(OSError):
            if Path(self.path).lstat().st_ino == self._inode:
                Path(self.path).unlink()


def _bind(path: str) -> tuple[socket.socket, int]:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        # Before listen: whoever can connect at all may connect.
        Path(path).chmod(0o666)
        sock.listen(BACKLOG)
        sock.settimeout(0)
        return sock, Path(path).lstat().st_ino
    except OSError:
        sock.close()
        raise


def _clear_stale(path: str) -> None:
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketPathUnusable(path, "something that is no socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            Path(path).unlink(missing_ok=True)
            return
    raise SocketInUse(path)
