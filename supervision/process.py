"""One child in a process of its own: started, watched, ended."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from understudy.transport.errors import TransportError

from .budget import is_amount
from .control import READ_BYTES, ControlReader, pack
from .exits import Ending, explain_exit
from .ladder import Rung, Step, stop_ladder
from .liveness import Liveness
from .patience import Clocks, Patience

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .events import ExitKind, ExitReason
    from .forkserver import ForkServer, Spawned
    from .reactor import Timer
    from .spec import ChildSpec

_log = logging.getLogger(__name__)

_SEND_START_S = 5.0
# A child that hangs gets this long to write its stacks, after SIGABRT.
_DUMP_S = 1.0
# The status comes from another process and may come after the pidfd says it is over.
_STATUS_S = 1.0


class Process:
    """One incarnation of a child. `start` it once; it ends by itself or by `stop` or `kill`.

    After `start`, all happens in the reactor's thread of the fork server: so do the callbacks,
    which must not block. Every other method may be called from any thread.

    Args:
        spec: the child.
        incarnation: which start of it this is.
        forks: where its process comes from; open until the child has ended.
        on_ready: called once with what the child gave to `ready()`.
        on_spent: called with each amount that it says it has spent.
        on_spared: called when it was late and so were we, with how many seconds we stood still and
            what it is waited for: it was given a fresh interval.
        on_exit: called once, as the last thing, with why it ended.

    Raises:
        ForkServerClosed: `forks` is not open.
    """

    def __init__(
        self,
        spec: ChildSpec,
        incarnation: int,
        forks: ForkServer,
        *,
        on_ready: Callable[[dict[str, Any]], None],
        on_exit: Callable[[ExitReason], None],
        on_spent: Callable[[float], None] | None = None,
        on_spared: Callable[[float, str], None] | None = None,
    ) -> None:
        self.id = spec.id
        self.incarnation = incarnation
        self.pid: int | None = None
        self._spec = spec
        self._forks = forks
        self._reactor = forks.reactor
        self._pidfd = -1
        self._control: socket.socket | None = None
        self._on_ready = on_ready
        self._on_exit = on_exit
        self._on_spent = on_spent
        self._on_spared = on_spared
        self._ending = Ending()
        self._reader = ControlReader()
        self._is_ready = False
        self._is_dead = False
        self._has_status = False
        self._steps: list[Step] = []
        self._liveness: Liveness | None = None
        self._timers: dict[str, Timer] = {}
        self._gone = threading.Event()
        self._reason: ExitReason | None = None

    def start(self) -> None:
        """Start the process; blocks for milliseconds, or until the fork server is ready.

        Raises:
            SpawnFailed: this time it did not work.
            ForkServerBroken, ForkServerClosed: it cannot work.
        """
        spawned = self._forks.spawn(self.id, self._take_status)
        self.pid = spawned.pid
        self._pidfd = spawned.pidfd
        self._send_start(spawned)
        self._reactor.call_soon(self._watch)

    def stop(self, shutdown_s: float | None) -> None:
        """Ask it to end, and see that it does: `ladder.py` has the steps. Returns at once."""
        self._reactor.call_soon(lambda: self._climb(stop_ladder(shutdown_s)))

    def kill(self, kind: ExitKind, detail: str) -> None:
        """Have it write its stacks and die, for that reason. Returns at once."""
        self._reactor.call_soon(lambda: self._condemn(kind, detail))

    def join(self, timeout_s: float) -> ExitReason | None:
        """Why it ended; None when it has not within `timeout_s`. Not in the reactor's thread."""
        self._gone.wait(timeout_s)
        return self._reason

    # -- its start ----------------------------------------------------------------------------

    def _send_start(self, spawned: Spawned) -> None:
        spec = self._spec
        record = {
            "kind": "start",
            "id": spec.id,
            "incarnation": self.incarnation,
            "target": spec.target,
            "args": dict(spec.args),
            "env": dict(spec.env or {}),
            "log_path": spec.log_path,
        }
        spawned.control.settimeout(_SEND_START_S)
        try:
            spawned.control.sendall(pack(record))
        except OSError:
            _log.warning("%s did not take its start record", self.id, exc_info=True)
            # The end of its lifeline ends it, and its end is seen like any other.
            spawned.control.close()
            return
        spawned.control.settimeout(0)
        self._control = spawned.control

    def _kill(self) -> None:
        self._climb(stop_ladder(0))

    def _watch(self) -> None:
        self._reactor.add_reader(self._pidfd, self._on_dead)
        if self._control is not None:
            self._reactor.add_reader(self._control.fileno(), self._read_control)
        if not self._is_ready:
            self._await_start(Patience(self._spec.start_timeout_s, Clocks.read()))
        self._forks.adopt(self._kill)

    def _await_start(self, patience: Patience) -> None:
        delay_s = max(0.0, patience.wakes_at - time.monotonic())
        self._later("start", delay_s, lambda: self._check_start(patience))

    def _check_start(self, patience: Patience) -> None:
        verdict = patience.look(Clocks.read())
        if verdict == "over":
            self._on_start_timeout()
            return
        if verdict == "doubt":
            self._spare(patience.away_s, "its readiness")
        self._await_start(patience)

    def _spare(self, away_s: float, what: str) -> None:
        _log.warning(
            "%s (process %s) is spared: this process stood still for %.3g s while it waited for %s",
            *(self.id, self.pid, away_s, what),
        )
        if self._on_spared is not None:
            self._on_spared(away_s, what)

    def _on_start_timeout(self) -> None:
        limit = f"start_timeout_s ({self._spec.start_timeout_s:g} s)"
        self._condemn("start_timeout", f"not ready within {limit}; {self._where_stack()}")

    # -- what it says -------------------------------------------------------------------------

    def _read_control(self) -> bool:
        """Read once; whether something came, which is so at the end of the stream too."""
        if self._control is None:
            return False
        try:
            data = self._control.recv(READ_BYTES)
            records = self._reader.feed(data)
        except BlockingIOError:
            return False
        except (ConnectionError, TransportError) as error:
            _log.debug("the control socket of %s failed: %s", self.id, error)
            data, records = b"", []
        for record in records:
            self._take(record)
        if not data:
            self._close_control()
        return True

    def _take(self, record: dict[str, Any]) -> None:
        match record:
            case {"kind": "ready", "info": dict()} if not self._is_ready:
                self._be_ready(record["info"])
            case {"kind": "pong", "number": int(number)} if self._liveness is not None:
                self._liveness.answered(number, time.monotonic())
                self._schedule_ping(self._liveness)
            case {"kind": "failed", "message": str(said), "failure_kind": str() | None as kind}:
                self._ending.said = self._ending.said or said
                self._ending.failure_kind = self._ending.failure_kind or kind
                self._ending.for_good = self._ending.for_good or record.get("for_good") is True
            case {"kind": "spent", "amount": amount} if is_amount(amount):
                if self._on_spent is not None:
                    self._on_spent(float(amount))
            case {"kind": "bye", "exit_code": int(code)} if self._ending.code is None:
                self._ending.code = code
            case _:
                _log.debug("a word of %s is ignored: %r", self.id, record)

    def _be_ready(self, info: dict[str, Any]) -> None:
        self._is_ready = True
        self._cancel("start")
        if self._ending.verdict is not None or self._ending.asked:
            return
        interval_s = self._spec.liveness_interval_s
        if interval_s is not None:
            self._liveness = Liveness(interval_s, Clocks.read())
            self._schedule_ping(self._liveness)
        self._on_ready(info)

    # -- liveness -----------------------------------------------------------------------------

    def _schedule_ping(self, liveness: Liveness) -> None:
        delay_s = max(0.0, liveness.wakes_at - time.monotonic())
        self._later("liveness", delay_s, lambda: self._check(liveness))

    def _check(self, liveness: Liveness) -> None:
        match liveness.due(Clocks.read()):
            case "hung":
                interval = f"liveness_interval_s ({self._spec.liveness_interval_s:g} s)"
                self._condemn(
                    "hung", f"no answer from its loop for {interval}; {self._where_stack()}"
                )
                return
            case "doubt":
                self._spare(liveness.away_s, "an answer from its loop")
                self._say({"kind": "ping", "number": liveness.number})
            case "ping":
                self._say({"kind": "ping", "number": liveness.number})
            case None:
                pass
        self._schedule_ping(liveness)

    def _where_stack(self) -> str:
        return f"its stack is in {self._spec.log_path or 'the log (stderr)'}"

    # -- its end ------------------------------------------------------------------------------

    def _climb(self, steps: tuple[Step, ...]) -> None:
        """Take the first of the steps now, and the next when it has not worked in its time."""
        if self._is_dead or self._ending.verdict is not None:
            return
        self._ending.asked = True
        self._cancel("start")
        self._cancel("liveness")
        self._steps = list(steps)
        self._climb_on()

    def _climb_on(self) -> None:
        if not self._steps:
            self._abandon()
            return
        step = self._steps.pop(0)
        self._ending.rung = step.rung
        if step.rung is not Rung.ASK:
            _log.warning("%s (process %s) is ended by %s", self.id, self.pid, step.rung)
        match step.rung:
            case Rung.ASK:
                self._say({"kind": "stop"})
            case Rung.CLOSE:
                self._close_control()
            case Rung.TERM:
                self._signal(signal.SIGTERM)
            case Rung.KILL:
                self._signal(signal.SIGKILL)
        if step.patience_s is not None:
            self._later("ladder", step.patience_s, self._climb_on)

    def _condemn(self, kind: ExitKind, detail: str) -> None:
        if self._is_dead or self._ending.verdict is not None:
            return
        _log.error("%s (process %s) is killed: %s", self.id, self.pid, detail)
        self._ending.verdict, self._ending.said = kind, detail
        self._cancel("start")
        self._cancel("liveness")
        self._signal(signal.SIGABRT)
        # One that was stopped takes no signal but SIGKILL before this one (signal(7)).
        self._signal(signal.SIGCONT)
        self._steps = [*stop_ladder(0)]
        self._later("ladder", _DUMP_S, self._climb_on)

    def _abandon(self) -> None:
        """Not even SIGKILL ended it: it sleeps in the kernel, and will end when it wakes."""
        _log.error("%s (process %s) does not die of SIGKILL; it is left", self.id, self.pid)
        self._ending.said += " (process left in an uninterruptible sleep)"
        self._is_dead = self._has_status = True
        self._reactor.remove_reader(self._pidfd)
        self._finish()

    def _on_dead(self) -> None:
        self._reactor.remove_reader(self._pidfd)
        self._is_dead = True
        self._cancel("ladder")
        # What it said at last comes before why it ended.
        while self._read_control():
            pass
        self._later("status", _STATUS_S, lambda: self._take_status(None))
        self._finish()

    def _take_status(self, status: int | None) -> None:
        if self._has_status:
            return
        self._has_status = True
        if status is not None:
            self._ending.code = os.waitstatus_to_exitcode(status)
        self._finish()

    def _finish(self) -> None:
        if not (self._is_dead and self._has_status) or self._reason is not None:
            return
        for name in list(self._timers):
            self._cancel(name)
        self._close_control()
        os.close(self._pidfd)
        self._reason = explain_exit(self._ending)
        self._gone.set()
        try:
            self._on_exit(self._reason)
        finally:
            self._forks.bury(self._kill)

    # -- small things -------------------------------------------------------------------------

    def _say(self, record: dict[str, Any]) -> None:
        if self._control is None:
            return
        # A full buffer means that it does not read: the next rung, or its silence, deals with that.
        with contextlib.suppress(OSError):
            self._control.send(pack(record))

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def _close_control(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            self._reactor.remove_reader(control.fileno())
            control.close()

    def _later(self, name: str, delay_s: float, callback: Callable[[], None]) -> None:
        self._cancel(name)
        self._timers[name] = self._reactor.call_later(delay_s, callback)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
