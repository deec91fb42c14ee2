"""An agent that cannot go on: what it tells its supervisor, and how a lost CLI is explained."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .claude import ClaudeDied, ClaudeError, ClaudeUnresponsive, TurnStalled
from .errors import AgentError, PodmanError
from .failure import POLICIES, FailureKind, classify_exit

if TYPE_CHECKING:
    from .seat import Seat


# A write to a CLI that is just ending fails before its last words and its end are seen.
_END_S = 2.0
_LOOK_S = 0.01


class AgentCrash(AgentError):
    """The agent cannot go on: its container or CLI ended or hangs. Its supervisor restarts it."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"

    def by_poison(self) -> AgentCrash:
        """The same, laid to the task's charge: its supervisor does not count it."""
        if POLICIES[self.kind].permanent:
            return self
        return AgentCrash(FailureKind.POISON, self.detail)


def explain(error: Exception, seat: Seat) -> AgentCrash:
    """What an error in the agent's work means, by its container and by the CLI's last words."""
    try:
        return _explain(error, seat)
    except (AgentError, OSError) as second:  # podman itself fails: what is known must do
        return AgentCrash(FailureKind.CRASH, f"{error} (and then: {second})")


def _explain(error: Exception, seat: Seat) -> AgentCrash:
    match error:
        case AgentCrash():
            return error
        case TurnStalled() | ClaudeUnresponsive():
            return AgentCrash(FailureKind.HUNG, str(error))
        case ClaudeError():
            if isinstance(error, ClaudeDied):
                _await_end(seat)
            kind = lost_cli(seat)
            if kind is FailureKind.IMAGE:
                return AgentCrash(kind, f"the image {seat.image} has no claude that runs: {error}")
            return AgentCrash(kind, str(error))
        case PodmanError(kind="image_missing"):
            return AgentCrash(FailureKind.IMAGE, str(error))
        case _:
            return AgentCrash(FailureKind.CRASH, f"{type(error).__name__}: {error}")


def lost_cli(seat: Seat) -> FailureKind:
    """Why the CLI ended, by its container and its last words.

    Raises:
        PodmanError: podman failed.
    """
    container, client = seat.container, seat.client
    if container is None:
        return FailureKind.CRASH
    words = client.stderr_tail() if client is not None else ""
    return classify_exit(container.exit_code(), oom=container.oom(), stderr_tail=words)


def _await_end(seat: Seat) -> None:
    ends = time.monotonic() + _END_S
    if seat.container is not None:
        seat.container.wait(_END_S)
    while seat.client is not None and seat.client.alive and time.monotonic() < ends:
        time.sleep(_LOOK_S)
