"""Waiting for an actor that was restarted by request, here or in the service."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from understudy.actors.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.actors.settings import Settings

_LOOK_S = 0.05
_DOWN = ("starting", "stopping", "down")
# What an orderly end may take beyond `shutdown_timeout`, to SIGKILL.
_DEAF_S = 9.0


class NotBack(AgentError):
    """An actor that was restarted has no running process yet, or never will."""

    def __init__(self, name: str, state: str, why: str | None) -> None:
        super().__init__(name, state, why)
        self.name = name
        self.state = state
        self.why = why

    def __str__(self) -> str:
        why = f": {self.why}" if self.why else ""
        return (
            f"{self.name} is not back, it is {self.state}{why}; see `understudy logs {self.name}`"
        )


def restart_limit_s(settings: Settings) -> float:
    """How long a restart by request may take: an orderly end, and a start."""
    return settings.supervision.shutdown_timeout + _DEAF_S + settings.agent.startup_timeout


def await_restart(
    status: Callable[[], dict[str, Any]], name: str, ended: int, limit_s: float
) -> int:
    """Return the next incarnation of that agent or service when its process is ready.

    Args:
        status: gives what `Orchestrator.status` gives.
        name: the agent or service.
        ended: the incarnation that was to end.
        limit_s: how long it may take.

    Raises:
        NotBack: it failed for good, or was not ready within `limit_s`.
    """
    ends = time.monotonic() + limit_s
    while True:
        now = status()
        actor = now["agents"].get(name) or now["services"][name]
        if actor["incarnation"] > ended and actor["state"] not in (*_DOWN, "failed"):
            return int(actor["incarnation"])
        if time.monotonic() > ends or (actor["state"] == "failed" and actor["incarnation"] > ended):
            raise NotBack(name, actor["state"], actor["last_failure"])
        time.sleep(_LOOK_S)
