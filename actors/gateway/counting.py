"""Counting tokens: it is free, has a limit of its own at the API, and is tried once."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from . import answers
from .headers import answer_headers, request_headers

if TYPE_CHECKING:
    from .desk import Desk

COUNT_TOKENS = "/v1/messages/count_tokens"
_REDIRECTS = range(300, 400)
_MAX_ANSWER_BYTES = 64 << 10


async def count_tokens(request: web.BaseRequest, body: bytes, desk: Desk) -> web.StreamResponse:
    """Pass such a request on, and its answer back."""
    headers = request_headers(request.headers, desk.source.current)
    headers["content-length"] = str(len(body))
    query = request.rel_url.raw_query_string
    try:
        async with desk.upstream.post(COUNT_TOKENS, query, headers, io.BytesIO(body)) as answer:
            if answer.status in _REDIRECTS:
                return answers.redirected(desk.upstream.shown, answer.status)
            text = await answer.content.read(_MAX_ANSWER_BYTES)
            head = answer_headers(answer.headers.items())
            kept = [(name, value) for name, value in head if name.lower() != "content-length"]
            return web.Response(status=answer.status, body=text, headers=kept)
    except TimeoutError:
        return answers.timed_out(desk.upstream.shown)
    except aiohttp.ClientError as error:
        return answers.unreachable(desk.upstream.shown, type(error).__name__)
