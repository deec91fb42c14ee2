"""What each setting takes, read off the typed settings, and how its text form is understood."""

from __future__ import annotations

import reprlib
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from understudy.actors.settings import Settings

_NULL_WORDS = ("null", "~")
_PLAIN_WORDS: dict[object, str] = {type(None): "null", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting: its place, its type with limits, and its default."""

    section: str
    key: str
    type: Any
    default: Any

    @property
    def name(self) -> str:
        """The full name, `section.key`."""
        return f"{self.section}.{self.key}"

    @property
    def expects(self) -> str:
        """What a value must be, in words."""
        return " or ".join(dict.fromkeys(_words(self.type)))

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it is one of; empty when it is not a choice among words."""
        return tuple(_choices(self.type))

    def check(self, value: object) -> object:
        """The value as its setting's type; whole numbers become floats where these are wanted.

        Raises:
            ValueError: it has the wrong type or is out of its limits; says what is needed.
        """
        try:
            # YAML reads an unquoted 1.5 as a number; podman wants it as text.
            if self.key == "container_cpu" and type(value) in (int, float):
                value = str(value)
            return msgspec.convert(value, self.type)
        except msgspec.ValidationError:
            raise ValueError(f"it must be {self.expects}, not {_shown(value)}") from None

    def parse(self, text: str) -> object:
        """What a text from the environment or the command line means for this setting.

        A text that makes no sense is given back as it is, for `check` to refuse.
        """
        if text in _NULL_WORDS and type(None) in get_args(self.type):
            return None
        try:
            return msgspec.convert(text, self.type, strict=False)
        except msgspec.ValidationError:
            return text


def _words(annotation: object) -> list[str]:
    """The descriptions of a type's alternatives."""
    if get_origin(annotation) is Annotated:
        limits = [part for part in get_args(annotation) if isinstance(part, msgspec.Meta)]
        return [limit.description for limit in limits if limit.description]
    if get_origin(annotation) is Literal:
        return ["one of " + ", ".join(get_args(annotation))]
    if isinstance(annotation, types.UnionType) or get_origin(annotation) is Union:
        return [word for part in get_args(annotation) for word in _words(part)]
    return [_PLAIN_WORDS.get(annotation, str(annotation))]


def _choices(annotation: object) -> list[str]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for part in get_args(annotation) for word in _choices(part)]


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    kind = "the text " if isinstance(value, str) else ""
    return kind + reprlib.repr(value)


def _leaves() -> dict[str, Leaf]:
    found = [
        Leaf(section.name, field.name, field.type, field.default)
        for section in msgspec.structs.fields(Settings)
        for field in msgspec.structs.fields(section.type)
    ]
    return {leaf.name: leaf for leaf in found}


SECTIONS: tuple[str, ...] = tuple(section.name for section in msgspec.structs.fields(Settings))
LEAVES: dict[str, Leaf] = _leaves()
