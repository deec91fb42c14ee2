"""One fork server process, as seen from the process that started it."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from .errors import ForkServerBroken, SpawnFailed
from .passing import receive_fd

if TYPE_CHECKING:
    from collections.abc import Callable

    from .reactor import Reactor

_log = logging.getLogger(__name__)

_ANSWER_BYTES = 64 << 10
_KILL_TIMEOUT_S = 5.0


@dataclass
class _Answer:
    """What the process said to a request for a child."""

    pid: int = 0
    pidfd: int = -1
    problem: str = ""
    is_here: bool = False


class HostLink:
    """Asks for children and hears how they end. The answers are read in the reactor's thread.

    Args:
        process: the fork server's process; owned from now on.
        link: our end of the socket to it; owned from now on.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], link: socket.socket, reactor: Reactor
    ) -> None:
        self._process = process
        self._link = link
        self._reactor = reactor
        self._changed = threading.Condition()
        self._has_hello = False
        self._is_lost = False
        self._is_stuck = False
        self._problem = ""
        self._answers: dict[int, _Answer] = {}
        self._watchers: dict[int, Callable[[int | None], None]] = {}
        reactor.call_soon(lambda: reactor.add_reader(link.fileno(), self._read))

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_lost(self) -> bool:
        """Whether the process is gone."""
        return self._is_lost

    @property
    def is_useless(self) -> bool:
        """Whether it is gone or did not answer in time: another one is needed."""
        return self._is_lost or self._is_stuck

    def await_hello(self, timeout_s: float) -> None:
        """Return when it has imported what it must.

        Raises:
            ForkServerBroken: it cannot.
            SpawnFailed: it was ended, or was not ready in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._has_hello or self._is_lost, timeout_s)
            if self._problem:
                raise ForkServerBroken(self._problem)
            if self._is_lost:
                raise SpawnFailed("the fork server", f"its process {self.pid} ended")
            if not self._has_hello:
                self._is_stuck = True
                raise SpawnFailed("the fork server", f"not ready within {timeout_s:g} s")

    def fork(
        self,
        serial: int,
        control: socket.socket,
        on_status: Callable[[int | None], None],
        timeout_s: float,
    ) -> tuple[int, int]:
        """Have a child forked that gets `control`; its process id and a pidfd for it.

        Raises:
            SpawnFailed: it could not be, or there was no answer in time.
        """
        answer = _Answer()
        with self._changed:
            if self._is_lost:
                raise SpawnFailed("a child", f"the fork server's process {self.pid} ended")
            self._answers[serial] = answer
            self._watchers[serial] = on_status
        try:
            socket.send_fds(self._link, [msgpack.packb(serial)], [control.fileno()])
            with self._changed:
                self._changed.wait_for(lambda: answer.is_here, timeout_s)
        except OSError as error:
            answer.problem = f"the fork server does not listen: {error}"
        with self._changed:
            self._answers.pop(serial, None)
            if answer.pid:
                return answer.pid, answer.pidfd
            self._watchers.pop(serial, None)
            self._is_stuck = not answer.is_here
        raise SpawnFailed("a child", answer.problem or f"no answer within {timeout_s:g} s")

    def end(self, timeout_s: float) -> None:
        """End the process, which ends the children that are left; returns when it is gone.

        Not in the reactor's thread. After `timeout_s` the process is killed.
        """
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _log.warning("the fork server's process %d does not end; it is killed", self.pid)
            self._process.kill()
            self._process.wait(_KILL_TIMEOUT_S)
        with self._changed:
            self._changed.wait_for(lambda: self._is_lost, _KILL_TIMEOUT_S)

    # -- in the reactor's thread --------------------------------------------------------------

    def _read(self) -> None:
        try:
            data, fds = receive_fd(self._link, _ANSWER_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            data, fds = b"", []
        if not data:
            self._lose()
            return
        words: list[Any] = msgpack.unpackb(data)
        self._take(words, fds)

    def _take(self, words: list[Any], fds: list[int]) -> None:
        match words:
            case ["hello", int()]:
                self._note(has_hello=True)
            case ["broken", str(problem)]:
                self._note(problem=problem)
            case ["spawned", int(serial), int(pid)] if fds:
                self._answer(serial, _Answer(pid=pid, pidfd=fds[0], is_here=True))
            case ["spawned", int(serial), int(pid)]:
                # Without its control socket, which is closed now, that child ends itself.
                problem = f"no descriptor is left for process {pid}"
                self._answer(serial, _Answer(problem=problem, is_here=True))
            case ["failed", int(serial), str(problem)]:
                self._answer(serial, _Answer(problem=problem, is_here=True))
            case ["exit", int(serial), int(status)]:
                watcher = self._watchers.pop(serial, None)
                if watcher is not None:
                    watcher(status)
            case _:
                _log.error("the fork server said something unknown: %r", words)

    def _note(self, *, has_hello: bool = False, problem: str = "") -> None:
        with self._changed:
            self._has_hello = has_hello
            self._problem = problem
            self._changed.notify_all()

    def _answer(self, serial: int, said: _Answer) -> None:
        with self._changed:
            answer = self._answers.get(serial)
            if answer is None:
                # Nobody waits any more. Its control socket is closed, so that child ends itself.
                if said.pidfd >= 0:
                    os.close(said.pidfd)
                return
            answer.pid, answer.pidfd, answer.problem = said.pid, said.pidfd, said.problem
            answer.is_here = True
            self._changed.notify_all()

    def _lose(self) -> None:
        self._reactor.remove_reader(self._link.fileno())
        self._link.close()
        # It closed the link by ending; this waits for what is left of that, and cannot wait long.
        self._process.kill()
        returncode = self._process.wait(_KILL_TIMEOUT_S)
        with self._changed:
            if not self._has_hello and not self._problem and returncode > 0:
                self._problem = f"it ended with exit code {returncode} while it started"
            self._is_lost = True
            for answer in self._answers.values():
                answer.problem = f"the fork server's process {self.pid} ended"
                answer.is_here = True
            watchers, self._watchers = list(self._watchers.values()), {}
            self._changed.notify_all()
        for watcher in watchers:
            watcher(None)
