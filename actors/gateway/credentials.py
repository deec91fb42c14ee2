"""The key to the Messages API: where it is found, how it is sent, and how it stays out of sight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Mapping

CredentialKind = Literal["api_key", "auth_token", "oauth"]

# In the order of Claude Code: a key is preferred to a token, and both to a login.
_SOURCES: tuple[tuple[str, CredentialKind], ...] = (
    ("ANTHROPIC_API_KEY", "api_key"),
    ("ANTHROPIC_AUTH_TOKEN", "auth_token"),
    ("CLAUDE_CODE_OAUTH_TOKEN", "oauth"),
)

SECRET_VARIABLES: tuple[str, ...] = (
    *(name for name, _ in _SOURCES),
    # Claude Code adds these headers to every request; people put keys of their own proxies here.
    "ANTHROPIC_CUSTOM_HEADERS",
)
"""Variables that no process but the gateway may get."""

OAUTH_BETA = "oauth-2025-04-20"
"""The `anthropic-beta` word without which the API takes no login token."""


class InvalidCredentials(AgentError):
    """A credential cannot be sent as it stands. The message never shows the value."""

    exit_code_of_command = 2

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)
        self.source = source
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.source} {self.reason}; set it to the key alone"


@dataclass(frozen=True)
class Credentials:
    """A key and how it is sent. Its `repr` hides the value, so that no log shows it."""

    kind: CredentialKind
    value: str = field(repr=False)

    def __post_init__(self) -> None:
        if self.kind not in get_args(CredentialKind):
            raise InvalidCredentials("credentials", f"are of an unknown kind, {self.kind!r}")
        _check_value("credentials", self.value)

    def to_wire(self) -> dict[str, str]:
        """As the gateway's child spec carries it. This one does hold the value."""
        return {"kind": self.kind, "value": self.value}

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Credentials:
        """What `to_wire` gave.

        Raises:
            InvalidCredentials: a field is missing, or not what it should be.
        """
        kind, value = data.get("kind"), data.get("value")
        if not isinstance(kind, str) or not isinstance(value, str):
            raise InvalidCredentials("credentials", "need a kind and a value, both text")
        return cls(kind, value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - checked by the class

    @property
    def headers(self) -> dict[str, str]:
        """The headers that carry the key to the API."""
        if self.kind == "api_key":
            return {"x-api-key": self.value}
        return {"authorization": f"Bearer {self.value}"}

    @property
    def betas(self) -> tuple[str, ...]:
        """The `anthropic-beta` words that this kind of key needs."""
        return (OAUTH_BETA,) if self.kind == "oauth" else ()


def find_credentials(env: Mapping[str, str]) -> Credentials | None:
    """The credentials that the environment holds, or None. An empty variable counts as not set.

    Raises:
        InvalidCredentials: a variable is set to something that is no key, by its form.
    """
    for name, kind in _SOURCES:
        if value := env.get(name, "").strip():
            _check_value(name, value)
            return Credentials(kind, value)
    return None


def scrub(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables that hold secrets: what every other process gets."""
    return {name: value for name, value in env.items() if name not in SECRET_VARIABLES}


def _check_value(source: str, value: str) -> None:
    if not value:
        raise InvalidCredentials(source, "has no value")
    # A header is one line of visible ASCII (RFC 9110 § 5.5); anything else is a copying mistake.
    if not all("!" <= char <= "~" for char in value):
        raise InvalidCredentials(source, "holds a space, a line break or a character outside ASCII")
