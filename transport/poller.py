"""Waits on descriptors, in whichever thread has to wait anyway.

Waking a thread costs more than anything else on the way of a message. So a thread that waits, an
actor for its next message or an asker for the answer, reads the sockets itself. One thread may do
so at a time: it has the *role*. The service thread takes the role when nobody waits, flushes what
was collected, and calls what must not run in an actor's thread. Where several actors are hosted,
any of whom a message may be for, the service thread keeps the role.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from _thread import allocate_lock, get_ident
from typing import TYPE_CHECKING

from .waiter import LOCK_PARKING, POLLING, RUNNING, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

_log = logging.getLogger(__name__)

_MAX_EVENTS = 32
_QUIET_TICKS = 20
_LONGEST_TICKS = 8
"""A step while another thread reads and nothing is collected: a node that is asked now and then by
many wakes its service thread less often than it is asked."""
_IDLE_S = 60.0
_SWEEP_S = 1.0
_JOIN_S = 10.0


class _Service(Waiter):
    """What the service thread waits for."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller

    def ready(self) -> bool:
        return self._poller.has_work()


class Poller:
    """The descriptors of one node, and its service thread.

    Args:
        name: of the thread.
        call: calls what was left for the service thread.
        has_calls: whether something was.
        sweep: called about once a second, and less often after it returned False.
        flush: called before each wait; must not block.
        tick_s: the step while there is traffic.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        call: Callable[[], None],
        has_calls: Callable[[], bool],
        sweep: Callable[[], bool],
        flush: Callable[[], None],
        tick_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_shared = False
        self._call = call
        self._has_calls = has_calls
        self._sweep = sweep
        self._flush = flush
        self._tick_s = tick_s
        self._clock = clock
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._fd_lock = threading.Lock()
        self._epoll.register(self._wake_fd, READ)
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._role = allocate_lock()
        self._holder = 0
        self._sleepers: set[Waiter] = set()
        self._service = _Service(self)
        self._is_nudged = False
        self._is_ticking = False
        self._is_at_ease = False
        self._has_unsent = False
        self._activity = 0
        self._kick_bound = self._kick
        self._next_sweep_s = 0.0
        self._is_awaited = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the service thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the service thread, and let all who wait wait on without the sockets."""
        self._stopping = True
        self._kick()
        self._service.wake()
        if threading.current_thread() is not self._thread and self._thread.ident is not None:
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                _log.error("%s does not end: a callback blocks it", self._thread.name)
        # Whoever has the role leaves it now; then nobody touches the descriptors any more.
        if self._role.acquire(timeout=_JOIN_S):
            with self._fd_lock:
                self._epoll.close()
                os.close(self._wake_fd)
                self._wake_fd = -1
        self._let_go()

    def watch(self, fd: int, handler: Callable[[int], None]) -> None:
        """Call the handler when there is something to read. Any thread."""
        self._handlers[fd] = handler
        self._epoll.register(fd, READ)

    def want_write(self, fd: int, *, wanted: bool) -> None:
        """Also call it when there is room to write, or no longer. Any thread."""
        if fd in self._handlers:
            self._epoll.modify(fd, READ | WRITE if wanted else READ)

    def unwatch(self, fd: int) -> None:
        """Watch it no more. Before it is closed; any thread."""
        if self._handlers.pop(fd, None) is not None and not self._epoll.closed:
            self._epoll.unregister(fd)

    def share(self, *, is_shared: bool) -> None:
        """Whether the service thread keeps the role."""
        if is_shared != self.is_shared:
            self.is_shared = is_shared
            self._kick()
            self.wake_service()

    def may_wait(self) -> bool:
        """Whether this thread may wait: not while it reads, nor the service thread."""
        me = get_ident()
        return me not in (self._holder, self._thread.ident)

    def nudge(self) -> None:
        """Something waits to be flushed: before the next wait, or within a tick."""
        self._has_unsent = True
        if self._is_at_ease or not self._is_ticking:
            self.wake_service()

    def sweep_soon(self) -> None:
        """Something is there that a sweep is to look after."""
        self._is_awaited = True
        if not self._is_ticking:
            self.wake_service()

    def wake_service(self) -> None:
        """Something is to be done now."""
        self._is_nudged = True
        self._is_ticking = True
        self._service.wake()

    def has_work(self) -> bool:
        """Whether the service thread has something to do."""
        return self._is_nudged or self._stopping or self._has_calls()

    def wait(self, waiter: Waiter, until_s: float | None) -> bool:
        """Wait until it is ready, or the clock says `until_s`; whether it is ready."""
        if self._has_unsent:
            # Down before the flush: what is collected from now on raises it again.
            self._has_unsent = False
            self._flush()
        while not self._stopping:
            if not self.is_shared and self._role.acquire(False):  # noqa: FBT003 - the hot path
                try:
                    is_ready = self._poll_for(waiter, until_s)
                finally:
                    # Nobody may have the role next: the service thread will look.
                    self._role.release()
                    self._activity += 1
                    if self._sleepers or not self._is_ticking:
                        self.wake_service()
                if is_ready:
                    return True
            else:
                self._sleep(waiter, until_s)
                if waiter.ready():
                    return True
            if until_s is not None and until_s <= self._clock():
                return False
        return LOCK_PARKING.wait(waiter, until_s)

    def _sleep(self, waiter: Waiter, until_s: float | None) -> None:
        """Wait while another thread polls."""
        self._sleepers.add(waiter)
        try:
            if not self._stopping:
                waiter.sleep(None if until_s is None else until_s - self._clock())
        finally:
            self._sleepers.discard(waiter)

    def _poll_for(self, waiter: Waiter, until_s: float | None) -> bool:
        """Poll until the waiter is ready; whether it is. With the role."""
        is_service = waiter is self._service
        self._holder = get_ident()
        waiter.kick = self._kick_bound
        try:
            while not self._stopping and (is_service or not self.is_shared):
                waiter.state = POLLING
                if waiter.ready():
                    return True
                left_s = None if until_s is None else until_s - self._clock()
                if left_s is not None and left_s <= 0:
                    return False
                found = self._epoll.poll(left_s, _MAX_EVENTS)
                # It is this thread that reads now: what comes for it needs no kick.
                waiter.state = RUNNING
                for fd, events in found:
                    handler = self._handlers.get(fd)
                    if handler is not None:
                        handler(events)
                    elif fd == self._wake_fd:
                        self._quiet_wake()
                if is_service and found and self._sleepers and self._all_ready():
                    return False  # those it read for will read for themselves from now on
            return False
        finally:
            waiter.state = RUNNING
            self._holder = 0

    def _quiet_wake(self) -> None:
        try:
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            return

    def _kick(self) -> None:
        """Bring the thread that polls out of it, unless it is this one."""
        if self._holder != get_ident():
            with self._fd_lock:
                if self._wake_fd >= 0:
                    os.eventfd_write(self._wake_fd, 1)

    def _let_go(self) -> None:
        """Wake the sleepers; more than once, for one that is just about to fall asleep."""
        until_s = self._clock() + _JOIN_S
        while self._sleepers and self._clock() < until_s:
            for waiter in tuple(self._sleepers):
                waiter.wake()
            time.sleep(0.001)

    def _run(self) -> None:
        quiet = seen = 0
        ticks = 1
        while not self._stopping:
            is_quiet = not self._is_nudged and seen == self._activity
            quiet = quiet + ticks if is_quiet else 0
            seen = self._activity
            is_at_ease = self._role.locked() and not (self._is_nudged or self._has_unsent)
            ticks = min(2 * ticks, _LONGEST_TICKS) if is_at_ease else 1
            self._is_nudged = False
            self._is_ticking = quiet < _QUIET_TICKS
            self._is_at_ease = ticks > 1
            # After the flags: what was collected before they were so is sent here, and who collects
            # from now on sees them.
            self._work()
            wait_s = ticks * self._tick_s if self._is_ticking else self._idle_s()
            self._step(wait_s, is_quiet=is_quiet)

    def _step(self, wait_s: float, *, is_quiet: bool) -> None:
        # Who has just left the role comes back soon, as a rule: it is left free for a tick.
        is_needed = is_quiet or self.is_shared or bool(self._sleepers)
        if is_needed and self._role.acquire(blocking=False):
            try:
                self._poll_for(self._service, self._clock() + wait_s)
            finally:
                self._role.release()
            if self.is_shared or not self._sleepers or not self._all_ready():
                return
            # They may have no more to wait for: then nobody reads until it looks again.
            wait_s = min(wait_s, self._tick_s)
        self._service.sleep(wait_s)

    def _all_ready(self) -> bool:
        return all(waiter.ready() for waiter in tuple(self._sleepers))

    def _idle_s(self) -> float:
        self._is_awaited = self._sweep()
        return _SWEEP_S if self._is_awaited else _IDLE_S

    def _work(self) -> None:
        now_s = self._clock()
        if now_s >= self._next_sweep_s:
            self._next_sweep_s = now_s + _SWEEP_S
            self._is_awaited = self._sweep()
        self._call()
        self._flush()
