"""Watches for two CLIs on one conversation, by the command lines of what runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from . import victims

if TYPE_CHECKING:
    from pathlib import Path

_LOOK_S = 0.05
_NAMES = ("--resume=", "--session-id=")


class Twins:
    """Looks 20 times a second while the block runs.

    Args:
        home: the home whose containers count.
        older: processes that are not looked at.

    Attributes:
        seen: each pair once, in words.
        looks: how often it looked.
    """

    def __init__(self, home: Path, older: frozenset[int]) -> None:
        self.seen: dict[tuple[int, int], str] = {}
        self.looks = 0
        self._home, self._older = home, older
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="understudy-twins", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            self.looks += 1
            holders: dict[str, int] = {}
            for pid in sorted(victims.all_processes() - self._older):
                if conversation := conversation_of(pid):
                    other = holders.setdefault(conversation, pid)
                    if other != pid:
                        self._compare(conversation, other, pid)

    def _compare(self, conversation: str, one: int, other: int) -> None:
        """Two with one conversation: is the one the other's fork, are both there, are they ours?"""
        if victims.parent_of(other) == one or conversation_of(one) != conversation:
            return
        if victims.is_of(self._home, other):
            text = f"{conversation}: {victims.shown([one, other])}"
            self.seen.setdefault((one, other), text)


def conversation_of(pid: int) -> str | None:
    """The conversation of that CLI; None when it is none, or has ended."""
    words = victims.command_of(pid)
    if not words or words[0] != "claude":
        return None
    return next((word.partition("=")[2] for word in words if word.startswith(_NAMES)), None)
