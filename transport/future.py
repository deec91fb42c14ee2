"""The answer to a request, once it is there."""

from __future__ import annotations

import queue
import sys
import time
from _thread import allocate_lock, get_ident
from typing import TYPE_CHECKING, Any

import pykka

from . import waiting
from .waiter import LOCK_PARKING, Parking, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from pykka._future import GetHookFunc

    from .address import Address
    from .remote import RemoteRef

    ExcInfo = (
        tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    )


_CLAIM = allocate_lock()


class _FutureWaiter(Waiter):
    def __init__(self, future: AskFuture) -> None:
        self._future = future

    def ready(self) -> bool:
        return self._future.done


class AskFuture(Waiter, pykka.Future[Any]):
    """A future that is set once: the first answer counts, and later ones are dropped.

    pykka's own raises at the second, in the thread of the actor that answers, which then dies
    without a word. Any thread may set it and any number may wait; who waits does the node's I/O.

    Attributes:
        done: whether the answer is there.
        deadline_s: when the request's time is over (monotonic); None for never.
        corr: the request's number; 0 for one that has none yet.
    """

    # Class attributes are the defaults: a future that is answered at once sets two of its own.
    done = False
    deadline_s: float | None = None
    corr = 0
    parking: Parking = LOCK_PARKING
    ref: RemoteRef | None = None
    target: Callable[[], Address] | None = None
    on_expired: Callable[[AskFuture], None] | None = None
    _value: Any = None
    _error: BaseException | None = None
    _first = 0
    """The thread that waits by way of the future itself."""
    _others: set[Waiter] | None = None
    """Those that wait besides the first, which waits by way of the future itself."""

    _get_hook = None
    _get_hook_result: Any = None
    _is_hook_done = False

    if not TYPE_CHECKING:
        # Pykka's own sets the two above: a Python frame for each request.
        __init__ = object.__init__

    def get(self, *, timeout: float | None = None) -> Any:
        """The answer.

        Raises:
            pykka.Timeout: it did not come within `timeout` seconds, or its time is over.
            Exception: the answer is an exception.
        """
        if self._get_hook is not None:
            if not self._is_hook_done:
                self._get_hook_result = self._get_hook(timeout)
                self._is_hook_done = True
            return self._get_hook_result
        if not self.done:
            self._wait(timeout)
        if self._error is not None:
            raise self._error
        return self._value

    def set(self, value: Any = None) -> None:
        """Set the answer; dropped when there is one."""
        if not self.done:
            self._value = value
            self.done = True
            if self.state:
                self.wake()
            if self._others is not None:
                self._wake_others()

    def set_exception(self, exc_info: Any = None) -> None:
        """Let it be an exception: the one given, or the one being handled."""
        info: ExcInfo = exc_info or sys.exc_info()
        kind, error, trace = info
        if error is None:
            error = RuntimeError("no exception was given") if kind is None else kind()
        self.fail(error if trace is None else error.with_traceback(trace))

    def set_get_hook(self, func: GetHookFunc[Any]) -> None:
        """Have `get` call this for the answer; see `pykka.Future`.

        Raises:
            queue.Full: it is set, as pykka's own says.
        """
        if self.done:
            raise queue.Full
        super().set_get_hook(func)

    def fail(self, error: BaseException) -> bool:
        """Let it be this exception; False when it was set already."""
        if self.done:
            return False
        self._error = error
        self.done = True
        if self.state:
            self.wake()
        if self._others is not None:
            self._wake_others()
        return True

    def ready(self) -> bool:
        """Whether the answer is there."""
        return self.done

    def _wake_others(self) -> None:
        for waiter in tuple(self._others or ()):
            waiter.wake()

    def _wait(self, timeout: float | None) -> None:
        until_s = self.deadline_s
        if timeout is not None:
            limit_s = time.monotonic() + timeout
            until_s = limit_s if until_s is None else min(until_s, limit_s)
        me = get_ident()
        with _CLAIM:  # of two threads one is the first
            first = self._first = self._first or me
        if first == me:
            if waiting.is_observed():
                is_ready = self._park(self, until_s)
            else:
                is_ready = (self.ref or self.parking).wait(self, until_s)
        else:
            is_ready = self._park_besides(until_s)
        if not is_ready and not self.done:
            self._expire(until_s, timeout)

    def _park_besides(self, until_s: float | None) -> bool:
        waiter = _FutureWaiter(self)
        with _CLAIM:
            others = self._others
            if others is None:
                others = self._others = set()
        others.add(waiter)
        try:
            return self._park(waiter, until_s)
        finally:
            others.discard(waiter)

    def _park(self, waiter: Waiter, until_s: float | None) -> bool:
        ref = self.ref
        parking, target = (self.parking, self.target) if ref is None else (ref, ref.where)
        observer, actor = waiting.wait_observer(), waiting.current_actor()
        if observer is None or actor is None or target is None:
            return parking.wait(waiter, until_s)
        soon_s = time.monotonic() + waiting.THRESHOLD_S
        if until_s is not None and until_s <= soon_s:
            return parking.wait(waiter, until_s)
        if parking.wait(waiter, soon_s):
            return True
        self.corr = self.corr or waiting.next_corr()
        waiting.watch(self)
        observer.enter(actor.owner_urn, target(), self.corr)
        try:
            return parking.wait(waiter, until_s)
        finally:
            observer.leave(self.corr)
            waiting.unwatch(self)

    def _expire(self, until_s: float | None, timeout: float | None) -> None:
        if until_s == self.deadline_s:
            over = pykka.Timeout("no answer came before the request's deadline")
            if self.fail(over):
                if self.ref is not None:
                    self.ref.expired(self)
                elif self.on_expired is not None:
                    self.on_expired(self)
            return
        raise pykka.Timeout(f"{timeout} seconds")
