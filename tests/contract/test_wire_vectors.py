"""The bytes on the wire are what docs/protocol.md says: other programs rely on them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from understudy.transport import AgentMessage
from understudy.transport.codec import decode, encode
from understudy.transport.framing import FrameReader, frame_header
from understudy.transport.hello import Farewell, Hello, Welcome

HERE = Path(__file__).parent
VECTORS: list[dict[str, Any]] = json.loads((HERE / "data" / "frames.json").read_text("utf-8"))
DOCUMENT = HERE.parents[1] / "docs" / "protocol.md"


def of_link(word: str) -> dict[str, Any]:
    return next(v["records"][0] for v in VECTORS if v["records"][0].get("link") == word)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["what"])
def test_the_frame_of_a_vector_has_exactly_these_bytes(vector: dict[str, Any]) -> None:
    body = encode(vector["records"])
    assert (frame_header(body) + body).hex() == vector["frame_hex"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["what"])
def test_the_bytes_of_a_vector_are_read_as_its_records(vector: dict[str, Any]) -> None:
    reader = FrameReader()
    reader.feed(bytes.fromhex(vector["frame_hex"]))
    body = reader.next_frame()
    assert body is not None
    assert decode(body) == vector["records"]
    assert reader.pending_bytes == 0


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["what"])
def test_messages_of_a_vector_are_written_as_they_were_read(vector: dict[str, Any]) -> None:
    for record in vector["records"]:
        if "link" not in record:
            assert AgentMessage.from_wire(record).to_wire() == record


def test_the_first_words_are_written_as_they_were_read() -> None:
    hello = Hello.from_record(of_link("hello"))
    assert hello.to_record() == of_link("hello")
    assert Welcome.from_record(of_link("welcome"), hello).to_record() == of_link("welcome")
    farewell = Farewell.from_record(of_link("farewell"))
    assert farewell is not None
    assert farewell.to_record() == of_link("farewell")


def test_the_document_shows_the_bytes_of_the_first_vector() -> None:
    shown = re.search(r"```hex\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert shown is not None
    assert "".join(shown.group(1).split()) == VECTORS[0]["frame_hex"]
