"""The first words on a connection: who I am, and whether I am taken.

They are link records: maps with a `link` field, in the same frames as messages. A link record
whose word is unknown is skipped, so that later versions can say more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import HelloRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

PROTOCOL_VERSION = 1


@dataclass(frozen=True)
class Hello:
    """A client's first record. A `name` of None asks the server for one."""

    name: str | None
    incarnation: int
    version: int = PROTOCOL_VERSION

    def to_record(self) -> dict[str, Any]:
        """As it is sent."""
        return {
            "link": "hello",
            "version": self.version,
            "name": self.name,
            "incarnation": self.incarnation,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Hello:
        """The hello of a connection's first record.

        Raises:
            HelloRefused: it is no hello, or of another version of the protocol.
        """
        name, incarnation = record.get("name"), record.get("incarnation", 0)
        version = record.get("version")
        if record.get("link") != "hello" or not isinstance(name, str | None):
            raise HelloRefused("", 0, "bad_hello", "the first record must be a hello")
        if isinstance(incarnation, bool) or not isinstance(incarnation, int) or incarnation < 0:
            raise HelloRefused(name or "", 0, "bad_hello", "the incarnation counts from 0")
        if version != PROTOCOL_VERSION:
            reason = f"it speaks version {version!r} of the protocol, the server {PROTOCOL_VERSION}"
            raise HelloRefused(name or "", incarnation, "version", reason)
        return cls(name, incarnation)


@dataclass(frozen=True)
class Welcome:
    """The server's answer: the client is taken, under this name."""

    name: str
    server: str

    def to_record(self) -> dict[str, Any]:
        """As it is sent."""
        return {
            "link": "welcome",
            "version": PROTOCOL_VERSION,
            "name": self.name,
            "server": self.server,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], hello: Hello) -> Welcome:
        """What the server's first record says to this hello.

        Raises:
            HelloRefused: the client was not taken, or the answer is no answer.
        """
        name, server = record.get("name"), record.get("server")
        if record.get("link") == "welcome" and isinstance(name, str) and isinstance(server, str):
            return cls(name, server)
        asked = hello.name or ""
        if farewell := Farewell.from_record(record):
            raise HelloRefused(asked, hello.incarnation, farewell.kind, farewell.reason)
        raise HelloRefused(asked, hello.incarnation, "bad_hello", "the server gave no welcome")


@dataclass(frozen=True)
class Farewell:
    """The server's last record before it closes a connection on purpose."""

    kind: str
    reason: str

    def to_record(self) -> dict[str, Any]:
        """As it is sent."""
        return {"link": "farewell", "kind": self.kind, "reason": self.reason}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Farewell | None:
        """The farewell that this record is, or None."""
        if record.get("link") != "farewell":
            return None
        return cls(str(record.get("kind", "")), str(record.get("reason", "")))
