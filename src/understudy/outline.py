"""A tree drawn with lines, for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Branch:
    """One node: its line, notes below it, and what hangs on it."""

    text: str
    notes: list[str] = field(default_factory=list[str])
    children: list[Branch] = field(default_factory=list["Branch"])


def draw(top: Branch) -> Iterator[str]:
    """The lines of the tree."""
    yield top.text
    yield from _below(top, "")


def _below(branch: Branch, indent: str) -> Iterator[str]:
    for note in branch.notes:
        yield f"{indent}{'│' if branch.children else ' '}    {note}"
    for child in branch.children:
        last = child is branch.children[-1]
        yield f"{indent}{'└─' if last else '├─'} {child.text}"
        yield from _below(child, indent + ("   " if last else "│  "))
