"""What a transcript tells of a conversation that was cut off: was it begun, what was in flight.

The file is in a home that whatever ran in the container could write to: no link is followed, and
nothing in it is taken for more than a text. Seen in 2.1.197 and 2.1.330.
"""

# ruff: noqa: PTH123 - pathlib knows no descriptors.
from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

PROJECT_PARTS = (".claude", "projects", "-work")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LINE_BYTES = 64 << 20
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
    with _opened(home, session_id) as file:
        return 0 if file is None else os.fstat(file.fileno()).st_size


def read_trace(home: Path, session_id: str, *, start: int = 0) -> Trace | None:
    """What the transcript tells, from that byte on; None when there is none that can be read."""
    with _opened(home, session_id) as file:
        if file is None:
            return None
        file.seek(start)
        return _trace(_records(file))


@contextlib.contextmanager
def _opened(home: Path, session_id: str) -> Generator[BinaryIO | None]:
    with contextlib.ExitStack() as opened:
        try:
            folder = os.open(home, _FOLDER)
            opened.callback(os.close, folder)
            for name in PROJECT_PARTS:
                folder = os.open(name, _FOLDER, dir_fd=folder)
                opened.callback(os.close, folder)
            found = os.open(f"{session_id}.jsonl", _READ, dir_fd=folder)
            file = opened.enter_context(open(found, "rb"))
        except OSError:
            yield None
            return
        yield file if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None


def _records(file: BinaryIO) -> Iterator[dict[str, Any]]:
    while line := file.readline(_LINE_BYTES):
        try:
            record: Any = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the last line may be half written
        if isinstance(record, dict):
            yield cast("dict[str, Any]", record)


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
