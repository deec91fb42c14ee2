from __future__ import annotations

import json

import pytest

from understudy.actors.gateway.usage import Usage, UsageMeter


def event(name: str, **fields: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


START = event(
    "message_start",
    message={
        "model": "claude-x",
        "usage": {
            "input_tokens": 12,
            "output_tokens": 1,
            "cache_read_input_tokens": 7,
            "cache_creation_input_tokens": 3,
        },
    },
)
TEXT = event("content_block_delta", index=0, delta={"type": "text_delta", "text": 'a "usage" é'})
DELTA = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 40})
STOP = event("message_stop")
WHOLE = START + TEXT + DELTA + STOP
TOTAL = Usage(12, 40, 7, 3, "claude-x")


def test_an_answer_is_counted_however_it_is_split() -> None:
    for size in (1, 2, 3, 7, 64, len(WHOLE)):
        meter = UsageMeter()
        for start in range(0, len(WHOLE), size):
            meter.feed(WHOLE[start : start + size])
        assert meter.totals() == TOTAL
        assert meter.is_complete


def test_carriage_returns_before_line_feeds_are_no_matter() -> None:
    meter = UsageMeter()
    meter.feed(WHOLE.replace(b"\n", b"\r\n"))
    assert meter.totals() == TOTAL


def test_an_answer_that_is_cut_keeps_what_was_told_and_is_not_complete() -> None:
    meter = UsageMeter()
    meter.feed(START + TEXT + DELTA[:-20])
    assert meter.totals() == Usage(12, 1, 7, 3, "claude-x")
    assert not meter.is_complete


def test_a_later_total_takes_the_place_of_the_earlier_one() -> None:
    meter = UsageMeter()
    meter.feed(START + event("message_delta", usage={"input_tokens": 13, "output_tokens": 50}))
    assert meter.totals() == Usage(13, 50, 7, 3, "claude-x")


def test_text_that_looks_like_usage_is_not_counted() -> None:
    fake = event("message_delta", usage={"output_tokens": 9999}).decode()
    meter = UsageMeter()
    meter.feed(START + event("content_block_delta", delta={"type": "text_delta", "text": fake}))
    assert meter.totals().output_tokens == 1


def test_a_line_without_end_is_let_go_and_the_next_one_read() -> None:
    meter = UsageMeter()
    meter.feed(START + b'data: {"usage": "')
    for _ in range(20):
        meter.feed(b"x" * 65536)
    assert meter.pending_bytes == 0
    meter.feed(b'"}\n' + DELTA)
    assert meter.totals() == TOTAL


@pytest.mark.parametrize(
    "data",
    [
        b'data: {broken "usage"\n',
        b'data: ["usage"]\n',
        b'data: {"type": "message_start", "usage": 3, "message": []}\n',
        b'data: {"type": "message_delta", "usage": {"output_tokens": -5}}\n',
        b'data: {"type": "message_delta", "usage": {"output_tokens": "many"}}\n',
        b"\xff\xfe \n\n\n",
        b"<html></html>",
    ],
)
def test_what_cannot_be_read_counts_nothing(data: bytes) -> None:
    meter = UsageMeter()
    meter.feed(data)
    assert meter.totals() == Usage()
    assert not meter.is_complete


def test_an_answer_that_was_not_streamed_is_counted() -> None:
    meter = UsageMeter()
    message = {"type": "message", "model": "m", "usage": {"input_tokens": 3, "output_tokens": 4}}
    meter.feed_json(json.dumps(message).encode())
    assert meter.totals() == Usage(3, 4, model="m")
    assert meter.is_complete


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"type": "error", "usage": {}}'])
def test_an_error_that_was_not_streamed_counts_nothing(body: bytes) -> None:
    meter = UsageMeter()
    meter.feed_json(body)
    assert meter.totals() == Usage()
    assert not meter.is_complete
