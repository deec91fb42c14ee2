"""msgpack in and out: a frame's body is an array of records, each a map.

Nothing but plain data crosses a socket; pickle never does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgpack

from .errors import DecodeError, EncodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def encode(records: Sequence[Mapping[str, Any]]) -> bytes:
    """The body of one frame that carries these records in this order.

    Raises:
        EncodeError: a record holds something msgpack cannot say, or is nested too deep.
    """
    try:
        return msgpack.packb(list(records), use_bin_type=True)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EncodeError(str(error) or type(error).__name__) from error


def decode(body: bytes) -> list[dict[str, Any]]:
    """The records of one frame's body.

    Lengths inside are checked against the body's own size, so a short frame that claims a huge
    array is refused. Keys that are not text are allowed, so that what can be sent can be read; an
    array that is a key was a tuple, and is one again.

    Raises:
        DecodeError: the body is not msgpack, or not an array of maps.
    """
    try:
        records = _unpack(body)
    # TypeError is a key that cannot be one. MemoryError concerns this frame, not the connection.
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise DecodeError(str(error) or type(error).__name__) from error
    if not isinstance(records, list):
        raise DecodeError(f"the body is {type(records).__name__}, not an array of records")
    for record in cast("list[object]", records):
        if not isinstance(record, dict):
            raise DecodeError(f"a record is {type(record).__name__}, not a map")
    return cast("list[dict[str, Any]]", records)


def _unpack(body: bytes) -> object:
    try:
        return msgpack.unpackb(body, raw=False, strict_map_key=False)
    except TypeError:
        # With a call for each map: only where a key is no plain one.
        return msgpack.unpackb(
            body, raw=False, strict_map_key=False, object_pairs_hook=_with_tuples
        )


def _with_tuples(pairs: list[tuple[object, object]]) -> dict[object, object]:
    return {_key(key): value for key, value in pairs}


def _key(key: object) -> object:
    return tuple(map(_key, cast("list[object]", key))) if isinstance(key, list) else key
