"""The records in a frame's body, whichever reader can take them.

A record that none can take (a map is the key of a map, a text is no UTF-8) is an error of who sent
it: the others in its frame are read, and the link stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack
import msgspec

from .errors import DecodeError

if TYPE_CHECKING:
    from .wire import Codec

    Body = bytes | bytearray | memoryview

FAULTS = (TypeError, ValueError, RecursionError, MemoryError, msgspec.MsgspecError)
"""What a reader raises at what it cannot take."""

UNREADABLE: Any = object()
"""The kind of a record that none could take, `[UNREADABLE, fields, size_bytes, why]`: its fields
with None for what cannot be read, and its share of the frame. No peer can send it."""


def decode(codec: Codec, body: Body) -> list[Any]:
    """The records of one frame's body.

    Raises:
        DecodeError: the body is not msgpack, or not an array.
    """
    try:
        records = codec.decode(body)
    except FAULTS as error:
        records = _decode_odd(codec, body, error)
    if not isinstance(records, list):
        raise DecodeError(f"the body is {type(records).__name__}, not an array of records")
    return records  # pyright: ignore[reportUnknownVariableType] - its items are anything


def _decode_odd(codec: Codec, body: Body, fault: Exception) -> Any:
    """What the other reader, or both together, can make of it."""
    if isinstance(fault, MemoryError):
        raise DecodeError(_words(fault)) from fault
    try:
        return codec.decode_odd(body)
    except FAULTS:
        return _one_by_one(codec, body, fault)


def _one_by_one(codec: Codec, body: Body, fault: Exception) -> list[Any]:
    try:
        parts = _items(bytes(body))
    except (*FAULTS, msgpack.UnpackException) as error:
        raise DecodeError(_words(fault)) from error
    return [_record(codec, part, len(body) // len(parts)) for part in parts]


def _record(codec: Codec, part: bytes, size_bytes: int) -> Any:
    record, why = _read(codec, part)
    if why is None:
        return record
    try:
        fields = [_read(codec, field)[0] for field in _items(part)]
    except (*FAULTS, msgpack.UnpackException):
        fields = []
    return [UNREADABLE, fields, size_bytes, _words(why)]


def _read(codec: Codec, part: bytes) -> tuple[Any, Exception | None]:
    """The value, or None and why there is none."""
    try:
        return codec.decode(part), None
    except FAULTS as error:
        why = error
    try:
        return codec.decode_odd(part), None
    except FAULTS:
        return None, why


def _items(data: bytes) -> list[bytes]:
    """An array's items, each as its bytes; raises when it is no whole array and nothing else."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(data), strict_map_key=False)
    unpacker.feed(data)
    items: list[bytes] = []
    for _ in range(unpacker.read_array_header()):
        start = unpacker.tell()
        unpacker.skip()
        items.append(data[start : unpacker.tell()])
    if unpacker.tell() != len(data):
        raise ValueError("there is more than an array")
    return items


def _words(fault: Exception) -> str:
    return str(fault) or type(fault).__name__
