"""Tells the systems of this process which of their actors wait, and ends waits on request."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from understudy.transport import waiting
from understudy.transport.errors import DeadlockError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from understudy.transport.address import Address


class Teller(Protocol):
    """What passes a wait on."""

    def tell_wait(self, record: dict[str, Any]) -> None:
        """Pass on that an actor waits, or waits no more."""
        ...


class WaitTeller:
    """The one observer of waits of this process. Any thread.

    Transport tells it of waits that last (`waiting.THRESHOLD_S`), in the thread that waits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._actors: dict[str, tuple[str, Teller]] = {}
        self._waits: dict[int, Teller] = {}

    def add(self, urn: str, key: str, system: Teller) -> None:
        """Tell this system of the waits of that actor, under that key."""
        with self._lock:
            self._actors[urn] = (key, system)
            waiting.set_wait_observer(self)

    def discard(self, urn: str) -> None:
        """Tell nothing of that actor any more."""
        with self._lock:
            self._actors.pop(urn, None)
            if not self._actors:
                waiting.set_wait_observer(None)

    def enter(self, waiter_urn: str, target: Address, corr: int) -> None:
        """See `WaitObserver`."""
        key, system = self._actors.get(waiter_urn, ("", None))
        if system is not None:
            self._begin(system, corr, key, [target.key], "ask")

    def leave(self, corr: int) -> None:
        """See `WaitObserver`."""
        system = self._waits.pop(corr, None)
        if system is not None:
            system.tell_wait({"op": "unwait", "corr": corr})

    @contextlib.contextmanager
    def waiting(
        self, system: Teller, key: str, targets: Sequence[str], what: str
    ) -> Generator[None]:
        """An actor waits for something that is no answer."""
        corr = waiting.next_corr()
        self._begin(system, corr, key, targets, what)
        try:
            yield
        finally:
            self.leave(corr)

    def is_waiting(self, corr: int) -> bool:
        """Whether the wait of that number lasts."""
        return corr in self._waits and not waiting.is_answered(corr)

    def fail(self, corr: int, cycle: tuple[str, ...]) -> None:
        """End a wait for an answer, with the ring that it is part of."""
        waiting.fail(corr, DeadlockError(cycle))

    def _begin(
        self, system: Teller, corr: int, key: str, targets: Sequence[str], what: str
    ) -> None:
        self._waits[corr] = system
        # All processes of a machine share this clock, so the youngest wait is known.
        since = time.monotonic()
        record = {"corr": corr, "waiter": key, "targets": list(targets), "since": since}
        system.tell_wait({"op": "wait", "what": what, **record})


WAIT_TELLER = WaitTeller()
