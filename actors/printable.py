"""Text of agents, models and repositories, made safe for a person's terminal. Pure."""

from __future__ import annotations

import re

# All control characters but tab and line feed, marks that turn the direction of writing, the other
# ends of a line, and halves of characters, which no stream takes.
_COMMANDING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""The text with each character that commands a terminal, or hides others, as `\x1b`."""
    return _COMMANDING.sub(lambda found: _escaped(found[0]), text)


def all_visible(text: str) -> str:
    """The same for text that somebody decides by: all that is not seen is escaped, also line ends.

    Spaces stay; every other kind of them does not.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
