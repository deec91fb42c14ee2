"""Exceptions as data: by name, fields and the text of the traceback; never as code."""

from __future__ import annotations

import builtins
import traceback
from typing import TYPE_CHECKING, Any, cast

import pykka

from . import errors
from .address import class_path
from .errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_TEXT = 16_000
"""Characters of a message or a traceback that travel."""


class RemoteTraceback(Exception):
    """The cause of an exception that came from another process: where it was raised there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


def _known() -> dict[str, type[Exception]]:
    spaces = [vars(builtins), vars(pykka), vars(errors)]
    return {
        class_path(thing): thing
        for space in spaces
        for thing in space.values()
        if isinstance(thing, type) and issubclass(thing, Exception)
    }


_rebuilt: dict[str, type[Exception]] = _known()


def register_exception(exception_class: type[Exception]) -> None:
    """Have exceptions of this class rebuilt when they come from another process.

    Its constructor is called with the `args` of the original. Any thread.
    """
    _rebuilt[class_path(exception_class)] = exception_class


def to_wire(error: BaseException, is_data: Callable[[object], bool]) -> dict[str, Any]:
    """What travels of an exception.

    Args:
        error: it.
        is_data: whether a value has a form on the wire; the words of one that has none go instead.
    """
    if isinstance(error, RemoteError):
        described = {"type": error.type_name, "message": error.message}
        return {**described, "args": None, "traceback": error.traceback_text[-MAX_TEXT:]}
    text = "".join(traceback.format_exception(error))
    fields = {name: _data(value, is_data) for name, value in vars(error).items()}
    return {
        "type": class_path(type(error)),
        "message": _words(error),
        "args": [_data(value, is_data) for value in error.args],
        "fields": fields,
        "traceback": text[-MAX_TEXT:],
    }


def from_wire(described: object) -> Exception:
    """The exception that travelled, or a `RemoteError` that tells of it."""
    found = cast("dict[str, Any]", described if isinstance(described, dict) else {})
    type_name, message = str(found.get("type", "?")), str(found.get("message", ""))
    text = str(found.get("traceback", ""))
    error = _rebuild(type_name, found.get("args"))
    if error is None:
        return RemoteError(type_name, message, text)
    error.__cause__ = RemoteTraceback(text)
    return error


def _rebuild(type_name: str, args: object) -> Exception | None:
    rebuilt = _rebuilt.get(type_name)
    if rebuilt is None or not isinstance(args, list):
        return None
    # msgpack has no tuples: where ours have them, a list would be another value.
    values = [_as_tuple(value) for value in cast("list[object]", args)]
    try:
        return rebuilt(*values)
    except Exception:  # noqa: BLE001 - whatever its constructor raises, its words are kept
        return None


def _as_tuple(value: object) -> object:
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _data(value: object, is_data: Callable[[object], bool]) -> object:
    return value if is_data(value) else repr(value)[:MAX_TEXT]


def _words(error: BaseException) -> str:
    try:
        return str(error)[:MAX_TEXT]
    except Exception:  # noqa: BLE001 - a broken __str__ must not lose the error itself
        return f"<{type(error).__name__} that cannot be printed>"
