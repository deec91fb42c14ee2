"""A YAML file that somebody wrote by hand, and the line of each place in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import yaml
from yaml.constructor import ConstructorError

from .errors import SupervisionError
from .written import Miswritten, describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from .written import Place

T = TypeVar("T")
_MAX_BYTES = 1_000_000


class InvalidFile(SupervisionError):
    """A file cannot be read, or says something wrong.

    Args:
        file: its name, as it was given.
        line: from 1; None: the whole file is at fault.
        place: where in it, in words; None: the whole file.
        reason: one word, for code to branch on.
        detail: what is wrong, and what is right.
    """

    exit_code_of_command = 2

    def __init__(
        self, file: str, line: int | None, place: str | None, reason: str, detail: str
    ) -> None:
        super().__init__(file, line, place, reason, detail)
        self.file = file
        self.line = line
        self.place = place
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        what = f"{self.detail} ({self.reason})"
        return ": ".join(part for part in (where, self.place, what) if part)


def load(file: str, parse: Callable[[object], T]) -> T:
    """What `parse` makes of the file.

    Raises:
        InvalidFile: it cannot be read, is no YAML, says something twice, or `parse` says
            `Miswritten`.
    """
    root = compose(file, read_text(file))
    try:
        return parse(_construct(file, root))
    except Miswritten as error:
        line, place = _line(root, error.place), describe(error.place)
        raise InvalidFile(file, line, place, error.reason, error.detail) from error


def read_text(file: str) -> str:
    """The text of a file.

    Raises:
        InvalidFile: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - the name is shown as it was given
            data = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        detail = f"the file cannot be read: {error.strerror or error}"
        raise InvalidFile(file, None, None, "unreadable", detail) from error
    if len(data) > _MAX_BYTES:
        detail = f"the file has more than {_MAX_BYTES:,} bytes"
        raise InvalidFile(file, None, None, "too_large", detail)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidFile(file, line, None, "not_utf8", "this is not UTF-8 text") from error


def compose(file: str, text: str) -> yaml.Node | None:
    """The text of a file as YAML's nodes, which know their lines.

    Raises:
        InvalidFile: it is not YAML.
    """
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        detail = f"this is not YAML: {error.problem or error.context}"
        line = mark.line + 1 if mark else None
        raise InvalidFile(file, line, None, "not_yaml", detail) from error
    except yaml.YAMLError as error:
        raise InvalidFile(file, None, None, "not_yaml", f"this is not YAML: {error}") from error
    except RecursionError as error:
        raise InvalidFile(file, None, None, "too_deep", "it is nested too deeply") from error


def _construct(file: str, root: yaml.Node | None) -> object:
    if root is None:
        return None
    loader = _Loader("")
    try:
        _check_keys(file, root)
        return loader.construct_document(root)  # pyright: ignore[reportUnknownMemberType]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise InvalidFile(file, line, None, "not_yaml", str(error.problem)) from error
    except RecursionError as error:
        raise InvalidFile(file, None, None, "not_yaml", f"cannot be read: {error}") from error
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Tells of which line a value makes no sense, such as the date 2020-13-45."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        try:
            made = super().construct_object(node, deep)  # pyright: ignore[reportUnknownMemberType]
            return cast("object", made)
        except ValueError as error:
            problem = f"cannot be read: {error}"
            raise ConstructorError(None, None, problem, node.start_mark) from error


def _check_keys(file: str, node: yaml.Node) -> None:
    """Keys are words, each there once: of two, YAML would silently take the last."""
    if isinstance(node, yaml.SequenceNode):
        for part in node.value:
            _check_keys(file, part)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise InvalidFile(file, line, None, "invalid_key", "a key must be a word")
            if key.value in seen:
                raise InvalidFile(file, line, key.value, "duplicate_key", "is there twice")
            seen.add(key.value)
            _check_keys(file, value)


def _line(node: yaml.Node | None, place: Place) -> int | None:
    """The line of a place, or of the nearest that is there, from 1."""
    line = node.start_mark.line + 1 if node else None
    for part in place:
        found = _part(node, part)
        if found is None:
            break
        line, node = found
    return line


def _part(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        item: yaml.Node = node.value[part]
        return item.start_mark.line + 1, item
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    return None
