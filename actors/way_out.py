"""Whether a task that is given out now could ask the API at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .orders import GATEWAY

if TYPE_CHECKING:
    from collections.abc import Callable

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

    @property
    def blocked_by(self) -> str | None:
        """Why no task is given out now: `gateway` while there is none that serves; or None."""
        gateway = self._roster.services.get(GATEWAY)
        return None if gateway is None or gateway.state == "ready" else GATEWAY
