"""The steps by which a child is ended, gentle first. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# A child whose parent is gone has this long to tidy up: see `child.py`.
ORPHAN_GRACE_S = 2.0
_CLOSE_MARGIN_S = 0.5
_TERM_PATIENCE_S = 1.0
# After SIGKILL only a process in uninterruptible sleep stays; nothing more can be done about it.
_KILL_PATIENCE_S = 5.0


class Rung(StrEnum):
    """One way to end a child."""

    ASK = "stop"
    """A control frame: the child's own shutdown runs."""
    CLOSE = "end of file"
    """Its lifeline is closed, as if its parent were gone: what it does for orphans runs."""
    TERM = "SIGTERM"
    KILL = "SIGKILL"


@dataclass(frozen=True)
class Step:
    """A rung, and how many seconds it has to work before the next; None: without limit."""

    rung: Rung
    patience_s: float | None


def stop_ladder(shutdown_s: float | None) -> tuple[Step, ...]:
    """The steps for a child with that `shutdown_s` (see `ChildSpec`).

    `shutdown_s` is the child's own time. The hard rungs after it have short times of their own,
    so that a child that does not hear is gone `shutdown_s` + 3.5 seconds after the request.
    """
    if shutdown_s == 0:
        return (Step(Rung.KILL, _KILL_PATIENCE_S),)
    if shutdown_s is None:
        return (Step(Rung.ASK, None),)
    return (
        Step(Rung.ASK, shutdown_s),
        Step(Rung.CLOSE, ORPHAN_GRACE_S + _CLOSE_MARGIN_S),
        Step(Rung.TERM, _TERM_PATIENCE_S),
        Step(Rung.KILL, _KILL_PATIENCE_S),
    )
