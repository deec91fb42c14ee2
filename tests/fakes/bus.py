"""A server and its clients, on sockets or in memory."""

# ruff: noqa: ANN401 - keyword arguments are passed on as they came.
from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

from understudy.transport import MemoryChannel, PeerEvent, UnixSocketChannel

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_S = 10.0
MAX_FRAME_BYTES = 1 << 20
End = UnixSocketChannel | MemoryChannel


class Bus:
    """A server and its clients, closed at the end of the test."""

    def __init__(self, make: Callable[..., End]) -> None:
        self.events: queue.SimpleQueue[PeerEvent] = queue.SimpleQueue()
        self._make = make
        self.server = make(None, on_peer=self.events.put)
        self._clients: list[End] = []

    def client(self, name: str | None = None, incarnation: int = 0, **options: Any) -> End:
        end = self._make(self.server, name=name, incarnation=incarnation, **options)
        self._clients.append(end)
        return end

    def next_event(self) -> tuple[str, str, int]:
        event = self.events.get(timeout=LIMIT_S)
        return event.kind, event.name, event.incarnation

    def close(self) -> None:
        for end in [*self._clients, self.server]:
            end.close()
