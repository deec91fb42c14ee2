from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.transport import FrameTooLarge
from understudy.transport.framing import FrameReader, frame_header


def framed(*bodies: bytes) -> bytes:
    return b"".join(frame_header(body) + body for body in bodies)


def frames(reader: FrameReader) -> list[bytes]:
    return list(iter(reader.next_frame, None))


def test_the_header_is_four_bytes_big_endian() -> None:
    assert frame_header(b"x" * 258) == b"\x00\x00\x01\x02"


def test_a_frame_split_at_every_byte_arrives_whole() -> None:
    stream = framed(b"first", b"", b"second frame")
    for cut in range(len(stream) + 1):
        reader = FrameReader()
        reader.feed(stream[:cut])
        early = frames(reader)
        reader.feed(stream[cut:])
        assert early + frames(reader) == [b"first", b"", b"second frame"]
        assert reader.pending_bytes == 0


@given(st.lists(st.binary(max_size=300)), st.integers(1, 50))
def test_frames_arrive_in_order_whatever_the_pieces(bodies: list[bytes], piece: int) -> None:
    stream, reader, got = framed(*bodies), FrameReader(), list[bytes]()
    for start in range(0, len(stream), piece):
        reader.feed(stream[start : start + piece])
        got += frames(reader)
    assert got == bodies


def test_half_a_frame_stays_pending() -> None:
    reader = FrameReader()
    reader.feed(framed(b"whole") + b"\x00\x00\x00\x09half")
    assert frames(reader) == [b"whole"]
    assert reader.pending_bytes == 8


def test_a_frame_of_exactly_the_limit_is_taken() -> None:
    reader = FrameReader(max_frame_bytes=5)
    reader.feed(frame_header(b"12345", 5) + b"12345")
    assert reader.next_frame() == b"12345"


def test_a_frame_over_the_limit_is_refused_by_its_length_alone() -> None:
    reader = FrameReader(max_frame_bytes=5)
    reader.feed(framed(b"small") + b"\xff\xff\xff\xff")
    assert reader.next_frame() == b"small"
    tracemalloc.start()
    with pytest.raises(FrameTooLarge) as caught:
        reader.next_frame()
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (0xFFFFFFFF, 5)
    assert peak_bytes < 100_000


def test_the_sender_is_told_before_it_sends_too_much() -> None:
    with pytest.raises(FrameTooLarge, match="6 bytes is over the limit of 5"):
        frame_header(b"123456", 5)
