"""The file of a conversation, opened where it is, and its records.

It is in a home that whatever ran in the container could write to: no link is followed, and nothing
in it is taken for more than a text.
"""

# ruff: noqa: PTH123 - pathlib knows no descriptors.
from __future__ import annotations

import contextlib
import json
import os
import stat
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

PROJECT_PARTS = (".claude", "projects", "-work")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking: to open a pipe must not wait for its other end.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LINE_BYTES = 64 << 20


@contextlib.contextmanager
def opened_transcript(
    home: Path, session_id: str, mode: int = os.O_RDONLY
) -> Generator[BinaryIO | None]:
    """The conversation's transcript; None when there is none that can be opened.

    The file reads. With a `mode` for writing too, `os.write` to its descriptor writes.
    """
    with contextlib.ExitStack() as opened:
        try:
            folder = os.open(home, _FOLDER)
            opened.callback(os.close, folder)
            for name in PROJECT_PARTS:
                folder = os.open(name, _FOLDER, dir_fd=folder)
                opened.callback(os.close, folder)
            found = os.open(f"{session_id}.jsonl", mode | _FILE, dir_fd=folder)
            file = opened.enter_context(open(found, "rb"))
        except OSError:
            yield None
            return
        yield file if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None


def records_of(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """The records from where the file stands; a line that is none is left out."""
    while line := file.readline(_LINE_BYTES):
        try:
            record: Any = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the last line may be half written
        if isinstance(record, dict):
            yield cast("dict[str, Any]", record)
