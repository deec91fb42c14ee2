"""One turn and its limits: pure bookkeeping, time is passed in."""

from __future__ import annotations

from typing import Any

from .errors import TurnEnded, TurnStalled, TurnTimeout


class Turn:
    """A turn under way. The client guards it with its lock."""

    def __init__(self, now: float, timeout_s: float, stall_s: float | None) -> None:
        self.timeout_s = timeout_s
        self.stall_s = stall_s
        self.deadline = now + timeout_s
        self.last_sign_at = now
        self.cancelled = False
        self.result: dict[str, Any] | None = None

    def over_limit(self, now: float) -> type[TurnEnded] | None:
        """Which limit is reached, if any. The turn's own time comes first: it is the caller's."""
        if now >= self.deadline:
            return TurnTimeout
        if self.stall_s is not None and now >= self.last_sign_at + self.stall_s:
            return TurnStalled
        return None

    def patience_s(self, now: float) -> float:
        """Seconds until a limit can be reached."""
        until = self.deadline
        if self.stall_s is not None:
            until = min(until, self.last_sign_at + self.stall_s)
        return max(0.0, until - now)

    def limit_s(self, given_up: type[TurnEnded]) -> float:
        """The limit that an error of this kind speaks of, in seconds."""
        if given_up is TurnStalled:
            return self.stall_s or 0.0
        return self.timeout_s
