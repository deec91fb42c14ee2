"""The one request that the way out understands: CONNECT host:port (RFC 9110 § 9.3.6)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from .rules import parse_host

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

    from .rules import Host

MAX_HEAD_BYTES = 16 << 10
_SAY_S = 5.0
_SHOWN_CHARS = 200


class Refused(Exception):
    """A connection is not let through.

    Attributes:
        status: of HTTP.
        reason: why, and which setting would allow it; one line of printable ASCII.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = "".join(c if " " <= c <= "~" else "?" for c in reason)[:_SHOWN_CHARS]


async def read_target(reader: StreamReader, timeout_s: float) -> Host:
    """The host that a client wants; its whole request is read.

    Raises:
        Refused: it is no such request, too large, or too slow.
        EOFError: the client went away.
    """
    try:
        async with asyncio.timeout(timeout_s):
            head = await reader.readuntil(b"\r\n\r\n")
    except TimeoutError:
        raise Refused(408, f"the request did not arrive within {timeout_s:g} s") from None
    except asyncio.LimitOverrunError:
        raise Refused(431, f"the request is over {MAX_HEAD_BYTES} bytes") from None
    words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 - RFC 9112 § 3
        raise Refused(400, "this is no request")
    if words[0] != "CONNECT":
        raise Refused(405, "only CONNECT passes: use https, plain http is not carried")
    try:
        return parse_host(words[1], port=None)
    except ValueError:
        raise Refused(400, f"{words[1]} is no host:port") from None


async def say(writer: StreamWriter, refused: Refused) -> None:
    """Tell the client. The reason stands in the first line, which pip and others show."""
    body = f"{refused.reason}\n".encode()
    head = (
        f"HTTP/1.1 {refused.status} {refused.reason}\r\ncontent-type: text/plain\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await flushed(writer)


async def flushed(writer: StreamWriter) -> None:
    """Close it once all that was written is on its way; an end that does not take it is left."""
    with contextlib.suppress(OSError):  # time-outs are among them
        async with asyncio.timeout(_SAY_S):
            writer.close()
            await writer.wait_closed()
