"""The gateway's sockets: one for each agent, opened and closed while the others serve on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiohttp import web

from .app import AgentApp
from .guarding import GuardedServer
from .serving import close_runner
from .sockets import UnixListener

if TYPE_CHECKING:
    from .desk import Desk

# What still streams at the end is cut: whoever asked for it is stopped before the gateway.
_STOP_S = 0.5
# Claude Code keeps one connection for as long as it lives; who closes an idle one first makes
# the other's next request fail.
_IDLE_S = 24 * 3600.0
_MAX_HEADER_BYTES = 64 << 10


class Doors:
    """All open sockets of one gateway. Used in its loop only.

    Args:
        desk: what the requests are served with.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._open: dict[str, tuple[UnixListener, web.ServerRunner]] = {}

    @property
    def agents(self) -> list[str]:
        """Whose sockets are open."""
        return list(self._open)

    async def open(self, agent_id: str, socket_path: str) -> None:
        """Listen for that agent; an older socket of its is closed first.

        Raises:
            TransportError: no socket can be made at the path; the message says why.
        """
        await self.close(agent_id)
        app = AgentApp(agent_id, self._desk)
        listener = UnixListener(socket_path)
        try:
            runner = await _serve(listener, app)
        except BaseException:
            listener.close()
            raise
        self._open[agent_id] = (listener, runner)

    async def close(self, agent_id: str) -> None:
        """Stop listening for that agent, and cut what still streams to it."""
        if agent_id not in self._open:
            return
        listener, runner = self._open.pop(agent_id)
        # Nobody new comes in while the open streams are cut.
        listener.unlink()
        await close_runner(runner)
        listener.close()

    async def close_all(self) -> None:
        """Close every socket; takes no longer than closing one."""
        await asyncio.gather(*(self.close(agent_id) for agent_id in self.agents))


async def _serve(listener: UnixListener, app: AgentApp) -> web.ServerRunner:
    server = GuardedServer(
        app.handle,
        # An agent that hangs up ends the request: its answer costs money while it runs.
        handler_cancellation=True,
        auto_decompress=False,
        access_log=None,
        keepalive_timeout=_IDLE_S,
        max_field_size=_MAX_HEADER_BYTES,
        max_line_size=_MAX_HEADER_BYTES,
    )
    runner = web.ServerRunner(server, shutdown_timeout=_STOP_S)
    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.SockSite(runner, listener.sock).start()
        undo.pop_all()
    return runner
