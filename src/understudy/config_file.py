"""A YAML configuration file as a flat list of settings, each with the line it stands in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import yaml

from understudy.actors.errors import AgentError
from understudy.supervision import yaml_file

if TYPE_CHECKING:
    from collections.abc import Iterator


NO_SUCH = "there is no such setting"
# The section whose entries have names of their own, and settings below these.
_NESTED = "roles"


class ConfigurationError(AgentError):
    """A setting, or the file that holds it, is wrong.

    Attributes:
        source: the file; or the environment variable, the command line, or code, in words.
        line: line in the file, from 1; None when there is none.
        key: the setting, as `section.key`; None when the whole file is at fault.
        message: what is wrong, and what is needed.
        nearest: the valid name it may have meant, or None.
    """

    def __init__(
        self,
        source: str,
        line: int | None,
        key: str | None,
        message: str,
        nearest: str | None = None,
    ) -> None:
        super().__init__(source, line, key, message, nearest)
        self.source = source
        self.line = line
        self.key = key
        self.message = message
        self.nearest = nearest

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        return ": ".join(part for part in (place, self.key, self.message + hint) if part)


class UnknownSetting(ConfigurationError, KeyError):
    """There is no setting of that name."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A section in a file (`key` is None then), or a setting in one.

    The value of a section is None, or what stands where its settings should be. A setting within
    mappings has their keys before its own, with dots between: `reviewer.limits.memory`.
    """

    section: str
    key: str | None
    value: object
    line: int


def read_config_file(path: str | os.PathLike[str]) -> list[FileEntry]:
    """The entries of a file, in its order. Whether their names and values are valid is not asked.

    Raises:
        ConfigurationError: it cannot be read, is not YAML, is no mapping of sections, or says
            something twice.
    """
    name = os.fspath(path)
    root = compose(name, read_text(name))
    if root is None or _is_null(root):
        return []
    entries: list[FileEntry] = []
    for section, line, node in _pairs(name, root, None):
        value = _scalar(name, section, node) if isinstance(node, yaml.ScalarNode) else None
        entries.append(FileEntry(section, None, value, line))
        if isinstance(node, yaml.ScalarNode):
            continue
        nested = section == _NESTED
        entries += _entries(name, section, node, nested=nested)
    return entries


def _entries(
    name: str, section: str, node: yaml.Node, *, nested: bool, above: str = ""
) -> Iterator[FileEntry]:
    """The settings below a node; those of `nested` sections may be mappings."""
    where = f"{section}.{above}".rstrip(".")
    for key, line, leaf in _pairs(name, node, where):
        full = f"{above}{key}"
        if nested and isinstance(leaf, yaml.MappingNode):
            yield from _entries(name, section, leaf, nested=True, above=f"{full}.")
        elif isinstance(leaf, yaml.SequenceNode):
            words = [_scalar(name, f"{section}.{full}", each) for each in leaf.value]
            yield FileEntry(section, full, words, line)
        else:
            yield FileEntry(section, full, _scalar(name, f"{section}.{full}", leaf), line)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def read_text(name: str) -> str:
    """The text of a file that somebody wrote by hand.

    Raises:
        ConfigurationError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        return yaml_file.read_text(name)
    except yaml_file.InvalidFile as error:
        raise ConfigurationError(name, error.line, None, error.detail) from error


def compose(name: str, text: str) -> yaml.Node | None:
    """The text of the file `name` as YAML's nodes, which know their lines.

    Raises:
        ConfigurationError: it is not YAML.
    """
    try:
        return yaml_file.compose(name, text)
    except yaml_file.InvalidFile as error:
        raise ConfigurationError(name, error.line, None, error.detail) from error


def _pairs(name: str, node: yaml.Node, section: str | None) -> Iterator[tuple[str, int, yaml.Node]]:
    """Keys of a mapping, their lines and values; a key that comes twice is an error."""
    if not isinstance(node, yaml.MappingNode):
        what = f"the section {section}" if section else "the file"
        message = f"{what} must be a mapping: lines such as `key: value`"
        raise ConfigurationError(name, _line(node), section, message)
    first_lines: dict[str, int] = {}
    for key_node, value in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigurationError(name, _line(key_node), section, "a key must be a word")
        key = str(key_node.value)
        if key in first_lines:
            full = f"{section}.{key}" if section else key
            message = f"it was set in line {first_lines[key]} already"
            raise ConfigurationError(name, _line(key_node), full, message)
        first_lines[key] = _line(key_node)
        yield key, first_lines[key], value


def _scalar(name: str, key: str, node: yaml.Node) -> object:
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigurationError(name, _line(node), key, "a single value is needed")
    loader = yaml.SafeLoader("")
    try:
        return cast("object", loader.construct_object(node))  # pyright: ignore[reportUnknownMemberType]
    except (yaml.YAMLError, ValueError) as error:
        problem = getattr(error, "problem", None) or error
        message = f"the value cannot be read: {problem}"
        raise ConfigurationError(name, _line(node), key, message) from error
    finally:
        loader.dispose()


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
