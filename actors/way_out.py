"""Whether a task that is given out now could ask the API at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .orders import GATEWAY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .roster import Roster


class WayOut:
    """Used by the root actor alone, in its thread.

    Args:
        roster: what is known of the gateway.
        clock: monotonic seconds.
    """

    def __init__(self, roster: Roster, clock: Callable[[], float]) -> None:
        self._roster = roster
        self._clock = clock
        self._paused_until = float("-inf")
        self._paused_why = ""

    def note_pause(self, report: Mapping[str, Any]) -> None:
        """The API wants no request from anybody for a while; a pause that lasts longer stays."""
        until = self._clock() + float(report["for_s"])
        if until > self._paused_until:
            self._paused_until, self._paused_why = until, str(report["why"])

    @property
    def pause_s(self) -> float:
        """For how many seconds the API wants no request; 0 is no pause."""
        return max(0.0, self._paused_until - self._clock())

    @property
    def blocked_by(self) -> str | None:
        """Why no task is given out now, or None.

        `gateway` while there is none that serves; while the API asks for a pause, the reason for
        it: `rate_limit`, `overloaded` or `api_down`.
        """
        gateway = self._roster.services.get(GATEWAY)
        if gateway is not None and gateway.state != "ready":
            return GATEWAY
        return self._paused_why if self.pause_s > 0 else None
