"""One turn and its limits: pure bookkeeping, time is passed in."""

from __future__ import annotations

from typing import Any

from ..pauses import Pauses
from .errors import TurnEnded, TurnLost, TurnStalled, TurnTimeout

# A turn's result is written before the CLI says that it has come to rest.
_RESULT_AFTER_REST_S = 2.0


class Turn:
    """A turn under way. The client guards it with its lock.

    Its time stands still in its `pauses`: then neither its limit nor its silence counts.
    """

    def __init__(self, now: float, timeout_s: float, stall_s: float | None) -> None:
        self.timeout_s = timeout_s
        self.stall_s = stall_s
        self.pauses = Pauses()
        self._deadline = now + timeout_s
        self._last_sign_at = now
        self.cancelled = False
        self._is_begun = False
        self._rests_at: float | None = None
        self.result: dict[str, Any] | None = None

    def sign(self, now: float) -> None:
        """The CLI has shown that it lives."""
        self._last_sign_at = self._own(now)

    def on_state(self, state: str, now: float) -> None:
        """Take in what the CLI says of itself: `running`, `idle` or `requires_action`.

        An `idle` from before this turn's `running` is the one before's.
        """
        self._is_begun = self._is_begun or state == "running"
        self._rests_at = now if self._is_begun and state == "idle" else None

    def over_limit(self, now: float) -> type[TurnEnded] | None:
        """Which limit is reached, if any. The turn's own time comes first: it is the caller's."""
        own = self._own(now)
        if own >= self._deadline:
            return TurnTimeout
        if self._rests_at is not None and now >= self._rests_at + _RESULT_AFTER_REST_S:
            return TurnLost
        if self.stall_s is not None and own >= self._last_sign_at + self.stall_s:
            return TurnStalled
        return None

    def patience_s(self, now: float) -> float:
        """Seconds until a limit can be reached."""
        until = self._deadline
        if self.stall_s is not None:
            until = min(until, self._last_sign_at + self.stall_s)
        left_s = until - self._own(now) + self.pauses.rest_s(now)
        if self._rests_at is not None:
            left_s = min(left_s, self._rests_at + _RESULT_AFTER_REST_S - now)
        return max(0.0, left_s)

    def limit_s(self, given_up: type[TurnEnded]) -> float:
        """The limit that an error of this kind speaks of, in seconds."""
        if given_up is TurnLost:
            return _RESULT_AFTER_REST_S
        if given_up is TurnStalled:
            return self.stall_s or 0.0
        return self.timeout_s

    def _own(self, now: float) -> float:
        return now - self.pauses.total_s(now)
