"""The long-running service: a fleet, its control socket, and an orderly end on a signal."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
from typing import TYPE_CHECKING, Any, Self

from understudy.actors.errors import AgentError, MachineNotReady
from understudy.actors.lock_file import try_lock
from understudy.control import ControlServer
from understudy.orchestrator import Orchestrator, base_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

_log = logging.getLogger(__name__)


class ServiceRunning(AgentError):
    """Another service uses the same state folder."""

    def __init__(self, path: str, pid: str) -> None:
        super().__init__(path, pid)
        self.path = path
        self.pid = pid

    def __str__(self) -> str:
        return (
            f"another service (process {self.pid}) uses {self.path}; "
            "stop it with `understudy stop`, or set storage.state_dir to another folder"
        )


def serve(orchestrator: Orchestrator, env: Mapping[str, str], ready: Callable[[str], None]) -> None:
    """Run the service until SIGTERM, SIGINT or `understudy stop`.

    Then it takes nothing more, gives running tasks `supervision.shutdown_timeout` seconds, parks
    the others for the next service, and ends what it started, the last first. A signal meanwhile
    makes it fast: nothing is waited for, what runs is parked, what is left is killed.

    Args:
        orchestrator: not started yet, made with `keeps_tasks=True`.
        env: the environment, which names the user's folders.
        ready: called with the control socket's path when requests are answered.

    Raises:
        ServiceRunning, SocketInUse: it could not start.
        MachineNotReady: it could not start, or no agent is left and none will come.
    """
    settings = orchestrator.config.settings
    state = base_of(settings, env).state_dir
    signals: queue.SimpleQueue[str | MachineNotReady] = queue.SimpleQueue()
    orchestrator.on_hopeless = lambda why: signals.put(
        MachineNotReady(why, "mend it and start the service again; its tasks are kept")
    )
    with only_service(state), _Signals(signals, orchestrator.hurry) as heard:
        control = ControlServer(
            settings.communication.socket_path, orchestrator, lambda: signals.put("stop")
        )
        try:
            orchestrator.start()
            control.start()
            ready(settings.communication.socket_path)
            reason = signals.get()
            heard.stopping = True
            _log.info("stopping on %s", reason)
            control.close()
            _log.info("the control socket is closed; nothing more is taken")
            orchestrator.stop(grace_s=settings.supervision.shutdown_timeout)
            if isinstance(reason, MachineNotReady):
                raise reason
        finally:
            control.close()
            orchestrator.stop()
            _log.info("stopped")


@contextlib.contextmanager
def only_service(state: Path) -> Generator[None]:
    """Hold the service's lock, with our process id in it for whoever is refused."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = state / "service.lock"
    fd, is_locked = try_lock(path, os.O_APPEND)
    with os.fdopen(fd, "a+", encoding="ascii") as file:
        if not is_locked:
            file.seek(0)
            raise ServiceRunning(str(state), file.read().strip() or "unknown")
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.truncate(0)


class _Signals:
    """Queues the first SIGTERM or SIGINT, and calls `hurry` on every one after it.

    Attributes:
        stopping: the service stops, for whatever reason: every signal hurries.
    """

    def __init__(
        self, signals: queue.SimpleQueue[str | MachineNotReady], hurry: Callable[[], None]
    ) -> None:
        self._signals = signals
        self._hurry = hurry
        self._before: dict[signal.Signals, Any] = {}
        self.stopping = False

    def __enter__(self) -> Self:
        both = (signal.SIGTERM, signal.SIGINT)
        self._before = {number: signal.signal(number, self._handle) for number in both}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: object) -> None:
        if self.stopping:
            self._hurry()
        else:
            self.stopping = True
            self._signals.put(signal.Signals(number).name)
