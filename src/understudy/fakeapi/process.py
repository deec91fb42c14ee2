"""The scripted model as a child process of a fleet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from understudy.actors.gateway.loop import stop_event
from understudy.fakeapi.server import FakeApi

if TYPE_CHECKING:
    from understudy.supervision import ChildContext


def main(context: ChildContext) -> None:
    """Serve until the supervisor asks for the end; `ready` tells the `url`.

    Args:
        context: `args` holds `unix` (a socket's path: the address stays the same over restarts), or
            `host` and `port` (0 picks a new one at every start); and `require_key` if one is.

    Raises:
        FakeApiError: the address cannot be used.
        TransportError: no socket can be made at the Unix path.
    """
    asyncio.run(_serve(context))


async def _serve(context: ChildContext) -> None:
    args = context.args
    stop = stop_event(context)
    api = FakeApi(require_key=args.get("require_key"))
    try:
        if unix := args.get("unix"):
            url = await api.start_unix(unix)
        else:
            url = await api.start_tcp(args.get("host", "127.0.0.1"), int(args.get("port", 0)))
        context.ready({"url": url})
        await stop.wait()
    finally:
        await api.close()
