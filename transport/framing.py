"""Bytes into frames and back: four bytes of length, big-endian, then the body. No I/O here."""

from __future__ import annotations

import struct

from .errors import FrameTooLarge

DEFAULT_MAX_FRAME_BYTES = 64 << 20

_LENGTH = struct.Struct(">I")


def frame_header(body: bytes, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> bytes:
    """The four bytes that go before this body.

    Raises:
        FrameTooLarge: the body is over the limit; the other end would close the connection.
    """
    if len(body) > max_frame_bytes:
        raise FrameTooLarge(len(body), max_frame_bytes)
    return _LENGTH.pack(len(body))


class FrameReader:
    """Collects what a stream brings and gives out whole frames, however they were split.

    Used by one thread at a time. It never holds more than what was fed and not yet taken, and a
    length over the limit is refused before a single byte of that body is kept.
    """

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()

    @property
    def pending_bytes(self) -> int:
        """Bytes fed and not yet taken; more than 0 at the end of a stream is half a frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add the next bytes of the stream."""
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The body of the next whole frame, or None until more is fed.

        Raises:
            FrameTooLarge: the next frame is over the limit; the stream is of no more use.
        """
        if len(self._buffer) < _LENGTH.size:
            return None
        (size,) = _LENGTH.unpack_from(self._buffer)
        if size > self._max_frame_bytes:
            raise FrameTooLarge(size, self._max_frame_bytes)
        end = _LENGTH.size + size
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view:
            body = bytes(view[_LENGTH.size : end])
        del self._buffer[:end]
        return body
