"""Exceptions as data: by name, fields and the text of the traceback; never as code."""

from __future__ import annotations

import builtins
import contextlib
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

    They get the `args` and the fields of the original; the constructor of the class is not called.
    Any thread.
    """
    _rebuilt[class_path(exception_class)] = exception_class


def to_wire(error: BaseException, is_data: Callable[[object], bool]) -> dict[str, Any]:
    """What travels of an exception.

    Args:
        error: it.
        is_data: whether a value has a form on the wire; the words of one that has none go instead.
    """
    if isinstance(error, RemoteError):
        described: dict[str, Any] = {"type": error.type_name, "message": error.message}
        described["args"] = args = None
        fields, text = error.fields, error.traceback_text
    else:
        described = {"type": class_path(type(error)), "message": _words(error)}
        args, fields = _args(error), vars(error)
        described["args"] = [_data(value, is_data) for value in args]
        text = "".join(traceback.format_exception(error))
    described["fields"] = {name: _data(value, is_data) for name, value in fields.items()}
    # msgpack has no tuples: which values are some is said apart.
    named = [*enumerate(args or ()), *fields.items()]
    described["tuples"] = [name for name, value in named if isinstance(value, tuple)]
    return {**described, "traceback": text[-MAX_TEXT:]}


def from_wire(described: object) -> Exception:
    """The exception that travelled, or a `RemoteError` that tells of it."""
    found = cast("dict[str, Any]", described if isinstance(described, dict) else {})
    type_name, message = str(found.get("type", "?")), str(found.get("message", ""))
    text = str(found.get("traceback", ""))
    args, fields = _values(found)
    error = None if args is None else _rebuild(type_name, args, fields)
    if error is None:
        return RemoteError(type_name, message, text, fields)
    error.__cause__ = RemoteTraceback(text)
    return error


def _args(error: BaseException) -> tuple[Any, ...]:
    if isinstance(error, OSError) and type(error).__reduce__ is OSError.__reduce__:
        # With the names of the files, which its `args` lack.
        return cast("tuple[Any, ...]", error.__reduce__()[1])
    return error.args


def _values(found: dict[str, Any]) -> tuple[list[object] | None, dict[str, object]]:
    """The `args`, None when there are none, and the fields."""
    args, fields, tuples = found.get("args"), found.get("fields"), found.get("tuples")
    listed = cast("list[object]", args) if isinstance(args, list) else None
    named = cast("dict[object, object]", fields) if isinstance(fields, dict) else {}
    for name in cast("list[object]", tuples) if isinstance(tuples, list) else ():
        holder: Any = named if isinstance(name, str) else listed
        with contextlib.suppress(LookupError, TypeError):
            holder[name] = _as_tuple(holder[name])
    return listed, {name: value for name, value in named.items() if isinstance(name, str)}


def _as_tuple(value: object) -> object:
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _rebuild(type_name: str, args: list[object], fields: dict[str, object]) -> Exception | None:
    rebuilt = _rebuilt.get(type_name)
    if rebuilt is None:
        return None
    # What Python itself keeps of it beside the fields is set by its nearest built-in class. A
    # constructor of its own may want something else than `args`, or make new ones of them.
    base: Any = next(kind for kind in rebuilt.__mro__ if kind.__module__ == "builtins")
    try:
        error: Exception = base.__new__(rebuilt, *args)
        base.__init__(error, *args)
        vars(error).update(fields)
    except Exception:  # noqa: BLE001 - whatever stands against it, its words are kept
        return None
    return error


def _data(value: object, is_data: Callable[[object], bool]) -> object:
    if is_data(value):
        return value
    try:
        return repr(value)[:MAX_TEXT]
    except Exception:  # noqa: BLE001 - a broken __repr__ must not lose the error itself
        return f"<{type(value).__name__} that cannot be printed>"


def _words(error: BaseException) -> str:
    try:
        return str(error)[:MAX_TEXT]
    except Exception:  # noqa: BLE001 - a broken __str__ must not lose the error itself
        return f"<{type(error).__name__} that cannot be printed>"
