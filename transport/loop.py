"""One thread that waits on descriptors and calls whom it concerns.

Sockets are read by one thread, however many there are: a service with thirty peers needs one, and
closing has one thread to join.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import selectors
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

_log = logging.getLogger(__name__)

_JOIN_S = 10.0


class IoLoop:
    """The thread and what it watches.

    `watch`, `unwatch` and `call_at` belong to the loop's own thread (or come before `start`);
    `call_soon` and `stop` come from any thread.

    Args:
        name: of the thread.
        on_exit: called last in the loop's thread, to give back what the loop worked on.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        on_exit: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_exit = on_exit
        self._clock = clock
        self._stopping = False
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._wake_lock = threading.Lock()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake_fd, READ, self._on_wake)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: the system gives no thread; everything is given back, as at the end.
        """
        try:
            self._thread.start()
        except RuntimeError:
            self._release()
            raise

    def is_current(self) -> bool:
        """Whether the caller runs in the loop's thread, and so must not wait for it."""
        return threading.current_thread() is self._thread

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call `handler` with what is ready of `events`; replaces an earlier watch of it."""
        if fd in self._selector.get_map():
            self._selector.modify(fd, events, handler)
        else:
            self._selector.register(fd, events, handler)

    def unwatch(self, fd: int) -> None:
        """Watch it no more. Comes before the descriptor is closed."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have it called in the loop's thread; forgotten when the loop is stopping."""
        self._calls.append(call)
        if not self.is_current():
            self._wake()

    def call_at(self, when_s: float, call: Callable[[], None]) -> None:
        """Have it called when the clock says `when_s`."""
        heapq.heappush(self._timers, (when_s, next(self._serial), call))

    def stop(self) -> None:
        """End the loop, and wait for its thread unless that is the caller."""
        self._stopping = True
        self._wake()
        if not self.is_current() and self._thread.ident is not None:
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                _log.error("%s does not end: a callback blocks it", self._thread.name)

    def _wake(self) -> None:
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def _on_wake(self, _events: int) -> None:
        os.eventfd_read(self._wake_fd)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        finally:
            self._release()

    def _turn(self) -> None:
        for key, events in self._selector.select(self._wait_s()):
            # A handler earlier in this list may have ended the watch of a later one.
            if self._selector.get_map().get(key.fd) is key:
                cast("Callable[[int], None]", key.data)(events)
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def _wait_s(self) -> float | None:
        if self._calls:
            return 0.0
        if self._timers:
            return max(0.0, self._timers[0][0] - self._clock())
        return None

    def _release(self) -> None:
        try:
            self._on_exit()
        finally:
            self._selector.close()
            with self._wake_lock:
                os.close(self._wake_fd)
                self._wake_fd = -1
