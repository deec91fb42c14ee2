"""Time that does not count: a clock that stands still while somebody else holds up the work.

Pure: time is passed in (monotonic seconds). Whoever uses it guards it.
"""

from __future__ import annotations


class Pauses:
    """The pauses of one piece of work. Each ends by itself at last, also when nobody ends it."""

    def __init__(self) -> None:
        self._over_s = 0.0
        self._since = self._ended = float("-inf")
        # When each pause ends at the latest, by who makes it.
        self._until: dict[str, float] = {}

    def begin(self, by: str, now: float, *, at_most_s: float, waited_s: float = 0.0) -> None:
        """The work is held up by that one, and has been for `waited_s` already."""
        self._settle(now)
        if not self._until:
            self._since = max(now - waited_s, self._ended)
        self._until[by] = now + at_most_s

    def end(self, by: str, now: float) -> None:
        """That one holds it up no more."""
        self._settle(now)
        if self._until.pop(by, None) is not None and not self._until:
            self._close(now)

    def total_s(self, now: float) -> float:
        """How long the work has been held up in all."""
        self._settle(now)
        return self._over_s + (now - self._since if self._until else 0.0)

    def rest_s(self, now: float) -> float:
        """How long the present pause may last at most; 0 without one."""
        return max((until - now for until in self._until.values()), default=0.0)

    def _settle(self, now: float) -> None:
        """Forget the pauses that have ended by themselves."""
        if not self._until:
            return
        last = max(self._until.values())
        self._until = {by: until for by, until in self._until.items() if until > now}
        if not self._until:
            self._close(last)

    def _close(self, at: float) -> None:
        self._over_s += at - self._since
        self._ended = at
