"""What a child's target gets: who it is, how to say it is ready, and how it learns to stop."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from .budget import check_amount
from .control import (
    EXIT_CRASH,
    EXIT_ORPHANED,
    EXIT_PERMANENT,
    READ_BYTES,
    ControlReader,
    pack,
)
from .ladder import ORPHAN_GRACE_S

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

_log = logging.getLogger(__name__)


class ChildContext:
    """A child's link to its supervisor. Every method may be called from any thread.

    Callbacks run in the thread that reads the control socket: they should only pass the word on.
    One that raises is logged.

    Attributes:
        id: the child's id.
        incarnation: which start of this id this is.
        args: what the child spec holds for the target.
        stop_requested: set when the supervisor asks the child to end.
    """

    def __init__(self, start: Mapping[str, Any], control: socket.socket) -> None:
        self.id: str = start["id"]
        self.incarnation: int = start["incarnation"]
        self.args: dict[str, Any] = start["args"]
        self.stop_requested = threading.Event()
        self._control = control
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._is_ready = False
        self._on_stop: list[Callable[[], None]] = []
        self._on_orphaned: list[Callable[[], None]] = []
        self._liveness: Callable[[Callable[[], None]], None] | None = None

    def ready(self, info: Mapping[str, Any] | None = None) -> None:
        """Tell the supervisor that this child does its work from now on; once is enough.

        Args:
            info: goes with the `ready` event; only what msgpack can carry.

        Raises:
            EncodeError: `info` cannot be carried.
        """
        frame = pack({"kind": "ready", "info": {"pid": os.getpid(), **(info or {})}})
        with self._lock:
            if self._is_ready:
                return
            self._is_ready = True
        self._send(frame)

    def spent(self, amount: float) -> None:
        """Tell the supervisor that this child has spent so much more, for its `Budget`.

        Whoever measures it tells it once: in here, or the parent by `Supervisor.spent`.

        Args:
            amount: in the unit of the budget.

        Raises:
            InvalidSpec: it is no finite number of 0 or more.
        """
        check_amount(self.id, "spent", amount)
        self._send(pack({"kind": "spent", "amount": amount}))

    def fail(self, kind: str, message: str) -> NoReturn:
        """End this child for a reason that its supervisor may know; it may be started again.

        In the main thread this is a SystemExit, so that what the target opened is closed on the
        way out; in another thread the process ends at once.

        Args:
            kind: one word, for code: the exit reason's `failure_kind`.
            message: for people: the exit reason's `detail`.
        """
        self.report_failure(message, kind=kind)
        self._end(EXIT_CRASH)

    def fail_permanently(self, kind: str, message: str) -> NoReturn:
        """End this child, as `fail` does, and have it not started again."""
        self.report_failure(message, kind=kind, for_good=True)
        self._end(EXIT_PERMANENT)

    def _end(self, code: int) -> NoReturn:
        if threading.current_thread() is threading.main_thread():
            raise SystemExit(code)
        self.say_bye(code)
        os._exit(code)

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call it when the supervisor asks the child to end; at once if it has asked already."""
        with self._lock:
            self._on_stop.append(callback)
            is_late = self.stop_requested.is_set()
        if is_late:
            _call(callback)

    def on_orphaned(self, callback: Callable[[], None]) -> None:
        """Call it when the parent is gone; two seconds later the process ends, done or not.

        For the few things that nobody else tidies up. Without such callbacks it ends at once.
        """
        with self._lock:
            self._on_orphaned.append(callback)

    def set_liveness(self, callback: Callable[[Callable[[], None]], None]) -> None:
        """Have pings answered by the child's own loop instead of the thread that reads them.

        Args:
            callback: gets a function `pong` and sees to it that the loop calls it, as an actor's
                `ref.tell` does when the actor calls the functions it is told.
        """
        self._liveness = callback

    # -- for the child's bootstrap ------------------------------------------------------------

    def start_reading(self, reader: ControlReader, early: list[dict[str, Any]]) -> None:
        """Start the thread that reads what the parent says, until the parent is gone.

        Args:
            reader: what reads the stream, with what it holds already.
            early: records that were read before.
        """
        thread = threading.Thread(
            target=self._read, args=(reader, early), name="understudy-lifeline", daemon=True
        )
        thread.start()

    def report_failure(
        self, message: str, *, kind: str | None = None, for_good: bool = False
    ) -> None:
        """Tell the parent why this child is about to end, and whether for good."""
        record = {"kind": "failed", "message": message, "failure_kind": kind, "for_good": for_good}
        self._send(pack(record))

    def say_bye(self, exit_code: int) -> None:
        """Tell the parent the exit code, which it may not learn in any other way."""
        self._send(pack({"kind": "bye", "exit_code": exit_code}))

    # -- inside -------------------------------------------------------------------------------

    def _send(self, frame: bytes) -> None:
        # A parent that is gone is noticed by the reading thread, which ends this process.
        with contextlib.suppress(OSError), self._send_lock:
            self._control.sendall(frame)

    def _read(self, reader: ControlReader, early: list[dict[str, Any]]) -> None:
        try:
            for record in early:
                self._take(record)
            while data := self._control.recv(READ_BYTES):
                for record in reader.feed(data):
                    self._take(record)
        except OSError:
            _log.debug("the control socket failed; the parent is taken as gone", exc_info=True)
        finally:
            self._end_orphaned()

    def _take(self, record: Mapping[str, Any]) -> None:
        match record:
            case {"kind": "stop"}:
                self._take_stop()
            case {"kind": "ping", "number": int(number)}:
                self._take_ping(number)
            case _:
                _log.debug("a word of a newer parent is ignored: %r", record)

    def _take_stop(self) -> None:
        with self._lock:
            if self.stop_requested.is_set():
                return
            self.stop_requested.set()
            callbacks = list(self._on_stop)
        for callback in callbacks:
            _call(callback)

    def _take_ping(self, number: int) -> None:
        def pong() -> None:
            self._send(pack({"kind": "pong", "number": number}))

        ask_loop = self._liveness
        _call(pong if ask_loop is None else lambda: ask_loop(pong))

    def _end_orphaned(self) -> NoReturn:
        with self._lock:
            callbacks = list(self._on_orphaned)
        if callbacks:
            tidy = threading.Thread(
                target=_call_all, args=(callbacks,), name="understudy-orphaned", daemon=True
            )
            tidy.start()
            tidy.join(ORPHAN_GRACE_S)
        os._exit(EXIT_ORPHANED)


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        _call(callback)


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:  # noqa: BLE001 - the reading thread must live on
        _log.exception("a callback of the child failed")
