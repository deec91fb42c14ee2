"""The fork server: where children come from. This is the side of the process that wants children.

Children are never forked from this process, which has threads, but from a small process that was
started afresh, has one thread, and has imported beforehand what children need (`forkhost.py`).
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from .errors import ForkServerClosed, SpawnFailed
from .hostlink import HostLink
from .ladder import ORPHAN_GRACE_S
from .reactor import Reactor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_log = logging.getLogger(__name__)

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from understudy.supervision.forkhost import main; main()"
)
_SPAWN_TIMEOUT_S = 10.0
_STDERR_FD = 2
_CLOSE_TIMEOUT_S = ORPHAN_GRACE_S + 3.0
# Longer than the last rung of the stop ladder, after which a child counts as gone in any case.
_BURIAL_S = 7.0
# A random value of this variable tells the processes of one fork server from all others.
_MARK_VARIABLE = "_UNDERSTUDY_FORKED_BY"


@dataclass(frozen=True)
class Spawned:
    """A new child process. Whoever gets it owns the two descriptors.

    It is made known to the fork server by `adopt`, and its end by `bury`.

    Args:
        pid: its process id, for people; to signal it, use the pidfd.
        pidfd: readable once it has ended.
        control: our end of its control socket.
    """

    pid: int
    pidfd: int
    control: socket.socket


class ForkServer:
    """Makes child processes, quickly, with what they need already imported.

    One for each root of supervisors. `start` once; then `spawn` from any thread; `close` at the
    end, after the children. When the fork server's process dies, its children live on and the next
    spawn starts another.

    Args:
        preload: modules that every child needs; they must not start threads when imported.
        env: the children's environment; None: that of this process, as it is at `start`.
        start_timeout_s: how long the first import may take.

    Attributes:
        mark: an entry, `NAME=value`, in the environment of all its processes and of what they
            start. By it they are found when this process is gone and they cannot end by themselves.
    """

    def __init__(
        self,
        preload: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        *,
        start_timeout_s: float = 30.0,
    ) -> None:
        self._preload = tuple(preload)
        self._env = None if env is None else dict(env)
        self._start_timeout_s = start_timeout_s
        self.mark = f"{_MARK_VARIABLE}={uuid.uuid4().hex}"
        self._lock = threading.Lock()
        self._serials = itertools.count(1)
        self._reactor: Reactor | None = None
        self._living = 0
        self._killers: set[Callable[[], None]] = set()
        self._buried = threading.Condition()
        self._host: HostLink | None = None

    def start(self) -> None:
        """Start the fork server's process and return at once; the first spawn waits for it.

        Raises:
            SpawnFailed: no process can be started.
        """
        with self._lock:
            if self._reactor is None:
                self._reactor = Reactor()
                self._reactor.start()
                self._host = self._start_host(self._reactor)

    def spawn(self, child_id: str, on_status: Callable[[int | None], None]) -> Spawned:
        """Make a child process; it waits for its `start` record on the control socket.

        Blocks for milliseconds; the first one until everything is imported.

        Args:
            child_id: for error messages.
            on_status: called once in the reactor's thread after the child has ended, with its wait
                status, or None when the fork server's process died before it could tell.

        Raises:
            SpawnFailed: it did not work this time.
            ForkServerBroken: it cannot work; a preloaded module is missing, for instance.
            ForkServerClosed: before `start` or after `close`.
        """
        with self._lock:
            host = self._living_host()
            try:
                ours, theirs = socket.socketpair()
            except OSError as error:
                raise SpawnFailed(child_id, str(error)) from error
            try:
                host.await_hello(self._start_timeout_s)
                pid, pidfd = host.fork(next(self._serials), theirs, on_status, _SPAWN_TIMEOUT_S)
            except SpawnFailed as error:
                ours.close()
                if host.is_useless:
                    self._host = None
                    host.end(timeout_s=0)
                raise SpawnFailed(child_id, error.why) from None
            except BaseException:
                ours.close()
                raise
            finally:
                theirs.close()
            with self._buried:
                self._living += 1
            return Spawned(pid, pidfd, ours)

    def adopt(self, kill: Callable[[], None]) -> None:
        """Have a spawned child killed when this is closed. In the reactor's thread."""
        self._killers.add(kill)
        if not self.is_open:
            kill()

    def bury(self, kill: Callable[[], None]) -> None:
        """That child is gone; to be told of each that was spawned. In the reactor's thread."""
        self._killers.discard(kill)
        with self._buried:
            self._living -= 1
            self._buried.notify_all()

    def close(self) -> None:
        """End the fork server and its thread; children that are left are killed. Idempotent.

        Returns when all of them are gone. Not in the reactor's thread.
        """
        with self._lock:
            host, self._host = self._host, None
            reactor, self._reactor = self._reactor, None
        if reactor is not None:
            reactor.call_soon(self._kill_all)
            with self._buried:
                self._buried.wait_for(lambda: self._living == 0, _BURIAL_S)
        if host is not None:
            host.end(_CLOSE_TIMEOUT_S)
        if reactor is not None:
            reactor.close()

    def kill_children(self) -> bool:
        """Kill every process that was spawned here and lives; whether this is open.

        Returns at once. What is spawned later is not affected. From any thread.
        """
        reactor = self._reactor
        if reactor is None:
            return False
        reactor.call_soon(self._kill_all)
        return True

    @property
    def is_open(self) -> bool:
        """Whether it was started and not closed."""
        return self._reactor is not None

    @property
    def pid(self) -> int | None:
        """The process id of the fork server while there is one."""
        host = self._host
        return host.pid if host is not None and not host.is_lost else None

    @property
    def reactor(self) -> Reactor:
        """The thread that everything about the children runs in.

        Raises:
            ForkServerClosed: before `start` or after `close`.
        """
        reactor = self._reactor
        if reactor is None:
            raise ForkServerClosed
        return reactor

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _kill_all(self) -> None:
        for kill in list(self._killers):
            kill()

    def _living_host(self) -> HostLink:
        if self._host is not None and self._host.is_lost:
            _log.warning("the fork server's process %d is gone; starting another", self._host.pid)
            self._host = None
        if self._host is None:
            self._host = self._start_host(self.reactor)
        return self._host

    def _start_host(self, reactor: Reactor) -> HostLink:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise SpawnFailed("the fork server", str(error)) from error
        with theirs:
            try:
                process = self._run_host(theirs.fileno())
            except OSError as error:
                ours.close()
                raise SpawnFailed("the fork server", str(error)) from error
        return HostLink(process, ours, reactor)

    def _run_host(self, link_fd: int) -> subprocess.Popen[bytes]:
        path = [str(entry) for entry in sys.path]
        name, _, value = self.mark.partition("=")
        env = {**(os.environ if self._env is None else self._env), name: value}
        return subprocess.Popen(
            [
                *(sys.executable, "-u", "-c", _BOOT),
                *(json.dumps(path), str(link_fd), json.dumps(self._preload)),
            ],
            stdin=subprocess.DEVNULL,
            # What a child prints must not end up among a command's results.
            stdout=_STDERR_FD,
            env=env,
            pass_fds=(link_fd,),
            # A terminal's Ctrl-C is for the parent alone: it ends its children in order.
            start_new_session=True,
        )
