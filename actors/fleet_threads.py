"""The threads that keep a fleet going: one reads the bus, one is the clock."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from understudy.transport import ChannelClosed

from .tasks.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.transport import Agent2AgentProtocol

    from .tasks.store import TaskStore

_log = logging.getLogger(__name__)

_TICK_S = 0.5


class FleetThreads:
    """They end when `stopped` is set and the bus's channel is closed.

    Args:
        tell: the root's; it gets a `tick` now and then.
    """

    def __init__(
        self,
        protocol: Agent2AgentProtocol,
        store: TaskStore,
        tell: Callable[[object], None],
        stopped: threading.Event,
    ) -> None:
        self._protocol = protocol
        self._store = store
        self._tell = tell
        self._stopped = stopped
        self._threads = [
            threading.Thread(target=work, name=f"understudy-{name}", daemon=True)
            for name, work in (("pump", self._pump), ("tick", self._tick))
        ]

    def start(self) -> None:
        """Begin; returns at once."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for their end, 5 seconds for each at most."""
        for thread in self._threads:
            thread.join(5.0)

    def _pump(self) -> None:
        try:
            while not self._stopped.is_set():
                self._protocol.process_messages(timeout_s=_TICK_S)
        except ChannelClosed:
            return

    def _tick(self) -> None:
        while not self._stopped.wait(_TICK_S):
            self._tell("tick")
            self._checkpoint()

    def _checkpoint(self) -> None:
        try:
            self._store.checkpoint()
        except StoreError as error:
            _log.warning("not written through: %s", error)
