"""What may pass in the head of a request and of an answer. Pure functions over names and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .credentials import Credentials

# What Claude Code sends (2.1.197 and 2.1.332), less the key. Anything else a container says stays
# here: a header that the API or a proxy before it understands could otherwise change who pays or
# where it goes.
_REQUEST_NAMES = frozenset({
    "accept",
    "accept-language",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "anthropic-version",
    "content-encoding",
    "content-type",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-app",
    "x-client-request-id",
})  # fmt: skip
# Of itself it tells more with each release. These change nothing of what the API does; headers of
# `anthropic-` may, so they have to be named.
_REQUEST_PREFIXES = ("x-claude-code-", "x-stainless-")

# Hop-by-hop (RFC 9110 § 7.6.1), and what is about the gateway's own connection or account.
_ANSWER_DROPPED = frozenset({
    "alt-svc",
    "anthropic-organization-id",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
})  # fmt: skip


def request_headers(client: Mapping[str, str], credentials: Credentials) -> dict[str, str]:
    """The head that goes to the API: what is allowed of the client's, and the real key.

    Answers are asked for uncompressed: the tokens in them are counted as they pass.
    """
    headers = {name.lower(): value for name, value in client.items() if _may_pass_up(name.lower())}
    if credentials.betas:
        headers["anthropic-beta"] = _merged(headers.get("anthropic-beta", ""), credentials.betas)
    headers["accept-encoding"] = "identity"
    headers.update(credentials.headers)
    return headers


def answer_headers(upstream: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The head that goes back to the agent; a name may come more than once."""
    pairs = list(upstream)
    named = {
        word.strip().lower()
        for name, value in pairs
        if name.lower() == "connection"
        for word in value.split(",")
    }
    return [
        (name, value)
        for name, value in pairs
        if name.lower() not in _ANSWER_DROPPED and name.lower() not in named
    ]


def _may_pass_up(name: str) -> bool:
    return name in _REQUEST_NAMES or name.startswith(_REQUEST_PREFIXES)


def _merged(words: str, more: Iterable[str]) -> str:
    present = [word.strip() for word in words.split(",") if word.strip()]
    return ",".join(dict.fromkeys([*present, *more]))
