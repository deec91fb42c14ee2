"""The agents' only way out: it puts the key in, passes the stream on and counts the tokens.

Only what the service itself needs is loaded with the package; the HTTP library comes with
`process`.
"""

from __future__ import annotations

from .credentials import (
    SECRET_VARIABLES,
    CredentialKind,
    Credentials,
    InvalidCredentials,
    find_credentials,
    scrub,
)
from .upstream import PUBLIC_API, InvalidUpstream, check_upstream, find_upstream

__all__ = [
    "PUBLIC_API",
    "SECRET_VARIABLES",
    "CredentialKind",
    "Credentials",
    "InvalidCredentials",
    "InvalidUpstream",
    "check_upstream",
    "find_credentials",
    "find_upstream",
    "scrub",
]
