"""Taking over a descriptor that another process sent."""

from __future__ import annotations

import array
import socket

_INT_BYTES = array.array("i").itemsize


def receive_fd(link: socket.socket, size_bytes: int, flags: int = 0) -> tuple[bytes, list[int]]:
    """One message of at most `size_bytes`, and the descriptor that came with it, if any.

    No program that this process executes inherits it. (`socket.recv_fds` of Python 3.11 takes
    flags, but passes them on to nobody: its descriptors are inherited, and it always waits.)

    Raises:
        BlockingIOError: nothing is there, with MSG_DONTWAIT in `flags`.
        ConnectionError: the other side is gone.
    """
    data, ancillary, _, _ = link.recvmsg(
        size_bytes, socket.CMSG_LEN(_INT_BYTES), flags | socket.MSG_CMSG_CLOEXEC
    )
    fds = array.array("i")
    for level, kind, found in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(found[: len(found) - len(found) % _INT_BYTES])
    return data, fds.tolist()
