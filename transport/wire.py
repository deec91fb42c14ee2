"""What actors' nodes say to each other, in bytes.

A frame is four bytes of length, big-endian, and a msgpack array of records; a record is an array
that begins with its kind. docs/protocol.md lists the kinds and their fields.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgpack
import msgspec

from .errors import EncodeError, FrameTooLarge

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1

TELL = 0
ASK = 1
REPLY = 2
ERROR = 3
CREDIT = 4
STOP = 5
DOWN = 6
UP = 7
HELLO = 8
BYE = 9
CAST = 10
CALL = 11
HELD = 12

RAW = 0
PROXY_CALL = 1
PROXY_GET = 2
PROXY_SET = 3

EXT_REF = 1
"""The extension type of an actor's address."""

CodecName = Literal["msgspec", "msgpack"]

LENGTH = struct.Struct(">I")
HEAD = struct.Struct(">IBI")
ARRAY_32 = 0xDD
HEAD_BYTES = HEAD.size - LENGTH.size
BUFFER_BYTES = 256 << 10
_KEPT_BYTES = 2 << 20
"""Memory of a large body up to this size serves the next one too: taking new memory and clearing it
was an eighth of what it costs to receive 1 MiB."""


ToExt = Callable[[object], "tuple[int, bytes] | None"]
FromExt = Callable[[int, bytes], Any]


class Codec(NamedTuple):
    """msgpack in and out; all ways may be called from any thread, unless `needs_lock`.

    Attributes:
        decode_odd: for what `decode` cannot take, and the other package can: msgspec no nest that
            is deeper than the reader's stack has room for, msgpack no array as the key of a map.
    """

    name: CodecName
    encode: Callable[[Any], bytes]
    decode: Callable[[Any], Any]
    decode_odd: Callable[[Any], Any]


def make_codec(name: CodecName, to_ext: ToExt, from_ext: FromExt) -> Codec:
    """A codec of one link.

    Both write the same bytes. msgspec takes half the time (0.25 us to write and 0.6 us to read a
    message of 400 bytes, msgpack 0.5 and 1.2), and is what a node takes unless told otherwise.

    Args:
        name: whose code does it.
        to_ext: extension type and bytes of an object that is no plain data; None when it has none.
        from_ext: the object of an extension type and bytes.
    """
    encode, decode = _msgspec(to_ext, from_ext)
    decode_too = _msgpack_decoder(from_ext)
    if name == "msgspec":
        return Codec(name, encode, decode, decode_too)
    return Codec(name, _msgpack_encoder(encode), decode_too, decode)


def _msgspec(
    to_ext: ToExt, from_ext: FromExt
) -> tuple[Callable[[Any], bytes], Callable[[Any], Any]]:
    def enc_hook(thing: object) -> object:
        ext = to_ext(thing)
        if ext is None:
            raise TypeError(f"{type(thing).__name__} is no plain data")
        return msgspec.msgpack.Ext(*ext)

    def ext_hook(code: int, data: memoryview) -> Any:
        return from_ext(code, bytes(data))

    encoder = msgspec.msgpack.Encoder(enc_hook=enc_hook)
    return encoder.encode, msgspec.msgpack.Decoder(ext_hook=ext_hook).decode


def _msgpack_encoder(encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def default(thing: object) -> object:
        # msgspec knows more types (sets, dataclasses, times): they look the same on the wire.
        return msgpack.unpackb(encode(thing), strict_map_key=False)

    # One packer for a link: its owner's lock is held while it packs.
    return msgpack.Packer(use_bin_type=True, default=default).pack


def _msgpack_decoder(from_ext: FromExt) -> Callable[[Any], Any]:
    def decode(body: bytes) -> Any:
        # 3 is for times as `datetime`, as msgspec has them.
        return msgpack.unpackb(
            body, raw=False, strict_map_key=False, ext_hook=from_ext, timestamp=3
        )

    return decode


def encode(codec: Codec, record: tuple[Any, ...], limit_bytes: int) -> bytes:
    """One record's bytes.

    Raises:
        EncodeError: it holds something msgpack cannot say, or is nested too deep.
        FrameTooLarge: it is over the limit.
    """
    try:
        data = codec.encode(record)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EncodeError(str(error) or type(error).__name__) from error
    if len(data) > limit_bytes:
        raise FrameTooLarge(len(data), limit_bytes)
    return data


def frame_head(count: int, size_bytes: int) -> bytes:
    """What goes before `count` encoded records of `size_bytes` together."""
    return HEAD.pack(size_bytes + HEAD_BYTES, ARRAY_32, count)


class FrameBuffer:
    """Takes a stream in any split, and gives out whole frames. No I/O here; one thread at a time.

    The receiver fills `room or space()`, then calls `advance`. A body that does not fit into the
    buffer gets memory of its own once its length was checked: received there, not copied again.

    Args:
        max_frame_bytes: the largest body.
        size: of the buffer.

    Attributes:
        room: where the next bytes go, while nothing is half there; else None.
        large: the body with memory of its own that is being received, if one is.
        oversize_bytes: the length of a frame over the limit that follows what `advance` gave out.
    """

    def __init__(self, max_frame_bytes: int, size: int = BUFFER_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._size = size
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self.room: memoryview | None = self._view
        self.large: memoryview | None = None
        self._kept = bytearray()
        self.oversize_bytes = 0
        self._large_got = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not whole; more than 0 at the end is half a frame."""
        return self._end - self._start + (4 + self._large_got if self.large is not None else 0)

    def space(self) -> memoryview:
        """Where the next bytes go. What `advance` gave out before is invalid from now on."""
        if self.large is not None:
            return self.large[self._large_got :]
        start, end = self._start, self._end
        if start:
            self._view[: end - start] = self._view[start:end]
            self._start, self._end = 0, end - start
        return self._view[self._end :]

    def advance(self, count: int) -> Sequence[memoryview]:
        """Take note of `count` received bytes; the bodies that are whole now.

        What came before a frame over the limit is given out, and `oversize_bytes` set.

        Raises:
            FrameTooLarge: the next frame is over the limit; the stream is of no more use.
        """
        if self.large is not None:
            self._large_got += count
            if self._large_got < len(self.large):
                return ()
            large, self.large = self.large, None
            self.room = self._view
            return (large,)
        self._end += count
        bodies: list[memoryview] = []
        while self._end - self._start >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._buffer, self._start)
            if size > self._max_frame_bytes:
                if not bodies:
                    raise FrameTooLarge(size, self._max_frame_bytes)
                self.oversize_bytes = size
                break
            end = self._start + 4 + size
            if end > self._end:
                self._begin_large(size)
                break
            bodies.append(self._view[self._start + 4 : end])
            self._start = end
        if self._start == self._end:
            self._start = self._end = 0
        self.room = None if self._end or self.large is not None else self._view
        return bodies

    def _memory(self, size: int) -> memoryview:
        if size > _KEPT_BYTES:
            return memoryview(bytearray(size))
        if size > len(self._kept):
            self._kept = bytearray(size)
        return memoryview(self._kept)[:size]

    def _begin_large(self, size: int) -> None:
        if size + 4 > self._size:
            self.large = self._memory(size)
            self._large_got = self._end - self._start - 4
            self.large[: self._large_got] = self._view[self._start + 4 : self._end]
            self._start = self._end = 0
