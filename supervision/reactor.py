"""One thread that watches all descriptors and timers of a fork server and its children."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import selectors
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

_JOIN_S = 5.0


@dataclass(order=True)
class Timer:
    """A call that is due at `at` (monotonic seconds). Made by `Reactor.call_later`."""

    at: float
    order: int
    callback: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Never call it. In the reactor's thread, this is certain; elsewhere it may just run."""
        self.cancelled = True


class Reactor:
    """Calls back, in its one thread, when a descriptor is readable or a timer is due.

    A thread of our own instead of asyncio, whose import alone costs more time and memory than all
    the rest here. Callbacks must not block; an exception in one is logged and the rest goes on.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector.register(self._wake_fd, selectors.EVENT_READ, self._drain_wake)
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[Timer] = []
        self._order = itertools.count()
        self._stopping = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="understudy-reactor", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and join it; what was not called yet is not called. Idempotent.

        Called from another thread than the reactor's own.
        """
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            os.eventfd_write(self._wake_fd, 1)
        self._thread.join(_JOIN_S)
        self._selector.close()
        os.close(self._wake_fd)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call it in the reactor's thread. From any thread; after `close` nothing is called."""
        with self._lock:
            if not self._stopping:
                self._calls.append(callback)
                os.eventfd_write(self._wake_fd, 1)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call it in the reactor's thread after `delay_s`. From any thread."""
        timer = Timer(time.monotonic() + delay_s, next(self._order), callback)
        self.call_soon(lambda: heapq.heappush(self._timers, timer))
        return timer

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        """Call it whenever `fd` is readable. In the reactor's thread."""
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def remove_reader(self, fd: int) -> None:
        """Watch `fd` no more; before it is closed. In the reactor's thread."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(fd)

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(self._patience_s()):
                # A callback before this one may have removed it.
                if self._selector.get_map().get(key.fd) is key:
                    _call(cast("Callable[[], object]", key.data))
            self._run_calls()
            self._run_timers()

    def _run_calls(self) -> None:
        for _ in range(len(self._calls)):
            _call(self._calls.popleft())

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].at <= now:
            timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                _call(timer.callback)

    def _patience_s(self) -> float | None:
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)
        if self._calls:
            return 0.0
        return max(0.0, self._timers[0].at - time.monotonic()) if self._timers else None

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:  # noqa: BLE001 - one bad callback must not end the others' thread
        _log.exception("a callback of the reactor failed; the others go on")
