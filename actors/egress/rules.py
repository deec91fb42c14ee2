"""The allow-list: hosts by name and port, as the configuration writes them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from ..errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from ..settings import Settings

_HTTPS = 443
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
# A pattern for one label alone would be a whole part of the world, such as *.com.
_PATTERN = re.compile(rf"\*(\.{_LABEL}){{2,}}")
_MAX_NAME = 253
_MAX_PORT = 65535
_WANTED = 'a host such as "example.org", "example.org:8443" or "*.example.org"'


class InvalidEgress(AgentError):
    """A setting of the way out cannot be used.

    Attributes:
        key: the setting at fault.
        reason: what is wrong, and what is needed.
    """

    exit_code_of_command = 2

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


@dataclass(frozen=True)
class Host:
    """A host and a port that may be reached.

    Attributes:
        name: in small letters; "*.example.org" is every name below example.org, not itself. An
            address is reached as one, whatever addresses are allowed.
        port: of TCP.
    """

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"

    def covers(self, name: str) -> bool:
        """Whether the name, of small letters, is this one or below it."""
        return name.endswith(self.name[1:]) if self.name.startswith("*") else name == self.name


def parse_host(text: str, port: int | None = _HTTPS) -> Host:
    """A host with its port; without `port` one must be there.

    Raises:
        ValueError: it is none; says what is needed.
    """
    bare = text.strip(" ").lower()
    name, colon, digits = bare.rpartition(":")
    if not colon or (bare.count(":") > 1 and not name.endswith("]")):
        name, colon, digits = bare, "", ""  # an address of IPv6 has colons of its own
    number = int(digits) if digits.isascii() and digits.isdigit() else port if not colon else None
    name = name.removesuffix(".")
    if number is None or not 0 < number <= _MAX_PORT or not _is_name(name):
        raise ValueError(f"{text!r} is not {_WANTED}")
    return Host(_bare(name), number)


def _is_name(name: str) -> bool:
    if _address(_bare(name)):
        return True
    # The last label of a name is no number: resolvers take "127.1" and "0x7f.1" for addresses.
    is_number = re.fullmatch(r"(0x[0-9a-f]*|\d+)", name.rpartition(".")[2])
    plain = _NAME.fullmatch(name) or _PATTERN.fullmatch(name)
    return len(name) <= _MAX_NAME and plain is not None and is_number is None


def _bare(name: str) -> str:
    """An address of IPv6 without the brackets that part it from a port."""
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def _address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class AllowList:
    """The hosts that may be reached.

    Args:
        setting: the setting that names them, for the one who is refused.
        hosts: they themselves.
    """

    def __init__(self, setting: str, hosts: Iterable[str]) -> None:
        self.setting = setting
        self._hosts = [parse_host(host) for host in hosts]

    def __iter__(self) -> Iterator[str]:
        """Each host with its port."""
        return map(str, self._hosts)

    def why_not(self, wanted: Host) -> str | None:
        """Why that host may not be reached, and by which setting it could be; None: it may."""
        if wanted.name.startswith("*"):
            return f"{wanted} is no host"
        ports = [host.port for host in self._hosts if host.covers(wanted.name)]
        if wanted.port in ports:
            return None
        if not ports:
            return f"{self.setting} does not name {wanted}"
        allowed = ", ".join(map(str, ports))
        return f"{self.setting} names {wanted.name} with port {allowed}, not {wanted.port}"


def networks(texts: Sequence[str]) -> list[IPv4Network | IPv6Network]:
    """Addresses and networks such as "10.1.2.3" and "10.0.0.0/8".

    Raises:
        ValueError: one is none.
    """
    return [ip_network(text) for text in texts]


def ways_of(settings: Settings) -> dict[str, AllowList]:
    """What each role may reach; "" is what holds without a role. Who may reach nothing is left out.

    Raises:
        InvalidEgress: a host or an address is none.
    """
    lists = {"": ("egress.allow", settings.egress.allow)}
    for name, role in settings.roles.items():
        own = role.egress
        lists[name] = lists[""] if own is None else (f"roles.{name}.egress", own)
    return {name: _checked(*entry) for name, entry in lists.items() if entry[1]}


def check_egress(settings: Settings) -> None:
    """Refuse a list that cannot be used.

    Raises:
        InvalidEgress: the first that cannot.
    """
    ways_of(settings)
    try:
        networks(settings.egress.allow_addresses)
    except ValueError as error:
        raise InvalidEgress("egress.allow_addresses", f"{error}; such as 10.0.0.0/8") from None


def _checked(setting: str, hosts: Sequence[str]) -> AllowList:
    try:
        return AllowList(setting, hosts)
    except ValueError as error:
        raise InvalidEgress(setting, str(error)) from None
