"""A server that no client wears out: few connections, and heads that arrive soon or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

if TYPE_CHECKING:
    import asyncio

# One CLI keeps one connection; a few more are for its sub-agents and for those about to close.
MAX_CONNECTIONS = 64
_HEAD_S = 10.0
MAX_HEAD_BYTES = 256 << 10


def head_bytes(request: web.BaseRequest) -> int:
    """The size of a head; one that ends in the piece that goes over the limit gets so far."""
    return sum(len(name) + len(value) for name, value in request.raw_headers)


class _GuardedHandler(RequestHandler):
    """One connection."""

    __slots__ = ("_guard_bytes", "_guard_timer", "_head_s")

    def __init__(
        self,
        server: GuardedServer,
        loop: asyncio.AbstractEventLoop,
        **kwargs: Any,  # noqa: ANN401 - aiohttp's own options
    ) -> None:
        super().__init__(server, loop=loop, **kwargs)
        self._head_s = server.head_s
        self._guard_bytes = 0
        self._guard_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, unless there are enough."""
        super().connection_made(transport)
        manager = self._manager
        if manager is not None and len(manager.connections) > MAX_CONNECTIONS:
            self._drop()

    def data_received(self, data: bytes) -> None:
        """Take bytes; those of a head must not go on for long."""
        super().data_received(data)
        # No request is known after these bytes: they are a piece of a head.
        if self._messages or self._current_request is not None:
            self._release()
            return
        self._guard_bytes += len(data)
        if self._guard_bytes > MAX_HEAD_BYTES:
            self._drop()
        elif self._guard_timer is None:
            self._guard_timer = self._loop.call_later(self._head_s, self._drop)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget a connection."""
        self._release()
        super().connection_lost(exc)

    def _release(self) -> None:
        self._guard_bytes = 0
        if self._guard_timer is not None:
            self._guard_timer.cancel()
            self._guard_timer = None

    def _drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class GuardedServer(web.Server):
    """An aiohttp server whose connections are guarded.

    Attributes:
        head_s: how long the head of a request may take to arrive.
    """

    head_s = _HEAD_S

    def __call__(self) -> RequestHandler:
        """A handler for a new connection."""
        return _GuardedHandler(self, self._loop, **self._kwargs)
