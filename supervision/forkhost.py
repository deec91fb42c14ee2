"""The fork server's own program: a small process with one thread that only forks and reaps.

Started by `forkserver.py`, which holds the other end of its link. Not imported by the package: the
interpreter runs it.

It is not `multiprocessing`'s fork server because that one imports the user's `__main__` into every
child, which costs each child the command line's imports, and keeps the children's exit statuses and
pidfds to itself.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

import msgpack

from .child import run_child
from .control import EXIT_CRASH
from .ladder import ORPHAN_GRACE_S
from .passing import receive_fd

_REQUEST_BYTES = 4096
_LAST_NET_S = ORPHAN_GRACE_S + 0.5


def main() -> None:
    """Serve the link whose descriptor is `sys.argv[2]`, until its other end is closed.

    `sys.argv[3]` is a JSON list of modules to import first, so that children find them in memory.
    """
    _reset_signals()
    # Objects must not move to other pages by a collection that a child then pays for.
    gc.disable()
    link = socket.socket(fileno=int(sys.argv[2]))
    problem = _preload(json.loads(sys.argv[3]))
    with contextlib.suppress(ConnectionError):
        link.send(_pack("broken", problem) if problem else _pack("hello", os.getpid()))
    if not problem:
        gc.collect()
        gc.freeze()
        Host(link).serve()


def _reset_signals() -> None:
    """Whatever the parent does with signals: here and in the children they work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _preload(modules: list[str]) -> str | None:
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - an import can raise anything
            traceback.print_exc()
            return f"preloading {module} failed: {type(error).__name__}: {error}"
        threads = len(list(Path("/proc/self/task").iterdir()))
        if threads > 1:
            # Locks that another thread holds at a fork stay locked in the child for ever.
            return f"preloading {module} starts {threads - 1} thread(s); only one may be here"
    return None


class Host:
    """Forks children on request, passes their pidfds up, reports how they ended."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._children: dict[int, tuple[int, int]] = {}
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)

    def serve(self) -> None:
        """Work until the parent is gone; then see that no child is left."""
        while True:
            for fd, _ in self._poll.poll():
                if fd != self._link.fileno():
                    self._reap(fd)
                elif not self._take_request():
                    self._outlast_children()
                    return

    def _take_request(self) -> bool:
        try:
            data, fds = receive_fd(self._link, _REQUEST_BYTES)
        except ConnectionError:
            return False
        if not data:
            return False
        serial = int(msgpack.unpackb(data))
        try:
            self._fork(serial, fds)
        except OSError as error:
            self._send(_pack("failed", serial, str(error)))
        return True

    def _fork(self, serial: int, fds: list[int]) -> None:
        if not fds:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        with socket.socket(fileno=fds[0]) as control:
            pid = os.fork()
            if pid == 0:
                self._be_child(control)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self._children[pidfd] = (serial, pid)
        self._poll.register(pidfd, select.POLLIN)
        with contextlib.suppress(ConnectionError):
            socket.send_fds(self._link, [_pack("spawned", serial, pid)], [pidfd])

    def _be_child(self, control: socket.socket) -> NoReturn:
        code = EXIT_CRASH
        try:
            self._link.close()
            for pidfd in self._children:
                os.close(pidfd)
            code = run_child(control)
        except BaseException:  # noqa: BLE001 - a child must never return into the server's loop
            traceback.print_exc()
        finally:
            os._exit(code)

    def _reap(self, pidfd: int) -> None:
        serial, pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        # Until it is reaped its number is nobody else's: now its group can be killed safely.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        self._send(_pack("exit", serial, status))

    def _send(self, message: bytes) -> None:
        # A parent that is gone is noticed at the next poll.
        with contextlib.suppress(OSError):
            self._link.send(message)

    def _outlast_children(self) -> None:
        """Children see the end of their parent themselves; those that cannot, hung, are killed."""
        self._poll.unregister(self._link)
        ends = time.monotonic() + _LAST_NET_S
        while self._children and (left_s := ends - time.monotonic()) > 0:
            for fd, _ in self._poll.poll(left_s * 1000):
                self._reap(fd)
        for pidfd in list(self._children):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            self._reap(pidfd)


def _pack(*words: str | int) -> bytes:
    return msgpack.packb(words)
