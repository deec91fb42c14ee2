"""Reads plain data that somebody wrote down, and says where it is wrong. Pure."""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .errors import InvalidSpec, SupervisionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")
Place = tuple[str | int, ...]
"""Keys and indices from the top, as `("steps", 2, "reason")`."""


class Miswritten(SupervisionError):
    """Something is written wrongly.

    Args:
        place: keys and indices from the top to it.
        reason: one word, for code to branch on.
        detail: what is wrong there, and what is right.
    """

    exit_code_of_command = 2

    def __init__(self, place: Place, reason: str, detail: str) -> None:
        super().__init__(place, reason, detail)
        self.place = place
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{describe(self.place)}: {self.detail} ({self.reason})"


def describe(place: Place) -> str:
    """A place, for people: steps and children are counted from 1."""
    words = [str(part + 1) if isinstance(part, int) else part for part in place]
    return " ".join(words).replace("steps ", "step ").replace("children ", "child ") or "the file"


def mapping(
    data: object, at: Place, known: Iterable[str], *, needed: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A mapping with no other keys than the known.

    Raises:
        Miswritten: it is none (`not_a_mapping`), or a key is unknown or missing.
    """
    names = tuple(known)
    if not isinstance(data, dict):
        raise Miswritten(at, "not_a_mapping", f"must be a mapping with {', '.join(names)}")
    fields = cast("dict[str, Any]", data)
    for key in fields:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            detail = f"is not known{hint}; known are {', '.join(names)}"
            raise Miswritten((*at, str(key)), "unknown_key", detail)
    for key in needed:
        if key not in fields:
            raise Miswritten(at, "missing_key", f"needs {key}")
    return fields


def sequence(data: object, at: Place) -> list[object]:
    """A list; nothing is an empty one.

    Raises:
        Miswritten: it is none.
    """
    if data is None:
        return []
    if not isinstance(data, list):
        raise Miswritten(at, "not_a_list", "must be a list")
    return cast("list[object]", data)


def child_id(data: object, at: Place) -> str:
    """The id of a child: a word or a number.

    Raises:
        Miswritten: it is none.
    """
    if isinstance(data, bool) or not isinstance(data, str | int) or data == "":
        raise Miswritten(at, "invalid_id", "must be the id of a child")
    return str(data)


def number(data: object, at: Place, *, whole: bool = False) -> Any:  # noqa: ANN401
    """A finite number of 0 or more.

    Raises:
        Miswritten: it is none.
    """
    kinds = int if whole else int | float
    if isinstance(data, bool) or not isinstance(data, kinds) or not 0 <= data < math.inf:
        kind = "whole " if whole else ""
        raise Miswritten(at, "invalid_number", f"must be a {kind}number, 0 or more, and finite")
    return data


def made(make: Callable[[], T], at: Place, written: Mapping[str, str]) -> T:
    """What `make` makes of what was written.

    Args:
        make: makes a spec.
        at: the place that describes it.
        written: the key that stands for a field, where their names differ.

    Raises:
        Miswritten: the spec says that a field makes no sense.
    """
    try:
        return make()
    except InvalidSpec as error:
        name = error.where.rpartition(": ")[2]
        place = (*at, written.get(name, name))
        raise Miswritten(place, error.reason, error.detail) from error
