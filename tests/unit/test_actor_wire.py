# pyright: reportPrivateUsage=false
import dataclasses
import datetime as dt
import decimal
import enum
import struct
import uuid

import msgpack
import pytest
from fakes.nests import depth_of, nest
from hypothesis import given
from hypothesis import strategies as st

from understudy.transport import DecodeError, EncodeError, FrameTooLarge, reading, wire

CODECS: list[wire.CodecName] = ["msgspec", "msgpack"]


def codec(name: wire.CodecName) -> wire.Codec:
    return wire.make_codec(name, lambda _thing: None, msgpack.ExtType)


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def feed(buffer: wire.FrameBuffer, data: bytes, sizes: list[int]) -> list[bytes]:
    found: list[bytes] = []
    turn = 0
    while data:
        space = buffer.space()
        count = min(max(1, sizes[turn % len(sizes)]), len(space), len(data))
        space[:count] = data[:count]
        data = data[count:]
        found += [bytes(body) for body in buffer.advance(count)]
        turn += 1
    return found


@given(
    st.lists(st.binary(max_size=300), max_size=12),
    st.lists(st.integers(1, 90), min_size=1, max_size=9),
)
def test_frames_come_whole_and_in_order_however_the_stream_is_split(
    bodies: list[bytes], sizes: list[int]
) -> None:
    buffer = wire.FrameBuffer(1_000, size=64)
    assert feed(buffer, b"".join(map(frame, bodies)), sizes) == bodies
    assert buffer.pending_bytes == 0


def test_memory_of_a_large_body_serves_the_next_one_but_not_beyond_its_bound() -> None:
    buffer = wire.FrameBuffer(8 << 20, size=64)
    bodies = [bytes([n]) * (size << 10) for n, size in enumerate([300, 200, 400, 3_000, 300])]
    assert feed(buffer, b"".join(map(frame, bodies)), [100_000]) == bodies
    assert len(buffer._kept) == 400 << 10


def test_half_a_frame_is_seen_as_pending() -> None:
    buffer = wire.FrameBuffer(1_000, size=64)
    feed(buffer, frame(b"x" * 200)[:-1], [50])
    assert buffer.pending_bytes == 203


@pytest.mark.parametrize("size", [101, 1 << 31])
def test_a_length_over_the_limit_is_refused_before_anything_is_allocated(size: int) -> None:
    buffer = wire.FrameBuffer(100, size=4096)
    with pytest.raises(FrameTooLarge) as caught:
        feed(buffer, struct.pack(">I", size), [4])
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (size, 100)


data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@given(data)
def test_both_codecs_write_what_the_other_reads(value: object) -> None:
    one, other = codec("msgspec"), codec("msgpack")
    assert reading.decode(other, one.encode([value])) == [value]
    assert reading.decode(one, other.encode([value])) == [value]


@dataclasses.dataclass
class Point:
    x: int
    at: dt.datetime


class Colour(enum.Enum):
    RED = "red"


NOON = dt.datetime(2026, 11, 28, 12, 30, 5, 250_000, tzinfo=dt.UTC)
NUMBER = uuid.UUID(int=7)
# What is written of it, and what is read.
LIKENESSES: list[tuple[object, object]] = [
    ((1, (2, 3)), [1, [2, 3]]),
    ({1}, [1]),
    (frozenset([1]), [1]),
    (bytearray(b"x"), b"x"),
    (Colour.RED, "red"),
    (NUMBER, str(NUMBER)),
    (decimal.Decimal("1.50"), "1.50"),
    (NOON, NOON),
    (NOON.replace(tzinfo=None), "2026-11-28T12:30:05.250000"),
    (NOON.date(), "2026-11-28"),
    (Point(1, NOON), {"x": 1, "at": NOON}),
    ({NUMBER: {Colour.RED: [{2}]}}, {str(NUMBER): {"red": [[2]]}}),
    ({(1, (2, 3)): 4}, {(1, (2, 3)): 4}),
    ({frozenset([1]): 2}, {(1,): 2}),
    ({1: 2, 2.5: 3, None: 4, b"k": 5}, {1: 2, 2.5: 3, None: 4, b"k": 5}),
]


@pytest.mark.parametrize(("value", "read"), LIKENESSES, ids=repr)
def test_both_codecs_write_the_same_bytes_and_read_the_same_of_them(
    value: object, read: object
) -> None:
    written = {codec(name).encode([value]) for name in CODECS}
    assert len(written) == 1
    (body,) = written
    for name in CODECS:
        (found,) = reading.decode(codec(name), body)
        assert found == read
        assert type(found) is type(read)


@pytest.mark.parametrize("value", [1j, 2**64, -(2**63) - 1, range(3), "\ud800"], ids=repr)
@pytest.mark.parametrize("name", CODECS)
def test_what_neither_codec_can_write_is_refused_by_both(
    name: wire.CodecName, value: object
) -> None:
    for message in (value, [value], {"a": {"b": value}}):
        with pytest.raises(EncodeError):
            wire.encode(codec(name), (1, message), 1000)


@pytest.mark.parametrize("depth", [100, 500, 990])
@pytest.mark.parametrize("name", CODECS)
def test_a_nest_that_could_be_written_is_read_however_little_stack_the_reader_has(
    name: wire.CodecName, depth: int
) -> None:
    body = msgpack.packb([nest(depth)])
    assert depth_of(read_deep_down(codec(name), body, 600)) == depth + 1


def read_deep_down(reader: wire.Codec, body: bytes, frames: int) -> object:
    return read_deep_down(reader, body, frames - 1) if frames else reading.decode(reader, body)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_array_or_a_decode_error(body: bytes) -> None:
    for name in CODECS:
        try:
            assert isinstance(reading.decode(codec(name), body), list)
        except DecodeError:
            continue


BAD_TEXT = b"\xa2\xff\xff"
MAP_AS_KEY = b"\x81\x81\x01\x01\x01"


@pytest.mark.parametrize("bad", [BAD_TEXT, MAP_AS_KEY], ids=["no utf-8", "map as key"])
@pytest.mark.parametrize("name", CODECS)
def test_the_records_beside_one_that_cannot_be_read_are_read(
    name: wire.CodecName, bad: bytes
) -> None:
    good = msgpack.packb([0, "a", 0, {"x": 1}])
    body = b"\x93" + good + b"\x95\x01\xa1a\x00" + bad + b"\x07" + good
    first, (kind, fields, size_bytes, why), last = reading.decode(codec(name), body)
    assert first == last == [0, "a", 0, {"x": 1}]
    assert kind is reading.UNREADABLE
    assert fields == [1, "a", 0, None, 7]
    assert size_bytes == len(body) // 3
    assert why
    with pytest.raises(DecodeError):
        reading.decode(codec(name), body[:-1])
    with pytest.raises(DecodeError):
        reading.decode(codec(name), body + b"\x00")


@pytest.mark.parametrize("name", CODECS)
def test_what_is_no_data_cannot_be_encoded(name: wire.CodecName) -> None:
    with pytest.raises(EncodeError):
        wire.encode(codec(name), (1, object()), 1000)
    assert reading.decode(codec(name), wire.encode(codec(name), (1, "after"), 99)) == [1, "after"]


@pytest.mark.parametrize("name", CODECS)
def test_a_record_over_the_limit_is_refused_by_its_sender(name: wire.CodecName) -> None:
    with pytest.raises(FrameTooLarge):
        wire.encode(codec(name), (b"x" * 100,), 100)
