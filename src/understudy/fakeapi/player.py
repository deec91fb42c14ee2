"""Playing a step as an HTTP answer, with the faults that the step asks for."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from understudy.fakeapi.content import (
    block_events,
    end_events,
    error_body,
    event,
    message_of,
    start_event,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from understudy.fakeapi.conversation import Conversation
    from understudy.fakeapi.script import Place, Step

_HTML = b"<html>bad gateway</html>\n\n"
_PING_TIME_S = 5.0


class _Cut(Exception):
    """The answer is over, and the connection with it."""


class Player:
    """Answers requests by steps. Runs in the server's loop.

    Args:
        note: told what happened besides the answer, for the record.
        sleep: waits some seconds.
        clock: monotonic seconds.
        series: a part of every id that is given out; None makes one.
    """

    def __init__(
        self,
        note: Callable[[dict[str, Any]], None],
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        series: str | None = None,
    ) -> None:
        self._note = note
        self._sleep = sleep
        self._clock = clock
        self._ids = itertools.count(1)
        # The CLI takes a call with the id of an older one for that one, and forgets its result: a
        # server that is started in the middle of a conversation must not begin at 1 again.
        self._series = series or secrets.token_hex(4)

    async def play(
        self,
        request: web.BaseRequest,
        conversation: Conversation,
        step: Step,
        head: dict[str, str] | None = None,
    ) -> web.StreamResponse:
        """Answer one request; `head` is added to the answer's."""
        try:
            return await self._play(request, conversation, step, head or {})
        except _Cut:
            return web.Response()

    def json(
        self, status: int, data: object, headers: dict[str, str] | None = None
    ) -> web.Response:
        """A plain answer in JSON."""
        head = {"request-id": self._new_id("req_fake_"), **(headers or {})}
        return web.json_response(data, status=status, headers=head)

    def error(
        self, status: int, kind: str | None = None, message: str | None = None
    ) -> web.Response:
        """An error in the API's form."""
        return self.json(status, error_body(status, kind, message))

    async def _play(
        self,
        request: web.BaseRequest,
        conversation: Conversation,
        step: Step,
        head: dict[str, str],
    ) -> web.StreamResponse:
        if step.delay and step.pings is None:
            await self._sleep(step.delay)
        await self._fault(request, step, "before")
        if step.error is not None:
            headers = {name: str(value) for name, value in step.headers.items()}
            return self.json(step.error, error_body(step.error, step.type, step.message), headers)
        message = message_of(
            step,
            model=str(conversation.body.get("model", "scripted")),
            tool_result=conversation.newest_tool_result(),
            new_id=self._new_id,
        )
        if conversation.body.get("stream"):
            return await self._stream(request, message, step, head)
        if step.malformed:
            return web.Response(body=_HTML, content_type="text/html")
        return self.json(200, message, head)

    async def _stream(
        self,
        request: web.BaseRequest,
        message: dict[str, Any],
        step: Step,
        head: dict[str, str],
    ) -> web.StreamResponse:
        own = {"content-type": "text/event-stream", "request-id": self._new_id("req_fake_")}
        response = web.StreamResponse(headers={**own, **head})
        await response.prepare(request)
        await self._fault(request, step, "headers")
        if step.malformed == "html":
            await response.write(_HTML)
        if step.malformed not in ("html", "empty"):
            await response.write(start_event(message))
            await self._ping(response, step)
            await self._body(request, response, message, step)
        await response.write_eof()
        return response

    async def _body(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        message: dict[str, Any],
        step: Step,
    ) -> None:
        if step.malformed == "json":
            await response.write(b'event: content_block_start\ndata: {"type": "content_bl\n\n')
            return
        if step.sse_error:
            fault = {"type": step.sse_error, "message": "scripted stream error"}
            await response.write(event("error", error=fault))
            return
        for index, block in enumerate(message["content"]):
            await self._block(request, response, block_events(index, block, step), step)
            if step.malformed == "truncated":
                return
        for piece in end_events(message):
            await response.write(piece)

    async def _block(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        events: list[bytes],
        step: Step,
    ) -> None:
        first, *deltas, last = events
        await response.write(first)
        for delta in deltas:
            if step.slow:
                await self._sleep(step.slow)
            await response.write(delta)
        # The cut comes inside of the first block, which stays open.
        await self._fault(request, step, "mid")
        await response.write(last)

    async def _ping(self, response: web.StreamResponse, step: Step) -> None:
        if step.pings is None:
            return
        end = self._clock() + (step.delay or _PING_TIME_S)
        while self._clock() < end:
            await self._sleep(step.pings)
            await response.write(event("ping"))

    async def _fault(self, request: web.BaseRequest, step: Step, place: Place) -> None:
        """Reset or hang, if the step wants it at this place.

        Raises:
            _Cut: it did.
        """
        if step.reset == place:
            _reset(request)
            raise _Cut
        if step.hang is not None and step.at == place:
            await self._hang(request, step.hang)
            raise _Cut

    async def _hang(self, request: web.BaseRequest, seconds: float) -> None:
        started, gone = self._clock(), True
        try:
            await self._sleep(seconds)
            gone = False
        finally:
            waited = round(self._clock() - started, 2)
            self._note({"ev": "hang over", "client_closed": gone, "seconds": waited})
        if request.transport is not None:
            request.transport.close()

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}{self._series}_{next(self._ids)}"


def _reset(request: web.BaseRequest) -> None:
    """Close with RST instead of FIN. A Unix socket has no RST: there it is a plain close."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
