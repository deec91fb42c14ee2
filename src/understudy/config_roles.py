"""The settings of roles: each is named `roles.NAME.KEY`, where the user chose the name."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from .config_file import NO_SUCH, ConfigurationError, UnknownSetting
from .config_schema import ROLE_LEAVES, ROLES, Leaf, closest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# It stands beside task types and in the names of events; a dot would end it.
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def is_role_key(key: str) -> bool:
    """Whether that is the name of a role's setting."""
    return key.startswith(f"{ROLES}.")


def role_leaf(key: str, source: str, line: int | None) -> Leaf:
    """The setting of that full name, such as `roles.reviewer.limits.memory`.

    Raises:
        ConfigurationError: the role's name cannot be used, or its setting does not exist.
    """
    _, _, rest = key.partition(".")
    name, _, setting = rest.partition(".")
    if not _NAME.fullmatch(name):
        message = "a role's name has up to 32 small letters, digits, - and _, a letter first"
        raise ConfigurationError(source, line, key, message)
    if not setting:
        message = "a role is needed: its settings on lines below it"
        raise ConfigurationError(source, line, key, message)
    leaf = ROLE_LEAVES.get(setting)
    if leaf is None:
        raise UnknownSetting(source, line, key, NO_SUCH, _nearest(name, setting))
    return replace(leaf, key=f"{name}.{setting}")


def role_names(keys: Iterable[str]) -> list[str]:
    """The roles that settings of these names make, in their order."""
    return list(dict.fromkeys(key.split(".")[1] for key in keys if is_role_key(key)))


def role_rows(names: Iterable[str]) -> Iterator[str]:
    """The full names of all settings of these roles."""
    return (f"{ROLES}.{name}.{key}" for name in names for key in ROLE_LEAVES)


def _nearest(name: str, setting: str) -> str | None:
    last = {key.rpartition(".")[2]: key for key in ROLE_LEAVES}
    word = setting.rpartition(".")[2]
    near = closest(setting, ROLE_LEAVES) or last.get(closest(word, last) or "")
    return f"{ROLES}.{name}.{near}" if near else None
