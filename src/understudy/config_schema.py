"""What each setting takes, read off the typed settings, and how its text form is understood."""

from __future__ import annotations

import difflib
import reprlib
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast, get_args, get_origin

import msgspec

from understudy.actors.settings import RoleBudget, RoleLimits, RoleSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

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
            if self.key.endswith(("container_cpu", "limits.cpu")) and type(value) in (int, float):
                value = str(value)
            return msgspec.convert(value, self.type)
        except msgspec.ValidationError:
            raise ValueError(f"it must be {self.expects}, not {_shown(value)}") from None

    def nearest(self, value: object) -> str | None:
        """The valid word that a wrong value, or a part of it, may have meant."""
        words = cast("list[object]", value) if isinstance(value, list) else [value]
        wrong = (str(word) for word in words if word not in self.choices)
        return next((near for word in wrong if (near := closest(word, self.choices))), None)

    def parse(self, text: str) -> object:
        """What a text from the environment or the command line means for this setting.

        A text that makes no sense is given back as it is, for `check` to refuse.
        """
        if text in _NULL_WORDS and type(None) in get_args(self.type):
            return None
        if any(get_origin(part) is tuple for part in _parts(self.type)):
            return [word.strip() for word in text.split(",") if word.strip()]
        try:
            return msgspec.convert(text, self.type, strict=False)
        except msgspec.ValidationError:
            return text


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like this one, if one is like it at all."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.7)
    return by_lower[found[0]] if found else None


def _parts(annotation: object) -> list[object]:
    """A type's alternatives, without their limits."""
    if get_origin(annotation) is Annotated:
        return _parts(get_args(annotation)[0])
    if isinstance(annotation, types.UnionType) or get_origin(annotation) is Union:
        return [part for each in get_args(annotation) for part in _parts(each)]
    return [annotation]


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
        Leaf(section, field.name, field.type, field.default)
        for section, fields in _sections().items()
        for field in fields
    ]
    return {leaf.name: leaf for leaf in found}


def _sections() -> dict[str, tuple[msgspec.structs.FieldInfo, ...]]:
    """The settings of each section; roles have names of their own, and are none."""
    sections = msgspec.structs.fields(Settings)
    return {each.name: msgspec.structs.fields(each.type) for each in sections if each.name != ROLES}


def _role_leaves() -> dict[str, Leaf]:
    """The settings of any role by their key; `limits` and `budget` have settings of their own."""
    found: dict[str, Leaf] = {}
    for field in msgspec.structs.fields(RoleSettings):
        if field.type in (RoleLimits, RoleBudget):
            for inner in msgspec.structs.fields(field.type):
                key = f"{field.name}.{inner.name}"
                found[key] = Leaf(ROLES, key, inner.type, inner.default)
        else:
            found[field.name] = Leaf(ROLES, field.name, field.type, field.default)
    return found


ROLES = "roles"
SECTIONS: tuple[str, ...] = tuple(_sections())
LEAVES: dict[str, Leaf] = _leaves()
ROLE_LEAVES: dict[str, Leaf] = _role_leaves()
