"""The words between a parent and its child, over the socket that is also the child's lifeline.

Parent to child: `start` (always the first), `stop`, `ping`.
Child to parent: `ready`, `pong`, `spent` (an amount, for its budget), `failed` (why it is about to
end), `bye` (with its exit code).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.transport.codec import decode, encode
from understudy.transport.framing import FrameReader, frame_header

if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_CRASH = 1
"""The exit code of a child that failed; another start may succeed."""
EXIT_PERMANENT = 70
"""The exit code that says: starting me again is no use."""
EXIT_ORPHANED = 71
"""The exit code of a child whose parent was gone, or closed its lifeline."""

READ_BYTES = 64 << 10


def pack(record: Mapping[str, Any]) -> bytes:
    """One record as the bytes of one frame.

    Raises:
        EncodeError: it holds what msgpack cannot say.
    """
    body = encode([record])
    return frame_header(body) + body


class ControlReader:
    """Takes what the socket brings, gives whole records. For one thread at a time."""

    def __init__(self) -> None:
        self._frames = FrameReader()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The records that these bytes complete.

        Raises:
            DecodeError, FrameTooLarge: the other side does not speak this protocol.
        """
        self._frames.feed(data)
        records: list[dict[str, Any]] = []
        while (body := self._frames.next_frame()) is not None:
            records += decode(body)
        return records
