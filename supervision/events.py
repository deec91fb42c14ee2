"""What a supervisor tells about its children: why one ended, what happened, how they stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

ExitKind = Literal[
    "normal", "shutdown", "crash", "killed", "hung", "start_timeout", "permanent", "unknown"
]
EventKind = Literal[
    "starting",
    "ready",
    "exited",
    "restarting",
    "gave_up",
    "stopped",
    "budget_warning",
    "budget_spent",
    "spared",
]


@dataclass(frozen=True)
class ExitReason:
    """Why a child ended.

    Args:
        kind: `normal`: it returned of its own will. `shutdown`: it ended when asked. `crash`: an
            uncaught exception, a bad exit code or a fault of the program. `killed`: a signal from
            outside, or it did not stop when asked. `hung`: its loop did not answer. `permanent`:
            it said that starting it again is no use. `unknown`: nobody was left to see how.
        exit_code: None when a signal ended it or it is unknown.
        signal: the number of the signal that ended it.
        detail: what the child or its end says, for people; may be empty.
        failure_kind: the word the child gave to `fail` or `fail_permanently`; `budget` when its
            budget ended it.
    """

    kind: ExitKind
    exit_code: int | None = None
    signal: int | None = None
    detail: str = ""
    failure_kind: str | None = None


@dataclass(frozen=True)
class ChildEvent:
    """Something happened to a child, or (`child_id` is the supervisor's own) to the supervisor.

    Args:
        kind: `starting`, `ready`; `exited`: this incarnation is over; `restarting`: another will
            be started after `delay_s`; `gave_up`: it will not, it failed for good; `stopped`: it
            will not, as wished. Each `exited` is followed by one of the last three.
            `budget_warning`, `budget_spent`: it has spent the share to warn at; all, so that it is
            asked to end. `spared`: it was late, but we had stood still ourselves: it is given a
            fresh interval instead of being killed.
        incarnation: which start of the child it is about.
        reason: with `exited`, `restarting`, `gave_up`, `stopped`: why it ended.
        delay_s: with `restarting`: seconds until the start; None: as soon as its siblings allow.
        info: with `ready`: what the child gave to `ready()`, and its process id as `pid`; with the
            budget's events: `spent`, `limit`, `unit`, `meter`; with `spared`: `away_s`, `what`.
    """

    child_id: str
    kind: EventKind
    incarnation: int
    reason: ExitReason | None = None
    delay_s: float | None = None
    info: dict[str, Any] = field(default_factory=dict[str, Any])


def describe(event: ChildEvent) -> str:
    """The event in one line, for people."""
    text = f"{event.child_id} (incarnation {event.incarnation}) {event.kind}"
    if event.delay_s is not None:
        text += f" in {event.delay_s:.2g} s"
    elif event.kind in ("budget_warning", "budget_spent"):
        text += f": {event.info['spent']:g} of {event.info['limit']:g} {event.info.get('unit', '')}"
    elif event.kind == "spared":
        text += f": we stood still for {event.info['away_s']:.3g} s; it gets a fresh interval"
    elif event.reason is not None and event.kind != "stopped":
        text += f": {event.reason.kind}"
        if event.reason.detail:
            text += f", {event.reason.detail}"
    return text


class ChildState(StrEnum):
    """Where a child stands."""

    WAITING = "waiting"
    """It is going to be started: after its delay, or when its turn comes."""
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    """It ended as wished and is not going to be started."""
    FAILED = "failed"
    """It failed for good."""


@dataclass(frozen=True)
class ChildStatus:
    """One child, as its supervisor sees it now.

    Args:
        incarnation: of its last start; 0 before the first.
        restarts: how often it was started again.
        pid: of its process while there is one.
        last_reason: why its last incarnation ended.
        failures: how many in a row its backoff counts.
        next_start_s: while it waits for its backoff: seconds until its next start.
        spent: by all its incarnations, in the unit of its budget.
        limit: what it may spend in all, with what was granted; None: it has no budget.
    """

    child_id: str
    state: ChildState
    incarnation: int
    restarts: int
    pid: int | None
    last_reason: ExitReason | None
    failures: int = 0
    next_start_s: float | None = None
    spent: float = 0.0
    limit: float | None = None


@dataclass(frozen=True)
class SupervisorStatus:
    """A supervisor's rules, how much of its restart budget is used up, and its children.

    Args:
        restarts_in_window: how many restarts of the last `period_s` seconds count; one more than
            `intensity`, and it gives up.
        children: in start order.
    """

    supervisor_id: str
    strategy: str
    intensity: int
    period_s: float
    restarts_in_window: int
    children: tuple[ChildStatus, ...]
