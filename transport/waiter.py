"""How a thread waits for something that another one brings."""

from __future__ import annotations

import contextlib
import time
from _thread import allocate_lock
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

RUNNING = 0
SLEEPING = 1
"""It sleeps on its lock."""
POLLING = 2
"""It waits on the node's sockets, and is woken through them."""


class Waiter:
    """One thread's wait; `ready` says whether it is over.

    Who makes it ready calls `wake` afterwards. `state` is set before `ready` is looked at for the
    last time, so no wake is lost.
    """

    def __init__(self) -> None:
        self.state = RUNNING
        self._lock = allocate_lock()
        self._lock.acquire()
        self.kick: Callable[[], None] | None = None

    def ready(self) -> bool:
        """Whether there is nothing to wait for any more."""
        raise NotImplementedError

    def wake(self) -> None:
        """End the wait. Any thread; does nothing when nobody waits."""
        if self.state == SLEEPING:
            self.state = RUNNING
            # Two may wake at once; the second finds the lock open.
            with contextlib.suppress(RuntimeError):
                self._lock.release()
        elif self.state == POLLING and self.kick is not None:
            self.state = RUNNING
            self.kick()

    def sleep(self, timeout_s: float | None) -> None:
        """Sleep until woken or the time is over; may also end for no reason."""
        self.state = SLEEPING
        if not self.ready():
            self._lock.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s))
        self.state = RUNNING


class Parking(Protocol):
    """Where a thread spends its waiting."""

    def wait(self, waiter: Waiter, until_s: float | None) -> bool:
        """Wait until it is ready or the clock says `until_s`; whether it is ready."""
        ...


class LockParking:
    """Waiting without anything else to do.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def wait(self, waiter: Waiter, until_s: float | None) -> bool:
        """See `Parking.wait`."""
        while not waiter.ready():
            left_s = None if until_s is None else until_s - self._clock()
            if left_s is not None and left_s <= 0:
                return False
            waiter.sleep(left_s)
        return True


LOCK_PARKING = LockParking()
