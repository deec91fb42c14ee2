"""Whom the gateway talks to: the address of the Messages API, checked before anything is sent."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

PUBLIC_API = "https://api.anthropic.com"
UNIX_PREFIX = "unix:"


class InvalidUpstream(AgentError):
    """The upstream's address cannot be used. The message shows neither its user nor its query."""

    exit_code_of_command = 2

    def __init__(self, shown_url: str, reason: str) -> None:
        super().__init__(shown_url, reason)
        self.shown_url = shown_url
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"upstream {self.shown_url!r} {self.reason}; set ANTHROPIC_BASE_URL or "
            f"gateway.upstream to an address like {PUBLIC_API}"
        )


def find_upstream(env: Mapping[str, str]) -> str:
    """The address in `ANTHROPIC_BASE_URL`, or the public API.

    Raises:
        InvalidUpstream: the variable holds something else than an http:// or https:// address.
    """
    url = env.get("ANTHROPIC_BASE_URL", "").strip() or PUBLIC_API
    if url.startswith(UNIX_PREFIX):
        raise InvalidUpstream(url, "is no http:// or https:// address")
    return check_upstream(url)


def check_upstream(url: str) -> str:
    """The address without a slash at its end, when it can be used.

    Args:
        url: http:// or https://, a path in front of `/v1/messages` allowed; or `unix:PATH`,
            a server's Unix socket.

    Raises:
        InvalidUpstream: it cannot be used, with the reason.
    """
    if url.startswith(UNIX_PREFIX):
        if not url.removeprefix(UNIX_PREFIX).startswith("/"):
            raise InvalidUpstream(url, "names no absolute path")
        return url
    parts, shown = _split(url)
    reason = _fault(parts)
    if reason:
        raise InvalidUpstream(shown, reason)
    return url.rstrip("/")


def _split(url: str) -> tuple[SplitResult, str]:
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        raise InvalidUpstream(url.rpartition("@")[2], "has a malformed host or port") from None
    return parts, f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _fault(parts: SplitResult) -> str | None:
    if parts.scheme not in ("http", "https"):
        return "is no http:// or https:// address"
    if not parts.hostname or not parts.netloc.isascii() or " " in parts.netloc:
        return "names no host"
    if parts.username or parts.password:
        return "holds a user or a password, which belong into ANTHROPIC_API_KEY"
    if parts.query or parts.fragment:
        return "holds a query or a fragment"
    return None


def proxy_for(url: str, env: Mapping[str, str]) -> str | None:
    """The HTTP proxy through which this address is reached, or None.

    `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` count, in lower case first, as with
    curl. This machine itself is never reached through a proxy.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_local(host) or _is_excepted(host, _variable("no_proxy", env)):
        return None
    return _variable(f"{parts.scheme}_proxy", env) or _variable("all_proxy", env) or None


def _variable(name: str, env: Mapping[str, str]) -> str:
    return env.get(name) or env.get(name.upper(), "")


def _is_excepted(host: str, no_proxy: str) -> bool:
    names = [name.strip().lstrip("*").lstrip(".") for name in no_proxy.split(",") if name.strip()]
    return any(not name or host == name or host.endswith(f".{name}") for name in names)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
