"""One agent's way to the Messages API: the handler behind its socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from . import answers
from .accounts import InvalidWants, Wants
from .budget import OverBudget
from .counting import COUNT_TOKENS, count_tokens
from .exchange import Exchange
from .guarding import MAX_HEAD_BYTES, head_bytes
from .ledger_file import LedgerError
from .outward import ReachesOut, TooManyParts, plain_body
from .patience import Patience

if TYPE_CHECKING:
    from aiohttp import web

    from .desk import Desk

_log = logging.getLogger(__name__)

MESSAGES = "/v1/messages"
ALLOWED_PATHS = frozenset({MESSAGES, COUNT_TOKENS})
# The API itself takes 32 MB; the rest is room for what it may take one day.
MAX_BODY_BYTES = 40 << 20
# What one agent's requests may take of this process's memory, all at once.
MAX_HELD_BYTES = 80 << 20
# A container writes to a socket of this machine: it has no reason to be slower.
_BODY_S = 60.0


class _BadBody(Exception):
    """A body, or the head before it, cannot be taken."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__(answer)
        self.answer = answer


class AgentApp:
    """Passes one agent's requests on and its answers back. Runs in the gateway's loop.

    Args:
        agent_id: whose requests these are.
        desk: what they are served with.
        max_body_bytes: the largest request.
        max_held_bytes: the most that all its requests on their way may have.
        body_s: how long a request may take to arrive.
    """

    def __init__(
        self,
        agent_id: str,
        desk: Desk,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_held_bytes: int = MAX_HELD_BYTES,
        body_s: float = _BODY_S,
    ) -> None:
        self._agent_id = agent_id
        self._desk = desk
        self._max_body_bytes = max_body_bytes
        self._max_held_bytes = max_held_bytes
        self._body_s = body_s
        self._held_bytes = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.method != "POST" or request.path not in ALLOWED_PATHS:
            return answers.refused(request.method, request.path)
        try:
            body = await self._read(request)
            try:
                return await self._serve(request, _plain(body))
            finally:
                self._held_bytes -= len(body)
        except _BadBody as error:
            return error.answer
        except OverBudget as error:
            return answers.over_budget(error.message)
        except LedgerError as error:
            _log.error("%s", error)
            return answers.api_error(503, "api_error", str(error))

    async def _read(self, request: web.BaseRequest) -> bytes:
        """The whole body: it may have to be sent more than once. It counts as held from now on.

        Raises:
            _BadBody: it is too large or too slow, or takes too much room beside the others.
        """
        if head_bytes(request) > MAX_HEAD_BYTES:
            raise _BadBody(answers.head_too_large(MAX_HEAD_BYTES))
        if (request.content_length or 0) > self._max_body_bytes:
            raise _BadBody(answers.too_large(self._max_body_bytes))
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_s):
                async for piece in request.content.iter_any():
                    body += piece
                    self._held_bytes += len(piece)
                    self._check_room(len(body))
        except BaseException as error:
            self._held_bytes -= len(body)
            if isinstance(error, TimeoutError):
                raise _BadBody(answers.too_slow(self._body_s)) from None
            raise
        return bytes(body)

    def _check_room(self, size_bytes: int) -> None:
        if size_bytes > self._max_body_bytes:
            raise _BadBody(answers.too_large(self._max_body_bytes))
        if self._held_bytes > max(self._max_body_bytes, self._max_held_bytes):
            raise _BadBody(answers.too_much(self._max_held_bytes))

    async def _serve(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        desk = self._desk
        if request.path != MESSAGES:
            return await count_tokens(request, body, desk)
        await desk.accounts.be_sure(self._agent_id)
        wants = _wants(body)
        # Only a stream can be held with pings; anything else must end before the client gives up.
        hold_s = desk.max_wait_s if wants.stream else min(desk.max_wait_s, desk.head_s / 2)
        until = desk.gate.clock() + hold_s
        ask = desk.accounts.ask(self._agent_id, wants, len(body), until)
        async with contextlib.AsyncExitStack() as stack:
            patience = None
            if wants.stream:
                held = Patience(request, after_s=desk.patience_s, every_s=desk.ping_s)
                patience = await stack.enter_async_context(held)
            exchange = Exchange(request, body, wants, ask, desk, patience)
            try:
                return await exchange.run()
            finally:
                if exchange.sent:
                    desk.report(self._usage(exchange))

    def _usage(self, exchange: Exchange) -> dict[str, Any]:
        spent = exchange.spent
        return {
            "kind": "usage",
            "agent_id": self._agent_id,
            "task_id": exchange.ask.account.task_id,
            "requests": 1,
            **exchange.meter.totals().to_wire(),
            "dollars": None if spent.unpriced or spent.cut else spent.dollars,
            "status": exchange.status,
            "complete": exchange.meter.is_complete,
        }


def _plain(body: bytes) -> bytes:
    """See `plain_body`.

    Raises:
        _BadBody: it is not passed on.
    """
    try:
        return plain_body(body)
    except ReachesOut as error:
        raise _BadBody(answers.reaches_out(str(error))) from None
    except TooManyParts as error:
        raise _BadBody(answers.too_many_parts(str(error))) from None


def _wants(body: bytes) -> Wants:
    """See `Wants.of`.

    Raises:
        _BadBody: it is not passed on.
    """
    try:
        return Wants.of(body)
    except InvalidWants as error:
        raise _BadBody(answers.invalid(str(error))) from None
