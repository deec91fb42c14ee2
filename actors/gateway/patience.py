"""Keeping a client patient: an answer that takes long begins with pings.

Claude Code gives up after `API_TIMEOUT_MS` without the head of an answer, and shows no event until
then: its agent would soon count as hung. A stream that has begun and pings now and then holds for
as long as it is needed, and each ping is an event of the CLI (2.1.197 and 2.1.330, measured over
five minutes with an `API_TIMEOUT_MS` of 20 s). Only requests for a stream can be held so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from typing import Self

_PING = b'event: ping\ndata: {"type": "ping"}\n\n'


class Patience:
    """Pings the client of one request while the block runs, once it has waited for a while.

    Args:
        request: a request for a stream.
        after_s: how long the client waits without a word.
        every_s: between two pings.
    """

    def __init__(self, request: web.BaseRequest, *, after_s: float, every_s: float) -> None:
        self._request = request
        self._after_s = after_s
        self._every_s = every_s
        self._lock = asyncio.Lock()
        self._begun: web.StreamResponse | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._ping())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.end()

    async def end(self) -> web.StreamResponse | None:
        """Stop pinging. The answer that has begun, or None when the client heard nothing yet."""
        if self._task is not None:
            # Nothing is cut in the middle of a write.
            async with self._lock:
                self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        return self._begun

    async def _ping(self) -> None:
        await asyncio.sleep(self._after_s)
        with contextlib.suppress(ConnectionError):
            async with self._lock:
                begun = web.StreamResponse(headers={"content-type": "text/event-stream"})
                await begun.prepare(self._request)
                self._begun = begun
                await begun.write(_PING)
            while True:
                await asyncio.sleep(self._every_s)
                async with self._lock:
                    await begun.write(_PING)


async def say_error(begun: web.StreamResponse, answer: web.Response) -> web.StreamResponse:
    """End a stream that has begun with the error that could not be its status."""
    body = answer.body if isinstance(answer.body, bytes) else b"{}"
    await begun.write(b"event: error\ndata: %s\n\n" % json.dumps(json.loads(body)).encode())
    await begun.write_eof()
    return begun
