"""All ways out of a fleet: their sockets, their limits, and the record of what went through."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from ..gateway.sockets import UnixListener
from .connect import MAX_HEAD_BYTES
from .proxy import EgressProxy, Limits, Passage
from .rules import AllowList, networks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .addresses import Address

_log = logging.getLogger(__name__)


class EgressDoors:
    """Used in the gateway's loop only.

    Args:
        plan: as `doors_args` writes it; empty for none.
        report: gets what to tell the root; must not block.
        wall: seconds since the epoch.
    """

    def __init__(
        self,
        plan: Mapping[str, Any],
        report: Callable[[dict[str, Any]], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._plan = plan
        self._report = report
        self._wall = wall
        self._open: list[tuple[UnixListener, asyncio.Server]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen on every socket.

        Raises:
            TransportError: one cannot be made.
        """
        if not self._plan:
            return
        limits = _limits(self._plan)
        for door in self._plan["doors"]:
            allowed = AllowList(door["setting"], door["allow"])
            proxy = EgressProxy(door["agent_id"], allowed, limits, self._note)
            await self._listen(door["socket_path"], proxy)

    async def close(self) -> None:
        """Stop listening and cut what is open."""
        for listener, server in self._open:
            listener.unlink()
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener, _ in self._open:
            listener.close()
        self._open.clear()

    async def _listen(self, path: str, proxy: EgressProxy) -> None:
        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(proxy.handle(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        listener = UnixListener(path)
        try:
            server = await asyncio.start_unix_server(
                begin, sock=listener.sock, limit=MAX_HEAD_BYTES
            )
        except BaseException:
            listener.close()
            raise
        self._open.append((listener, server))

    def _note(self, passage: Passage) -> None:
        """Write it down, and tell the root, whose status shows it."""
        row: dict[str, Any] = {
            "agent_id": passage.agent_id,
            "host": str(passage.host) if passage.host else None,
            "address": passage.address,
            "sent_bytes": passage.sent_bytes,
            "received_bytes": passage.received_bytes,
            "seconds": round(passage.seconds, 3),
            "refused": passage.refused,
        }
        self._report({"kind": "egress", **row})
        try:
            with Path(self._plan["log"]).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"at": self._wall(), **row}) + "\n")
        except OSError as error:
            _log.error("a connection is not written down: %s: %s", error, row)


def _limits(plan: Mapping[str, Any]) -> Limits:
    return Limits(
        named=networks(plan["allow_addresses"]),
        own=own_addresses(),
        max_connections=plan["max_connections"],
        max_bytes=plan["max_bytes"],
        max_s=plan["max_time_s"],
    )


def own_addresses() -> frozenset[Address]:
    """The addresses of this machine's interfaces."""
    found: set[Address] = set()
    for rows in psutil.net_if_addrs().values():
        for row in rows:
            try:
                found.add(ip_address(row.address.partition("%")[0]))
            except ValueError:
                continue  # a hardware address
    return frozenset(found)
