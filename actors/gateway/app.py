"""One agent's way to the Messages API: the handler behind its socket."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from . import answers
from .headers import answer_headers, request_headers
from .usage import UsageMeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .client import UpstreamClient
    from .credentials import Credentials

_log = logging.getLogger(__name__)

MESSAGES = "/v1/messages"
ALLOWED_PATHS = frozenset({MESSAGES, "/v1/messages/count_tokens"})
# The API itself takes 32 MB; the rest is room for what it may take one day.
MAX_BODY_BYTES = 40 << 20
_MAX_JSON_BYTES = 8 << 20
_REDIRECTS = range(300, 400)


@dataclass
class _Exchange:
    """One request and its answer, for the report at its end."""

    meter: UsageMeter = field(default_factory=UsageMeter)
    status: int | None = None
    started: web.StreamResponse | None = None
    body_bytes: int = 0


class AgentApp:
    """Passes one agent's requests on and its answers back. Runs in the gateway's loop.

    Args:
        agent_id: whose requests these are.
        upstream: whom they go to.
        credentials: put in, in place of whatever the agent sent.
        report: called with the usage after each answer to `/v1/messages`, in the loop; must
            not block.
        max_body_bytes: the largest request.
    """

    def __init__(
        self,
        agent_id: str,
        upstream: UpstreamClient,
        credentials: Credentials,
        report: Callable[[dict[str, Any]], None],
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._agent_id = agent_id
        self._upstream = upstream
        self._credentials = credentials
        self._report = report
        self._max_body_bytes = max_body_bytes

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.method != "POST" or request.path not in ALLOWED_PATHS:
            return answers.refused(request.method, request.path)
        if (request.content_length or 0) > self._max_body_bytes:
            return answers.too_large(self._max_body_bytes)
        exchange = _Exchange()
        try:
            answer = await self._forward(request, exchange)
        except (TimeoutError, aiohttp.ClientError) as error:
            answer = self._failed(request, exchange, error)
        finally:
            # Also when the agent hung up: what was told until then is spent.
            if exchange.status is not None and request.path == MESSAGES:
                self._report(self._usage(exchange))
        return answer

    async def _forward(self, request: web.BaseRequest, exchange: _Exchange) -> web.StreamResponse:
        headers = request_headers(request.headers, self._credentials)
        if request.content_length is not None:
            headers["content-length"] = str(request.content_length)
        body = self._body(request, exchange) if request.can_read_body else b""
        # The path is one of ours, not the client's bytes: nothing can hide in its spelling.
        async with self._upstream.post(
            request.path, request.rel_url.raw_query_string, headers, body
        ) as answer:
            exchange.status = answer.status
            if answer.status in _REDIRECTS:
                return answers.redirected(self._upstream.shown, answer.status)
            return await _pass_on(request, answer, exchange)

    async def _body(self, request: web.BaseRequest, exchange: _Exchange) -> AsyncIterator[bytes]:
        async for piece in request.content.iter_any():
            exchange.body_bytes += len(piece)
            if exchange.body_bytes > self._max_body_bytes:
                raise ValueError("the body is over the limit")
            yield piece

    def _failed(
        self, request: web.BaseRequest, exchange: _Exchange, error: Exception
    ) -> web.StreamResponse:
        """The answer when the upstream failed; an answer that had begun is cut, not ended."""
        shown = self._upstream.shown
        _log.info("%s: %s: %r", self._agent_id, shown, error)
        if exchange.started is not None:
            # Without the last chunk the client sees that something is missing.
            if request.transport is not None:
                request.transport.close()
            return exchange.started
        if exchange.body_bytes > self._max_body_bytes:
            return answers.too_large(self._max_body_bytes)
        if isinstance(error, TimeoutError):
            answer = answers.timed_out(shown)
        else:
            answer = answers.unreachable(shown, _reason(error))
        exchange.status = answer.status
        return answer

    def _usage(self, exchange: _Exchange) -> dict[str, Any]:
        return {
            "kind": "usage",
            "agent_id": self._agent_id,
            "requests": 1,
            **exchange.meter.totals().to_wire(),
            "status": exchange.status,
            "complete": exchange.meter.is_complete,
        }


async def _pass_on(
    request: web.BaseRequest, answer: aiohttp.ClientResponse, exchange: _Exchange
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    response.headers.extend(answer_headers(answer.headers.items()))
    exchange.started = response
    await response.prepare(request)
    whole: bytearray | None = bytearray() if answer.content_type == "application/json" else None
    async for piece in answer.content.iter_any():
        if whole is None:
            exchange.meter.feed(piece)
        elif len(whole) <= _MAX_JSON_BYTES:
            whole += piece
        await response.write(piece)
    if whole is not None:
        exchange.meter.feed_json(bytes(whole))
    await response.write_eof()
    return response


def _reason(error: Exception) -> str:
    """The cause in few words: aiohttp's own text repeats the address."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or type(error.os_error).__name__
    return str(error) or type(error).__name__
