"""What the gateway itself answers, in the shape of the API's own errors."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from .gate import NoTurn


def api_error(status: int, kind: str, message: str) -> web.Response:
    """An error as the Messages API would send it.

    Args:
        status: of HTTP.
        kind: one of the API's words, such as `api_error` or `permission_error`.
        message: for the one who reads the agent's log. It holds no secret.
    """
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/json"
    )


def refused(method: str, path: str) -> web.Response:
    """The answer to what an agent has no need of."""
    if path == "/":
        # Claude Code asks `HEAD /` once at its start, and is content with any answer.
        return api_error(404, "not_found_error", "nothing is here but the Messages API")
    text = f"{method} {path[:200]} is not allowed: agents may only POST to /v1/messages"
    return api_error(403, "permission_error", text)


def reaches_out(what: str) -> web.Response:
    """The answer to a request that would have the API reach out: 403, which is not tried again."""
    return api_error(403, "permission_error", f"the gateway does not pass this on: {what}")


def too_large(limit_bytes: int) -> web.Response:
    """The answer to a body over the limit."""
    text = f"the request is over the gateway's limit of {limit_bytes} bytes"
    return api_error(413, "request_too_large", text)


def too_many_parts(what: str) -> web.Response:
    """The answer to a body that would take too long to read."""
    return api_error(413, "request_too_large", f"the gateway does not read this request: {what}")


def invalid(what: str) -> web.Response:
    """The answer to a request with a field of a wrong type, as the API would give it."""
    return api_error(400, "invalid_request_error", f"the gateway does not pass this on: {what}")


def head_too_large(limit_bytes: int) -> web.Response:
    """The answer to a head over the limit."""
    text = f"the head of the request is over the gateway's limit of {limit_bytes} bytes"
    return api_error(431, "invalid_request_error", text)


def too_slow(limit_s: float) -> web.Response:
    """The answer to a body that does not arrive."""
    text = f"the request did not arrive within the gateway's limit of {limit_s:g} s"
    return api_error(408, "timeout_error", text)


def too_much(limit_bytes: int) -> web.Response:
    """The answer when an agent's requests together take too much room: it may try again."""
    text = f"this agent's requests take more than {limit_bytes} bytes at once"
    return api_error(529, "overloaded_error", text)


def over_budget(message: str) -> web.Response:
    """The answer when a budget is used up: 402, which Claude Code does not try again."""
    return api_error(402, "billing_error", message)


def denied(message: str) -> web.Response:
    """The answer when the API rejects the key: 403, for Claude Code tries a 401 again."""
    return api_error(403, "permission_error", message)


def no_turn(error: NoTurn) -> web.Response:
    """The answer to a request that did not get its turn in time."""
    match error.why:
        case "denied":
            return denied(error.message)
        case "overloaded":
            answer = api_error(529, "overloaded_error", error.message)
        case "api_down":
            answer = api_error(503, "api_error", error.message)
        case _:
            answer = api_error(429, "rate_limit_error", error.message)
    if error.retry_after_s is not None:
        answer.headers["retry-after"] = str(math.ceil(error.retry_after_s))
    return answer


def unreachable(upstream: str, reason: str) -> web.Response:
    """The answer when the upstream refuses, resets or cannot be found."""
    return api_error(502, "api_error", f"the gateway cannot reach {upstream}: {reason}")


def timed_out(upstream: str) -> web.Response:
    """The answer when the upstream keeps silent."""
    return api_error(504, "timeout_error", f"{upstream} did not answer the gateway in time")


def redirected(upstream: str, status: int) -> web.Response:
    """The answer to a redirect, which is never followed: it could take the key elsewhere."""
    text = f"{upstream} answers with a redirect ({status}); set its final address as the upstream"
    return api_error(502, "api_error", text)
