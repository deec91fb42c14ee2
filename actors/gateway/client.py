"""The gateway's connections to the upstream, shared by all agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from .upstream import UNIX_PREFIX, check_upstream, proxy_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from typing import BinaryIO

_CONNECT_TIMEOUT_S = 10.0
# An answer may think for minutes before its first word; the API sends pings meanwhile.
_SILENCE_TIMEOUT_S = 600.0
_KEEP_ALIVE_S = 30.0


class UpstreamClient:
    """Sends requests to one upstream. Made and used in the gateway's loop.

    Args:
        url: the upstream, as `check_upstream` takes it.
        env: where proxies are named.
        connect_timeout_s: until the connection stands.
        silence_timeout_s: between two pieces of an answer, and before the first.

    Raises:
        InvalidUpstream: the address cannot be used.
    """

    def __init__(
        self,
        url: str,
        env: Mapping[str, str],
        *,
        connect_timeout_s: float = _CONNECT_TIMEOUT_S,
        silence_timeout_s: float = _SILENCE_TIMEOUT_S,
    ) -> None:
        url = check_upstream(url)
        is_unix = url.startswith(UNIX_PREFIX)
        self.shown = url
        self._base = "http://localhost" if is_unix else url
        self._proxy = None if is_unix else proxy_for(url, env)
        connector: aiohttp.BaseConnector
        if is_unix:
            path = url.removeprefix(UNIX_PREFIX)
            connector = aiohttp.UnixConnector(path, limit=0, keepalive_timeout=_KEEP_ALIVE_S)
        else:
            # No limit: waiting for a free connection would be a hidden rate limit.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
        self._session = aiohttp.ClientSession(
            connector=connector,
            # One agent's cookies are no other agent's business.
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=connect_timeout_s, sock_read=silence_timeout_s
            ),
        )

    def post(
        self, path: str, query: str, headers: Mapping[str, str], body: BinaryIO
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """A request on its way; entering gives the answer's head, leaving ends it.

        Raises (on entering, and while the answer is read):
            TimeoutError: the upstream kept silent.
            aiohttp.ClientError: anything else that went wrong on the way.
        """
        target = self._base + path + (f"?{query}" if query else "")
        return self._session.post(
            URL(target, encoded=True),
            headers=dict(headers),
            data=body,
            allow_redirects=False,
            proxy=self._proxy,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
