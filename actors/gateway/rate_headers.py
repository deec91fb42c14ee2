"""What an answer's head says about the rate limit. Pure functions over names and values.

The names are those of the Messages API: `anthropic-ratelimit-<window>-limit`, `-remaining` and
`-reset` (https://platform.claude.com/docs/en/api/rate-limits), and `retry-after` (RFC 9110).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

WindowName = Literal["requests", "tokens", "input-tokens", "output-tokens"]
WINDOWS: tuple[WindowName, ...] = get_args(WindowName)
_PREFIX = "anthropic-ratelimit-"
_MAX_WAIT_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Window:
    """One limit: how much a minute, and how much is left now."""

    limit: float
    remaining: float


def read_windows(headers: Mapping[str, str]) -> dict[WindowName, Window]:
    """The limits that an answer tells; what is missing or malformed is left out."""
    found: dict[WindowName, Window] = {}
    for name in WINDOWS:
        limit = _number(headers.get(f"{_PREFIX}{name}-limit"))
        remaining = _number(headers.get(f"{_PREFIX}{name}-remaining"))
        if limit and remaining is not None:
            found[name] = Window(limit, min(remaining, limit))
    return found


def read_retry_after(headers: Mapping[str, str], wall_s: float) -> float | None:
    """In how many seconds to try again, or None when the answer does not say.

    Args:
        headers: of the answer; names in lower case, or a mapping that does not mind.
        wall_s: now, in seconds since the epoch: some answers name a time.
    """
    millis = _number(headers.get("retry-after-ms"))
    if millis is not None:
        return min(millis / 1000, _MAX_WAIT_S)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is None and text:
        seconds = _until(text, wall_s)
    if seconds is None:
        # Accounts with a subscription are told the time at which their window starts anew.
        reset = _number(headers.get(f"{_PREFIX}unified-reset"))
        seconds = max(0.0, reset - wall_s) if reset is not None else None
    return None if seconds is None else min(seconds, _MAX_WAIT_S)


def _until(date: str, wall_s: float) -> float | None:
    try:
        at = parsedate_to_datetime(date)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.fromtimestamp(wall_s, UTC)).total_seconds())


def _number(text: str | None) -> float | None:
    """A number of 0 and above; `nan` and infinity are none."""
    try:
        value = float(text) if text else -1.0
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
