"""Where a conversation goes on: the transcript's pointer is moved forward when it lags.

The CLI notes now and then how far a conversation has come, in a record `last-prompt`, and resumes
from the newest message below the one that is named last. The record can name a message below which
nothing comes any more: one of a try of the API that failed (2.1.332), or the result of one of two
calls at once (2.1.197). The next CLI begins another branch then. When it is killed before it has
noted anything, the one after it goes on from the old branch, and does again what was done. Both
releases do so, whichever of them wrote the transcript. A pointer to what is not in the file is
passed over by both.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from .transcript_file import opened_transcript, records_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MESSAGES = ("user", "assistant")
# What is more was not written by the CLI; a conversation of a million tokens has some thousand.
_MAX_MESSAGES = 200_000


def move_forward(home: Path, session_id: str) -> bool:
    """Have the conversation go on from its newest message; whether it would not have.

    For whoever holds the conversation, while no CLI runs in it. One line is added, or nothing.

    Raises:
        OSError: it cannot be written.
    """
    with opened_transcript(home, session_id, os.O_RDWR | os.O_APPEND) as file:
        if file is None:
            return False
        tree = _Tree.of(records_of(file))
        if not tree.lags():
            return False
        pointer = {
            "type": "last-prompt",
            "lastPrompt": tree.last_prompt,
            "leafUuid": tree.newest,
            "sessionId": session_id,
        }
        line = json.dumps(pointer, separators=(",", ":")) + "\n"
        os.write(file.fileno(), (_end_of_line(file) + line).encode())
        return True


def _end_of_line(file: BinaryIO) -> str:
    """What ends the last line, when a CLI was killed while it wrote it; 2.1.332 ends it, too."""
    file.seek(-1, os.SEEK_END)
    return "" if file.read(1) == b"\n" else "\n"


@dataclass
class _Tree:
    """A conversation's messages, each with the one it follows, and where the pointer is."""

    parents: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    newest: str | None = None
    leaf: str | None = None
    last_prompt: str = ""

    @classmethod
    def of(cls, records: Iterable[dict[str, Any]]) -> _Tree:
        tree = cls()
        for record in records:
            if record.get("type") == "last-prompt":
                tree.leaf = _text(record.get("leafUuid"))
                tree.last_prompt = _text(record.get("lastPrompt")) or ""
            elif uuid := _text(record.get("uuid")):
                tree._add(uuid, record)
                if len(tree.parents) > _MAX_MESSAGES:
                    return cls()
        return tree

    def lags(self) -> bool:
        """Whether the pointer is on a branch that the newest message is not on."""
        if self.leaf not in self.parents or self.newest is None:
            return False
        return self.leaf not in self._way(self.newest) and self.newest not in self._way(self.leaf)

    def _add(self, uuid: str, record: dict[str, Any]) -> None:
        self.parents[uuid] = _text(record.get("parentUuid"))
        if record.get("type") in _MESSAGES and not record.get("isSidechain"):
            self.newest = uuid

    def _way(self, uuid: str) -> set[str]:
        """The message and those it follows; what the workload wrote may go round in a ring."""
        passed: set[str] = set()
        for message in self._upwards(uuid):
            if message in passed:
                break
            passed.add(message)
        return passed

    def _upwards(self, uuid: str) -> Iterator[str]:
        here: str | None = uuid
        while here is not None:
            yield here
            here = self.parents.get(here)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
