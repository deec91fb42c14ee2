"""The system's package manager: what a package is called there, and how to get it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import MachineNotReady

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class PackageManager:
    """How one family of systems installs packages; `names` are those unlike Debian's."""

    program: str
    refresh: tuple[str, ...]
    install: tuple[str, ...]
    names: Mapping[str, str]


_MANAGERS = (
    PackageManager(
        program="apt-get",
        refresh=("apt-get", "update", "-q"),
        install=("apt-get", "install", "-y", "-q", "--no-install-recommends"),
        names={},
    ),
    PackageManager(
        program="dnf",
        refresh=(),
        install=("dnf", "install", "-y", "-q"),
        names={"uidmap": "shadow-utils", "procps": "procps-ng"},
    ),
    PackageManager(
        program="zypper",
        refresh=(),
        install=("zypper", "--non-interactive", "install"),
        names={"uidmap": "shadow", "npm": "npm-default"},
    ),
    PackageManager(
        program="pacman",
        refresh=(),
        install=("pacman", "-Sy", "--noconfirm", "--needed"),
        names={"uidmap": "shadow", "procps": "procps-ng"},
    ),
)


def package_manager(env: Mapping[str, str] | None = None) -> PackageManager | None:
    """The manager of this system, or None when it is none of apt, dnf, zypper and pacman."""
    path = (os.environ if env is None else env).get("PATH")
    for manager in _MANAGERS:
        if shutil.which(manager.program, path=path):
            return manager
    return None


def install_commands(
    packages: Sequence[str],
    manager: PackageManager | None = None,
    *,
    is_root: bool | None = None,
) -> list[list[str]]:
    """The commands that install these packages (named as in Debian), to be run one after the other.

    Raises:
        MachineNotReady: the system has no package manager that is known here.
    """
    manager = manager or package_manager()
    if manager is None:
        wanted = ", ".join(packages)
        raise MachineNotReady("no known package manager is here", f"install by hand: {wanted}")
    root = os.geteuid() == 0 if is_root is None else is_root
    sudo = [] if root else ["sudo"]
    names = [manager.names.get(name, name) for name in packages]
    refresh = [[*sudo, *manager.refresh]] if manager.refresh else []
    return [*refresh, [*sudo, *manager.install, *names]]
