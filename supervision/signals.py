"""What goes into the supervisor's core, and what comes out of it: pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .events import ChildEvent, ExitReason
    from .spec import ChildSpec


# -- what goes in -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Begin:
    """Start the children of the spec."""


@dataclass(frozen=True)
class ChildReady:
    """A child said it is ready."""

    child_id: str
    incarnation: int
    info: dict[str, Any]


@dataclass(frozen=True)
class ChildExited:
    """A child is gone, or could not be started."""

    child_id: str
    incarnation: int
    reason: ExitReason


@dataclass(frozen=True)
class AddChild:
    """Start one more child, as the last in the order."""

    spec: ChildSpec


@dataclass(frozen=True)
class StopChild:
    """End a child; it is not restarted on its own account."""

    child_id: str


@dataclass(frozen=True)
class Renew:
    """End a child in good order and start it again: as wished, so no restart is counted."""

    child_id: str


class Op(StrEnum):
    """What can be asked about one child, in OTP's words."""

    TERMINATE = "terminate"
    """End it; it stays known, unless it is temporary."""
    RESTART = "restart"
    """Start it, when it is known and does not run."""
    DELETE = "delete"
    """Forget it, when it is known and does not run."""
    START_CHILD = "start_child"
    """Add it as the last and start it; one that cannot start is not added."""


class Result(StrEnum):
    """How a request went, in OTP's words."""

    OK = "ok"
    NOT_FOUND = "not_found"
    RUNNING = "running"
    RESTARTING = "restarting"
    ALREADY_STARTED = "already_started"
    ALREADY_PRESENT = "already_present"
    """It is known, and does not run."""
    START_FAILED = "start_failed"
    NO_BUDGET = "no_budget"
    """It has spent what it may; it must be granted more first. Not in OTP."""
    STOPPING = "stopping"
    """The supervisor ended before it came to it; OTP's caller gets an exit."""


@dataclass(frozen=True)
class Request:
    """Do something about one child; exactly one `Answer` says how it went.

    Args:
        spec: of the child to add, with `start_child`; None with the others.
    """

    op: Op
    child_id: str
    spec: ChildSpec | None = None


@dataclass(frozen=True)
class Spent:
    """A child has spent something, as its meter says; what it spent before is not in it.

    Args:
        amount: in the unit of its budget.
    """

    child_id: str
    incarnation: int
    amount: float


@dataclass(frozen=True)
class Grant:
    """A child may spend more; when it ended for want of it, it is started again.

    Args:
        amount: in the unit of its budget, on top of its limit.
    """

    child_id: str
    amount: float


@dataclass(frozen=True)
class Spared:
    """A child was late, but so were we: it was given more time instead of being killed.

    Args:
        away_s: how long we stood still, as far as is known.
        what: what the child is waited for, for people.
    """

    child_id: str
    incarnation: int
    away_s: float
    what: str


@dataclass(frozen=True)
class TryAgain:
    """A restart failed in its start and is tried again. The core sends it to itself."""

    child_id: str


@dataclass(frozen=True)
class Shutdown:
    """End all children, the last started first."""


@dataclass(frozen=True)
class Tick:
    """Time has passed: `SupervisorCore.next_wake` is reached."""


Input = (
    Begin
    | ChildReady
    | ChildExited
    | AddChild
    | StopChild
    | Renew
    | Request
    | Spent
    | Grant
    | Spared
    | TryAgain
    | Shutdown
    | Tick
)


# -- what comes out ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """Start the child; tell with `ChildReady` and `ChildExited` how it goes."""

    spec: ChildSpec
    incarnation: int


@dataclass(frozen=True)
class Stop:
    """End the child, giving it `shutdown_s` for it (see `ChildSpec`); tell with `ChildExited`."""

    child_id: str
    shutdown_s: float | None


@dataclass(frozen=True)
class Tell:
    """Tell the listener."""

    event: ChildEvent


@dataclass(frozen=True)
class Finished:
    """No child is left and none will be started.

    Args:
        gave_up: because of too many restarts, or a first start that failed.
        by_itself: nobody asked for it: it gave up, or its significant children have ended.
    """

    gave_up: bool
    by_itself: bool = False


@dataclass(frozen=True)
class Answer:
    """How a `Request` went."""

    op: Op
    child_id: str
    result: Result


Command = Start | Stop | Tell | Finished | Answer
