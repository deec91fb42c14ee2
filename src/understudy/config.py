"""The configuration of a fleet: defaults, then file, then environment, then flags, then code.

Each value is checked where it comes in, and remembers where that was.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import msgspec

from understudy.actors.egress.rules import InvalidEgress, check_egress
from understudy.actors.gateway.from_settings import InvalidBudget, check_budget
from understudy.actors.gateway.prices import InvalidPrices
from understudy.actors.settings import Settings
from understudy.actors.team.roles import InvalidRole, check_roles

from .config_file import NO_SUCH, ConfigurationError, UnknownSetting, read_config_file
from .config_roles import is_role_key, role_leaf, role_names, role_rows
from .config_schema import LEAVES, ROLES, SECTIONS, Leaf, closest

__all__ = ["Configuration", "ConfigurationError", "SettingRow", "UnknownSetting", "load"]

ENV_PREFIX = "UNDERSTUDY_"
_CODE = "set in code"


class SettingRow(NamedTuple):
    """One setting as `config show` lists it."""

    name: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class _Value:
    value: Any
    origin: str


class Configuration(MutableMapping[str, Any]):
    """All settings, each under its full name, such as `orchestrator.num_agents`.

    A key may also be a setting's last name alone, `num_agents` (they are unique), or a section's,
    which stands for a mapping of its settings. What is assigned is checked at once. Iteration
    gives the full names. `del` brings a default back. The settings of a role are named
    `roles.NAME.KEY`; a role is there once one of them is set.
    """

    def __init__(self) -> None:
        self._values: dict[str, _Value] = {}

    @property
    def settings(self) -> Settings:
        """All settings as one typed, unchangeable value.

        Raises:
            ConfigurationError: two settings contradict each other.
        """
        low, high = "supervision.backoff_min", "supervision.backoff_max"
        if self[low] > self[high]:
            key = low if self.origin(high) == "default" else high
            message = f"{low} ({self[low]:g}) is above {high} ({self[high]:g})"
            raise ConfigurationError(*self._place(key), key, message)
        sections = {name: dict(self[name]) for name in SECTIONS}
        settings = msgspec.convert(sections | {ROLES: self._roles()}, Settings)
        try:
            check_budget(settings)
            check_roles(settings)
            check_egress(settings)
        except (InvalidBudget, InvalidEgress, InvalidRole) as error:
            raise ConfigurationError(*self._place(error.key), error.key, error.reason) from None
        except InvalidPrices as error:
            key = "budget.prices_file"
            raise ConfigurationError(*self._place(key), key, str(error)) from None
        return settings

    def origin(self, key: str) -> str:
        """Where a value is from: "default", "FILE:LINE", "environment NAME", "flag" or code.

        Raises:
            UnknownSetting: there is no such setting.
        """
        value = self._values.get(_leaf(key, _CODE, None).name)
        return value.origin if value else "default"

    def rows(self) -> list[SettingRow]:
        """Every setting with its value and origin, by section; those of the roles last."""
        names = [*LEAVES, *role_rows(role_names(self._values))]
        return [SettingRow(name, self[name], self.origin(name)) for name in names]

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - each setting has a type of its own
        if key in SECTIONS:
            return _Section(self, key)
        leaf = _leaf(key, _CODE, None)
        value = self._values.get(leaf.name)
        return value.value if value else leaf.default

    def __setitem__(self, key: str, value: object) -> None:
        if key not in SECTIONS:
            self.put(key, value, source=_CODE, origin=_CODE)
            return
        if not isinstance(value, Mapping):
            raise ConfigurationError(_CODE, None, key, "a mapping of its settings is needed")
        checked = Configuration()
        for name, entry in cast("Mapping[str, object]", value).items():
            checked[f"{key}.{name}"] = entry
        self._values.update(checked._values)

    def __delitem__(self, key: str) -> None:
        names = [n for n in LEAVES if n.startswith(f"{key}.")] if key in SECTIONS else []
        for name in names or [_leaf(key, _CODE, None).name]:
            self._values.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(LEAVES)

    def __len__(self) -> int:
        return len(LEAVES)

    def __repr__(self) -> str:
        changed = {name: value.value for name, value in self._values.items()}
        return f"<Configuration {changed}>"

    def put(
        self, key: str, value: object, *, source: str, origin: str, line: int | None = None
    ) -> None:
        """Check and set a value that comes from elsewhere; source and line are for the error.

        Raises:
            ConfigurationError: there is no such setting, or it does not take that value.
        """
        leaf = _leaf(key, source, line)
        try:
            checked = leaf.check(value)
        except ValueError as error:
            nearest = leaf.nearest(value)
            raise ConfigurationError(source, line, leaf.name, str(error), nearest) from None
        self._values[leaf.name] = _Value(checked, origin)

    def _roles(self) -> dict[str, Any]:
        """The roles as plain data, without what has its default."""
        roles: dict[str, Any] = {name: {} for name in role_names(self._values)}
        for name, value in self._values.items():
            if is_role_key(name):
                _, role, *path = name.split(".")
                place = roles[role]
                for part in path[:-1]:
                    place = place.setdefault(part, {})
                place[path[-1]] = value.value
        return roles

    def _place(self, key: str) -> tuple[str, int | None]:
        file, colon, line = self.origin(key).rpartition(":")
        return (file, int(line)) if colon and line.isdigit() else (self.origin(key), None)


class _Section(MutableMapping[str, Any]):
    """The settings of one section; writes go to the configuration they are of."""

    def __init__(self, configuration: Configuration, section: str) -> None:
        self._configuration = configuration
        self._section = section

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - each setting has a type of its own
        return self._configuration[f"{self._section}.{key}"]

    def __setitem__(self, key: str, value: object) -> None:
        self._configuration[f"{self._section}.{key}"] = value

    def __delitem__(self, key: str) -> None:
        del self._configuration[f"{self._section}.{key}"]

    def __iter__(self) -> Iterator[str]:
        return (leaf.key for leaf in LEAVES.values() if leaf.section == self._section)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


def load(
    config_path: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Configuration:
    """The configuration of a file, an environment and flags; the later are stronger.

    Args:
        config_path: a YAML file, or None.
        env: variables named `UNDERSTUDY_<SECTION>__<KEY>` count, in capitals; None is no variable.
        overrides: values by `section.key`, or by the key alone.

    Raises:
        ConfigurationError: the first thing that is wrong, and where.
    """
    configuration = Configuration()
    if config_path is not None:
        _put_file(configuration, config_path)
    _put_environment(configuration, env or {})
    _put_overrides(configuration, overrides or {})
    _ = configuration.settings  # contradictions show now, not at the first use
    return configuration


def _put_file(configuration: Configuration, path: str | os.PathLike[str]) -> None:
    source = os.fspath(path)
    for entry in read_config_file(path):
        if entry.section not in (*SECTIONS, ROLES):
            raise _unknown(source, entry.line, entry.section, (*SECTIONS, ROLES))
        if entry.key is None:
            if entry.value is not None:
                message = "a section is needed: its settings on lines below it"
                raise ConfigurationError(source, entry.line, entry.section, message)
            continue
        name, origin = f"{entry.section}.{entry.key}", f"{source}:{entry.line}"
        if entry.section != ROLES and name not in LEAVES:
            raise _unknown(source, entry.line, name, LEAVES)
        configuration.put(name, entry.value, source=source, origin=origin, line=entry.line)


def _put_environment(configuration: Configuration, env: Mapping[str, str]) -> None:
    for name in sorted(env):
        # Names without "__" are not settings. An empty variable counts as none, as in a shell.
        if not name.startswith(ENV_PREFIX) or "__" not in name or not env[name]:
            continue
        source = f"environment variable {name}"
        leaf = _BY_VARIABLE.get(name)
        if leaf is None:
            raise UnknownSetting(source, None, None, NO_SUCH, closest(name, _BY_VARIABLE))
        origin = f"environment {name}"
        configuration.put(leaf.name, leaf.parse(env[name]), source=source, origin=origin)


def _put_overrides(configuration: Configuration, overrides: Mapping[str, object]) -> None:
    for key, value in overrides.items():
        leaf = _leaf(key, "flag", None)
        parsed = leaf.parse(value) if isinstance(value, str) else value
        configuration.put(leaf.name, parsed, source="flag", origin="flag")


_BY_VARIABLE = {f"{ENV_PREFIX}{leaf.section}__{leaf.key}".upper(): leaf for leaf in LEAVES.values()}
_BY_KEY = {leaf.key: leaf for leaf in LEAVES.values()}


def _leaf(key: str, source: str, line: int | None) -> Leaf:
    """The setting of a full or last name."""
    if is_role_key(key):
        return role_leaf(key, source, line)
    leaf = LEAVES.get(key) or _BY_KEY.get(key)
    if leaf is None:
        raise _unknown(source, line, key, LEAVES)
    return leaf


def _unknown(source: str, line: int | None, key: str, known: Iterable[str]) -> UnknownSetting:
    """The error for a name that is not among the known, with the best guess at what was meant."""
    last = key.rpartition(".")[2]
    if last in _BY_KEY:
        # Right, but in the wrong section, or in none.
        return UnknownSetting(source, line, key, NO_SUCH, _BY_KEY[last].name)
    nearest = closest(key, known)
    if nearest is None and (alike := closest(last, _BY_KEY)):
        nearest = _BY_KEY[alike].name
    return UnknownSetting(source, line, key, NO_SUCH, nearest)
