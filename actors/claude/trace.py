"""What a transcript tells of a conversation that was cut off: was it begun, what was in flight.

Seen in 2.1.197 and 2.1.330.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from .transcript_file import opened_transcript, records_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_CALLS = 20
_CALL_CHARS = 300


@dataclass(frozen=True)
class Trace:
    """A conversation, by its transcript.

    Attributes:
        prompted: whether a prompt of ours is in it.
        in_flight: tool calls without a result, each as a short text.
    """

    prompted: bool
    in_flight: tuple[str, ...]


def transcript_size(home: Path, session_id: str) -> int:
    """How many bytes the conversation's transcript has; 0 when there is none that can be read."""
    with opened_transcript(home, session_id) as file:
        return 0 if file is None else os.fstat(file.fileno()).st_size


def read_trace(home: Path, session_id: str, *, start: int = 0) -> Trace | None:
    """What the transcript tells, from that byte on; None when there is none that can be read."""
    with opened_transcript(home, session_id) as file:
        if file is None:
            return None
        file.seek(start)
        return _trace(records_of(file))


def _trace(records: Iterator[dict[str, Any]]) -> Trace:
    prompted, calls = False, dict[str, str]()
    for record in records:
        kind = record.get("type")
        for block in _blocks(record):
            shape = block.get("type")
            if kind == "assistant" and shape == "tool_use":
                calls[str(block.get("id"))] = _call(block)
            elif kind == "user" and shape == "tool_result":
                calls.pop(str(block.get("tool_use_id")), None)
            elif kind == "user" and shape == "text":
                # What was called before a prompt has come to an end of some kind.
                prompted, calls = True, {}
    return Trace(prompted, tuple(calls.values())[-_MAX_CALLS:])


def _blocks(record: dict[str, Any]) -> list[dict[str, Any]]:
    message: Any = record.get("message")
    content: Any = cast("dict[str, Any]", message).get("content") if _is_dict(message) else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        return []
    listed = cast("list[object]", content)
    return [cast("dict[str, Any]", block) for block in listed if _is_dict(block)]


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _call(block: dict[str, Any]) -> str:
    text = f"{block.get('name')} {json.dumps(block.get('input'), ensure_ascii=True)}"
    return text if len(text) <= _CALL_CHARS else f"{text[:_CALL_CHARS]}…"
