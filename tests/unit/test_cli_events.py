"""What is read out of the CLI's events."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from understudy.actors.claude import errors
from understudy.actors.claude.events import Usage, cost_delta, summarize
from understudy.actors.claude.lines import LineSplitter, LineTooLong


def answer(*blocks: object) -> dict[str, Any]:
    return {"type": "assistant", "message": {"content": list(blocks)}}


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            answer({"type": "tool_use", "name": "Read", "input": {"file_path": "/work/a.py"}}),
            "Read a.py",
        ),
        (
            answer({"type": "tool_use", "name": "Bash", "input": {"command": "ls\n -l"}}),
            "Bash ls -l",
        ),
        (answer({"type": "tool_use", "name": "Task", "input": {"x": 1}}), "Task"),
        (answer({"type": "tool_use", "name": "StructuredOutput"}), "hands in its result"),
        (answer({"type": "text", "text": "I  look\nat it"}), "I look at it"),
        (answer({"type": "text", "text": "x" * 200}), "x" * 119 + "…"),
        (answer({"type": "thinking", "thinking": "hm"}), None),
        (answer(None, "odd"), None),
        ({"type": "assistant", "message": {"content": "odd"}}, None),
        ({"type": "system", "subtype": "init"}, None),
        (
            {
                "type": "system",
                "subtype": "api_retry",
                "attempt": 2,
                "max_retries": 3,
                "retry_delay_ms": 1240.0,
                "error_status": 529,
            },
            "API overloaded: retry 2 of 3 in 1.2 s",
        ),
        (
            {"type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 3},
            "API not reachable: retry 1 of 3 in 0.0 s",
        ),
        ({}, None),
    ],
)
def test_an_event_is_told_in_a_few_words(event: dict[str, Any], text: str | None) -> None:
    assert summarize(event) == text


def test_usage_counts_what_is_there() -> None:
    result = {"usage": {"input_tokens": 7, "cache_read_input_tokens": 2}, "num_turns": 3}
    assert Usage.of(result).to_dict() == {
        "input_tokens": 7,
        "output_tokens": 0,
        "cache_read_input_tokens": 2,
        "cache_creation_input_tokens": 0,
        "num_turns": 3,
    }
    assert Usage.of({}) == Usage()


@pytest.mark.parametrize(
    ("before", "total", "cost"),
    [(0.0, 0.5, 0.5), (0.25, 0.75, 0.5), (0.75, 0.25, 0.25), (0.5, 0.5, 0.0), (0.5, None, None)],
)
def test_a_cost_is_the_difference_unless_the_count_began_anew(
    before: float, total: float | None, cost: float | None
) -> None:
    assert cost_delta(before, {"total_cost_usd": total}) == cost


def test_lines_come_whole_however_the_bytes_are_cut() -> None:
    data = b"one\n\ntwo\nthree"
    for first in range(len(data)):
        for second in range(first, len(data)):
            splitter = LineSplitter(100)
            pieces = (data[:first], data[first:second], data[second:])
            lines = [line for piece in pieces for line in splitter.feed(piece)]
            assert lines == [b"one", b"", b"two"]


def test_a_line_may_be_as_long_as_the_limit_and_no_longer() -> None:
    splitter = LineSplitter(4)
    assert splitter.feed(b"1234\n12") == [b"1234"]
    assert splitter.feed(b"34\n") == [b"1234"]
    splitter.feed(b"1234")
    with pytest.raises(LineTooLong, match="more than 4 bytes"):
        splitter.feed(b"5")


def test_a_too_long_line_inside_one_chunk_is_found_too() -> None:
    with pytest.raises(LineTooLong):
        LineSplitter(4).feed(b"1\n12345\n1")


@pytest.mark.parametrize(
    "error",
    [
        errors.ClaudeDied("gone", "said", 3),
        errors.ClaudeUnresponsive("answer", 1.5),
        errors.ControlRefused("interrupt", "no"),
        errors.ClearFailed("s-1", "no"),
        errors.TurnInProgress(),
        errors.TurnTimeout(3.0, settled=False),
        errors.TurnStalled(3.0, settled=True),
        errors.TurnCancelled(),
    ],
)
def test_every_error_survives_a_process_boundary(error: errors.ClaudeError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
