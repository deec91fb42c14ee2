"""A patch of git, file by file."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from .git import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

# No line inside a file's part begins so: those of a text begin with a blank, + or -, and those of
# a binary one hold no blank.
_START = re.compile(rb"^diff --git ", re.MULTILINE)
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_SIGNS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def starts(patch: bytes) -> list[int]:
    """Where the part of each file begins."""
    return [match.start() for match in _START.finditer(patch)]


def only(patch: bytes, paths: Collection[str]) -> bytes:
    """The parts for these paths, as people are shown them; made without renames."""
    places = [*starts(patch), len(patch)]
    parts = [patch[start:end] for start, end in itertools.pairwise(places)]
    return b"".join(part for part in parts if _path(part) in paths)


def changed_in(patch: bytes) -> frozenset[str]:
    """The paths of a patch, as people are shown them."""
    return frozenset(_path(patch[start : patch.index(b"\n", start)]) for start in starts(patch))


def written_in(patch: Iterable[bytes]) -> frozenset[str]:
    """The paths that a patch leaves a content at, as people are shown them, from its lines."""
    return frozenset(
        _path(line)
        for line, after in itertools.pairwise(patch)
        if line.startswith(b"diff --git ") and not after.startswith(b"deleted file mode ")
    )


def _path(part: bytes) -> str:
    """The path in `diff --git a/PATH b/PATH`, which may stand in quotes."""
    names = part.partition(b"\n")[0].removeprefix(b"diff --git ")
    name = names[len(names) // 2 + 1 :]
    if name.startswith(b'"'):
        name = _ESCAPE.sub(_unescaped, name[1:-1])
    return shown(name.removeprefix(b"b/"))


def _unescaped(match: re.Match[bytes]) -> bytes:
    sign = match[1]
    return bytes([int(sign, 8)]) if sign.isdigit() else _SIGNS.get(sign, sign)
