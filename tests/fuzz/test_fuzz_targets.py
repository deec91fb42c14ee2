"""Any bytes, as hypothesis thinks of them. `python -m tests.fuzz` has a fuzzer look for more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fuzz.targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

VECTORS = Path(__file__).parents[1] / "contract" / "data" / "actor_frames.json"


@pytest.mark.parametrize("target", list(TARGETS))
@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_break_no_promise(target: str, data: bytes) -> None:
    TARGETS[target](data)


@pytest.mark.parametrize("target", list(TARGETS))
def test_the_documented_frames_cut_and_bent_anywhere_break_no_promise(target: str) -> None:
    for vector in json.loads(VECTORS.read_text(encoding="utf-8")):
        frame = bytes.fromhex(vector["frame"])
        for at in range(len(frame)):
            TARGETS[target](b"\x00" + frame[4:at])
            TARGETS[target](b"\x00" + frame[4:at] + bytes([frame[at] ^ 0x55]) + frame[at + 1 :])


# What was found: a map with numbers for keys was taken for a record, and ended its actor's thread;
# the messages before a frame over the limit were lost when all came at once.
@pytest.mark.parametrize(
    ("target", "data"),
    [
        ("link", b"\x00\x91\x84\x00\x00\x01\xa1c\x02\x00\x03\x05"),
        ("framer", b"\xdd\x00\x00\x00\x01\x95\x08\x01\xa4root\x01\x80"),
    ],
)
def test_what_was_found_stays_mended(target: str, data: bytes) -> None:
    TARGETS[target](data)
