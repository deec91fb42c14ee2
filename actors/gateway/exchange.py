"""One request of an agent through all its tries, until an answer can be passed on."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from . import answers
from .budget import OverBudget
from .gate import TRANSIENT, NoTurn
from .headers import answer_headers, request_headers
from .ledger import Spent
from .limits import Cost
from .patience import say_error
from .usage import UsageMeter

if TYPE_CHECKING:
    from .accounts import Entry, Wants
    from .credentials import Credentials
    from .desk import Desk
    from .gate import Ask
    from .limits import Permit
    from .patience import Patience

_log = logging.getLogger(__name__)

_REDIRECTS = range(300, 400)
_OK, _UNAUTHORIZED = 200, 401
_MAX_JSON_BYTES = 8 << 20
_MAX_ERROR_BYTES = 64 << 10


@dataclass
class Exchange:
    """One request. Runs once, in the loop.

    Attributes:
        request: the agent's.
        body: its body, whole: it may have to be sent again.
        wants: what the body asks for.
        ask: the request as the gate takes it.
        desk: what it is served with.
        patience: what keeps the client waiting; None when it cannot be.
        meter: reads the present answer.
        status: of the answer, in the end the one that the agent sees.
        spent: what the last try made.
        sent: how often it left for the API.
    """

    request: web.BaseRequest
    body: bytes
    wants: Wants
    ask: Ask
    desk: Desk
    patience: Patience | None
    meter: UsageMeter = field(default_factory=UsageMeter)
    status: int | None = None
    spent: Spent = field(default_factory=Spent)
    sent: int = 0
    _started: web.StreamResponse | None = None
    _is_noted: bool = False

    async def run(self) -> web.StreamResponse:
        """The answer, passed on to the agent already."""
        while True:
            try:
                permit = await self.desk.gate.enter(self.ask)
            except OverBudget as error:
                return await self._end(answers.over_budget(error.message))
            except NoTurn as error:
                if error.why == "denied" and await self._is_renewed(self.desk.source.current):
                    continue
                return await self._end(answers.no_turn(error))
            answer = await self._on_the_books(permit)
            if answer is not None:
                return answer

    async def _on_the_books(self, permit: Permit) -> web.StreamResponse | None:
        """One try: the answer, or None when there may be another."""
        gate, accounts = self.desk.gate, self.desk.accounts
        self.meter, self.status, self._is_noted = UsageMeter(), None, False
        try:
            entry = accounts.begin(self.ask, self.wants)
        except BaseException:
            gate.never_sent(permit, self.ask)
            raise
        self.sent += 1
        # What it counts as if the books cannot be written.
        self.spent = replace(self.ask.most, cut=1)
        try:
            return await self._try(permit, entry)
        finally:
            try:
                if not self._is_noted:
                    # Also when the agent hung up: the API may have worked to the end.
                    is_whole = self.status is not None and self.status != _OK
                    self._note(entry, "done" if is_whole else "cut")
            finally:
                gate.settle(permit, self.ask, entry.asked_at, self.spent)

    async def _try(self, permit: Permit, entry: Entry) -> web.StreamResponse | None:
        desk, used = self.desk, self.desk.source.current
        headers = request_headers(self.request.headers, used)
        headers["content-length"] = str(len(self.body))
        head_s = desk.head_s if self.wants.stream else None
        try:
            async with contextlib.AsyncExitStack() as stack:
                # The path is one of ours, not the client's bytes: nothing hides in its spelling.
                query = self.request.rel_url.raw_query_string
                # As a file, so that aiohttp writes a large one piece by piece.
                body = io.BytesIO(self.body)
                post = desk.upstream.post(self.request.path, query, headers, body)
                async with asyncio.timeout(head_s):
                    answer = await stack.enter_async_context(post)
                self.status = answer.status
                desk.gate.answered(permit, self.ask, answer.status, answer.headers)
                # A 403 may be about one model or one feature: it is the asker's alone.
                if answer.status == _UNAUTHORIZED:
                    return await self._denied(answer, used)
                if answer.status in TRANSIENT and self._may_wait():
                    return None
                return await self._pass_on(answer, permit, entry)
        except (TimeoutError, aiohttp.ClientError) as error:
            return await self._failed(error, permit, entry)

    async def _pass_on(
        self, answer: aiohttp.ClientResponse, permit: Permit, entry: Entry
    ) -> web.StreamResponse:
        if answer.status in _REDIRECTS:
            return await self._end(answers.redirected(self.desk.upstream.shown, answer.status))
        begun = await self.patience.end() if self.patience else None
        if begun is not None and answer.status != _OK:
            return await say_error(begun, await _as_error(answer))
        response = begun or _head(answer)
        self._started = response
        if begun is None:
            await response.prepare(self.request)
        if answer.content_type == "application/json":
            await self._whole(answer, response, permit, entry)
        else:
            await self._stream(answer, response, permit, entry)
        await response.write_eof()
        return response

    async def _stream(
        self,
        answer: aiohttp.ClientResponse,
        response: web.StreamResponse,
        permit: Permit,
        entry: Entry,
    ) -> None:
        is_begun = False
        async for piece in answer.content.iter_any():
            self.meter.feed(piece)
            if self.meter.is_complete and not self._is_noted:
                self._measured(permit, entry)
            elif not is_begun and self.meter.totals().model is not None:
                # Its input is known, and will be paid for whatever happens next.
                is_begun = True
                self._note(entry, "open")
            await self._write(response, piece)

    async def _whole(
        self,
        answer: aiohttp.ClientResponse,
        response: web.StreamResponse,
        permit: Permit,
        entry: Entry,
    ) -> None:
        """Pass on an answer that is no stream; its last piece only once it is on the books."""
        body = bytearray()
        last = b""
        async for piece in answer.content.iter_any():
            if len(body) <= _MAX_JSON_BYTES:
                body += piece
            if last:
                await self._write(response, last)
            last = piece
        self.meter.feed_json(bytes(body))
        self._measured(permit, entry)
        await self._write(response, last)

    async def _write(self, response: web.StreamResponse, piece: bytes) -> None:
        # Who reads nothing would hold what is reserved of the fleet's budget for ever.
        async with asyncio.timeout(self.desk.unread_s):
            await response.write(piece)

    def _measured(self, permit: Permit, entry: Entry) -> None:
        """The answer is whole: its cost is known and written down."""
        self._note(entry, "done")
        if self.status == _OK:
            usage = self.meter.totals()
            paid_for = usage.input_tokens + usage.cache_creation_input_tokens
            self.desk.gate.measured(permit, self.ask, Cost(paid_for, usage.output_tokens))

    def _note(self, entry: Entry, state: str) -> None:
        spent = self.desk.accounts.note(entry, self.meter.totals(), self.status, state)
        self.spent, self._is_noted = spent, state != "open"

    # -- when it fails ------------------------------------------------------------------------

    def _may_wait(self) -> bool:
        return self.ask.not_before < self.ask.until

    async def _failed(
        self, error: Exception, permit: Permit, entry: Entry
    ) -> web.StreamResponse | None:
        """Another try, or the answer when the API failed; one that had begun is cut, not ended."""
        shown = self.desk.upstream.shown
        _log.info("%s: %s: %r", self.ask.account.agent_id, shown, error)
        if self._started is not None:
            # Without the last chunk the client sees that something is missing.
            if self.request.transport is not None:
                self.request.transport.close()
            return self._started
        if self.status is None and (
            not isinstance(error, TimeoutError) or isinstance(error, aiohttp.ConnectionTimeoutError)
        ):
            # Out of reach, or closed without a word, as good as an error: nothing is charged.
            self._note(entry, "failed")
        self.desk.gate.unreached(permit, self.ask)
        if self._may_wait():
            return None
        if isinstance(error, TimeoutError):
            answer = answers.timed_out(shown)
        else:
            answer = answers.unreachable(shown, _reason(error))
        return await self._end(answer)

    async def _denied(
        self, answer: aiohttp.ClientResponse, used: Credentials
    ) -> web.StreamResponse | None:
        """The API rejects the key: try another one if there is, else tell everybody."""
        if await self._is_renewed(used):
            return None
        _, said = _error_of(await answer.content.read(_MAX_ERROR_BYTES))
        text = f"the API rejects the key ({answer.status}): {said}"
        problem = self.desk.source.problem
        self.desk.gate.deny(f"{text}; {problem}" if problem else text)
        return await self._end(answers.denied(text))

    async def _is_renewed(self, rejected: Credentials) -> bool:
        if not await self.desk.source.renew(rejected):
            return False
        self.desk.gate.mend()
        return True

    async def _end(self, answer: web.Response) -> web.StreamResponse:
        """Answer with an error of the gateway's own."""
        if self.status is None or self.status in TRANSIENT:
            self.status = answer.status
        begun = await self.patience.end() if self.patience else None
        return answer if begun is None else await say_error(begun, answer)


def _head(answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    response.headers.extend(answer_headers(answer.headers.items()))
    return response


async def _as_error(answer: aiohttp.ClientResponse) -> web.Response:
    """The API's own error; where it is none by its form, what is known of it."""
    body = await answer.content.read(_MAX_ERROR_BYTES)
    kind, said = _error_of(body)
    return answers.api_error(answer.status, kind, f"{answer.status}: {said}")


def _error_of(body: bytes) -> tuple[str, str]:
    """The kind of an error of the API, and what it says in few words."""
    try:
        error = json.loads(body)["error"]
        return str(error["type"]), str(error["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return "api_error", "no reason given"


def _reason(error: Exception) -> str:
    """The cause in few words: aiohttp's own text repeats the address."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or type(error.os_error).__name__
    return str(error) or type(error).__name__
