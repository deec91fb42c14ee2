# pyright: reportPrivateUsage=false
import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.transport import DecodeError, EncodeError, FrameTooLarge, wire

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
    assert wire.decode(other, one.encode([value])) == [value]
    assert wire.decode(one, other.encode([value])) == [value]


@given(st.binary(max_size=200))
def test_any_bytes_are_an_array_or_a_decode_error(body: bytes) -> None:
    for name in CODECS:
        try:
            assert isinstance(wire.decode(codec(name), body), list)
        except DecodeError:
            continue


@pytest.mark.parametrize("name", CODECS)
def test_what_is_no_data_cannot_be_encoded(name: wire.CodecName) -> None:
    with pytest.raises(EncodeError):
        wire.encode(codec(name), (1, object()), 1000)
    assert wire.decode(codec(name), wire.encode(codec(name), (1, "after"), 99)) == [1, "after"]


@pytest.mark.parametrize("name", CODECS)
def test_a_record_over_the_limit_is_refused_by_its_sender(name: wire.CodecName) -> None:
    with pytest.raises(FrameTooLarge):
        wire.encode(codec(name), (b"x" * 100,), 100)
