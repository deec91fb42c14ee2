"""The far end of the way out: a CONNECT proxy on an agent's socket. Runs in the gateway's loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from .connect import Refused, flushed, read_target, say
from .resolve import open_to

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Callable, Collection

    from .addresses import Address, Network
    from .rules import AllowList, Host

_HEAD_S = 10.0
_CONNECT_S = 15.0
_CHUNK_BYTES = 64 << 10


@dataclass(frozen=True)
class Limits:
    """What holds for every agent's way out.

    Attributes:
        named: addresses that a name may lead to beside public ones.
        own: this machine's addresses.
        max_connections: at once, for one agent; as many more are told that it is too many.
        max_bytes: of one connection, both ways together.
        max_s: how long one connection may last.
        idle_s: how long one may be silent.
        head_s: how long a request may take to arrive.
        refusal_s: how long a refusal is kept back.
    """

    named: Collection[Network] = ()
    own: Collection[Address] = ()
    max_connections: int = 32
    max_bytes: int = 10**9
    max_s: float = 600.0
    idle_s: float = 120.0
    head_s: float = _HEAD_S
    refusal_s: float = 0.5


@dataclass
class Passage:
    """One connection, or one that was refused.

    Attributes:
        agent_id: whose it is.
        host: whom it wanted, or None when it did not say.
        refused: why it was not let through, or was cut; None when it was ended by its ends.
        address: where it went.
        sent_bytes, received_bytes: what the agent sent and got.
        seconds: how long it lasted.
    """

    agent_id: str
    host: Host | None = None
    refused: str | None = None
    address: str | None = None
    sent_bytes: int = 0
    received_bytes: int = 0
    seconds: float = 0.0
    started_s: float = field(default_factory=time.monotonic)


class EgressProxy:
    """Takes one agent's connections to the hosts that it may reach.

    Args:
        agent_id: whose they are.
        allowed: the hosts.
        limits: what holds for all.
        report: gets each passage once it is over; must not block.
    """

    def __init__(
        self,
        agent_id: str,
        allowed: AllowList,
        limits: Limits,
        report: Callable[[Passage], None],
    ) -> None:
        self._agent_id = agent_id
        self._allowed = allowed
        self._limits = limits
        self._report = report
        self._open = 0

    async def handle(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection to its end."""
        if self._open >= 2 * self._limits.max_connections:
            # So many are open and as many are told why not: more would only fill this process.
            writer.transport.abort()
            return
        passage = Passage(self._agent_id)
        self._open += 1
        clock = asyncio.timeout(self._limits.max_s)
        try:
            async with clock:
                await self._serve(reader, writer, passage)
        except Refused as error:
            passage.refused = error.reason
            # Whoever asks for the same again and again does not fill the log.
            await asyncio.sleep(self._limits.refusal_s)
            await say(writer, error)
        except (OSError, EOFError):
            # An end that went away in the middle is how connections end; a limit is another matter.
            if clock.expired():
                passage.refused = f"cut after egress.max_time ({self._limits.max_s:g} s)"
        finally:
            self._open -= 1
            writer.transport.abort()
            passage.seconds = time.monotonic() - passage.started_s
            self._report(passage)

    async def _serve(self, reader: StreamReader, writer: StreamWriter, passage: Passage) -> None:
        limits = self._limits
        if self._open > limits.max_connections:
            text = f"more than egress.max_connections ({limits.max_connections}) at once"
            raise Refused(503, text)
        passage.host = host = await read_target(reader, limits.head_s)
        # Before its name is looked up: a question to a name server is a message, too.
        if (why := self._allowed.why_not(host)) is not None:
            raise Refused(403, why)
        far_reader, far_writer = await open_to(host, limits.named, limits.own, _CONNECT_S)
        try:
            passage.address = str(far_writer.get_extra_info("peername")[0])
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await self._carry((reader, writer), (far_reader, far_writer), passage)
        finally:
            far_writer.transport.abort()

    async def _carry(
        self,
        near: tuple[StreamReader, StreamWriter],
        far: tuple[StreamReader, StreamWriter],
        passage: Passage,
    ) -> None:
        """Pass bytes both ways until both ends have said all.

        Raises:
            OSError: an end went away, or a limit is reached.
        """
        counter = _Counter(passage, self._limits.max_bytes)
        both = asyncio.gather(
            _pump(near[0], far[1], partial(counter.add, sent=True)),
            _pump(far[0], near[1], partial(counter.add, sent=False)),
        )
        watch = asyncio.ensure_future(counter.watch(self._limits.idle_s))
        try:
            waits: set[asyncio.Future[Any]] = {both, watch}
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            both.cancel()
            watch.cancel()
            await asyncio.gather(both, watch, return_exceptions=True)
        for writer in (near[1], far[1]):
            await flushed(writer)


class _Counter:
    """Counts what passes, and ends it when it is too much or nothing at all."""

    def __init__(self, passage: Passage, max_bytes: int) -> None:
        self._passage = passage
        self._max_bytes = max_bytes
        self._moved = False

    def add(self, size_bytes: int, *, sent: bool) -> None:
        passage = self._passage
        self._moved = True
        if sent:
            passage.sent_bytes += size_bytes
        else:
            passage.received_bytes += size_bytes
        if passage.sent_bytes + passage.received_bytes > self._max_bytes:
            passage.refused = f"cut after egress.max_bytes ({self._max_bytes})"
            raise _Cut

    async def watch(self, idle_s: float) -> None:
        while True:
            self._moved = False
            await asyncio.sleep(idle_s)
            if not self._moved:
                self._passage.refused = f"cut after {idle_s:g} s of silence"
                raise _Cut


class _Cut(OSError):
    """A limit is reached."""


async def _pump(reader: StreamReader, writer: StreamWriter, count: Callable[[int], None]) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        count(len(data))
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):  # the other direction tells
        writer.write_eof()
