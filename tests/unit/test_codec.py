from __future__ import annotations

import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.transport import DecodeError, EncodeError
from understudy.transport.codec import decode, encode


def test_records_come_back_in_order() -> None:
    records: list[dict[str, Any]] = [{"a": 1, "b": [None, True, 1.5, "é", b"\x00\xff"]}, {}]
    assert decode(encode(records)) == records


def test_keys_that_are_no_text_can_be_sent_and_read() -> None:
    counts = {1: "one", None: "two", (1, ("a",)): "three", b"x": {(): 4}}
    assert decode(encode([{"counts": counts, "list": [1, (2,)]}])) == [
        {"counts": counts, "list": [1, [2]]}
    ]


def circular() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    inner["self"] = inner
    return inner


@pytest.mark.parametrize(
    "payload",
    [{"x": object()}, {"x": {1, 2}}, {"x": 2**64}, {"x": "\ud800"}, circular(), {"x": open}],
    ids=["object", "set", "65 bits", "lone surrogate", "circular", "function"],
)
def test_what_has_no_form_on_the_wire_is_refused_when_it_is_sent(payload: dict[str, Any]) -> None:
    with pytest.raises(EncodeError):
        encode([payload])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"GET / HTTP/1.1\r\n",
        msgpack.packb({"a": 1}),
        msgpack.packb([1]),
        msgpack.packb([dict[str, object]()]) + b"\x00",
        msgpack.packb([{"half": "of it"}])[:-1],
        b"\x91\x81\x81\x01\x01\x01",
        b"\x91\x81\xa1a\xa2\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x91\xdf\xff\xff\xff\xff",
        b"\x91" * 5000,
    ],
    ids=[
        "empty",
        "reserved byte",
        "http",
        "no array",
        "no map",
        "bytes left over",
        "cut off",
        "map as key",
        "no utf-8",
        "array of 4 G",
        "map of 4 G",
        "deep nest",
    ],
)
def test_a_broken_body_is_one_kind_of_error(body: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(body)


def test_a_frame_for_which_memory_is_too_small_is_an_error_of_that_frame_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(msgpack, "unpackb", fail)
    with pytest.raises(DecodeError, match="MemoryError"):
        decode(b"\x90")


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode(body)
