"""The bytes of the records between nodes; a change of any is another version of the protocol."""

import json
from pathlib import Path
from typing import Any

import msgpack
import pytest
from understudy.transport import wire

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "actor_frames.json").read_text(encoding="utf-8")
)
KINDS = {
    name: getattr(wire, name.upper())
    for name in ["tell", "ask", "reply", "error", "credit", "stop", "down", "up", "hello", "bye",
                 "cast", "call"]
}  # fmt: skip
CODECS: list[wire.CodecName] = ["msgspec", "msgpack"]


def codec(name: wire.CodecName) -> wire.Codec:
    return wire.make_codec(name, lambda _thing: None, msgpack.ExtType)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
@pytest.mark.parametrize("name", CODECS)
def test_records_are_written_and_read_as_documented(
    name: wire.CodecName, vector: dict[str, Any]
) -> None:
    encoded = [wire.encode(codec(name), tuple(record), 1 << 20) for record in vector["records"]]
    body = b"".join(encoded)
    frame = wire.frame_head(len(encoded), len(body)) + body
    assert frame.hex(" ") == vector["frame"]
    buffer = wire.FrameBuffer(1 << 20)
    buffer.space()[: len(frame)] = frame
    (read,) = buffer.advance(len(frame))
    assert wire.decode(codec(name), read) == vector["records"]


def test_there_is_a_vector_of_each_kind() -> None:
    kinds = {record[0] for vector in VECTORS for record in vector["records"]}
    assert kinds == set(KINDS.values())
    assert KINDS == dict(zip(KINDS, range(12), strict=True))
