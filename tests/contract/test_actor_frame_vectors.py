"""The bytes of the records between nodes; a change of any is another version of the protocol."""

import json
from pathlib import Path
from typing import Any, cast

import msgpack
import pytest

from understudy.transport import Address, reading, wire

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "actor_frames.json").read_text(encoding="utf-8")
)
KINDS = {
    name: getattr(wire, name.upper())
    for name in ["tell", "ask", "reply", "error", "credit", "stop", "down", "up", "hello", "bye",
                 "cast", "call"]
}  # fmt: skip
CODECS: list[wire.CodecName] = ["msgspec", "msgpack"]


class Travelling:
    """An actor in a message; in the vectors it is a map with the key `extension 1`."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Travelling) and self.address == other.address

    __hash__ = None  # type: ignore[assignment]


def with_actors(value: Any) -> Any:
    if isinstance(value, list):
        return [with_actors(item) for item in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    if "extension 1" in fields:
        return Travelling(Address.from_wire(fields["extension 1"]))
    return {name: with_actors(item) for name, item in fields.items()}


def to_ext(thing: object) -> tuple[int, bytes]:
    assert isinstance(thing, Travelling)
    return wire.EXT_REF, msgpack.packb(thing.address.to_wire())


def from_ext(code: int, data: bytes) -> Travelling:
    assert code == wire.EXT_REF
    return Travelling(Address.from_wire(msgpack.unpackb(data)))


def codec(name: wire.CodecName) -> wire.Codec:
    return wire.make_codec(name, to_ext, from_ext)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
@pytest.mark.parametrize("name", CODECS)
def test_records_are_written_and_read_as_documented(
    name: wire.CodecName, vector: dict[str, Any]
) -> None:
    records = with_actors(vector["records"])
    encoded = [wire.encode(codec(name), tuple(record), 1 << 20) for record in records]
    body = b"".join(encoded)
    frame = wire.frame_head(len(encoded), len(body)) + body
    assert frame.hex(" ") == vector["frame"]
    buffer = wire.FrameBuffer(1 << 20)
    buffer.space()[: len(frame)] = frame
    (read,) = buffer.advance(len(frame))
    assert reading.decode(codec(name), read) == records


def test_there_is_a_vector_of_each_kind() -> None:
    kinds = {record[0] for vector in VECTORS for record in vector["records"]}
    assert kinds == set(KINDS.values())
    assert any("extension 1" in json.dumps(vector["records"]) for vector in VECTORS)
    assert dict(zip(KINDS, range(12), strict=True)) == KINDS
