"""What goes into the supervisor's core, and what comes out of it: pure data."""

from __future__ import annotations

from dataclasses import dataclass
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
class Shutdown:
    """End all children, the last started first."""


@dataclass(frozen=True)
class Tick:
    """Time has passed: `SupervisorCore.next_wake` is reached."""


Input = Begin | ChildReady | ChildExited | AddChild | StopChild | Shutdown | Tick


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
    """No child is left and none will be started. `gave_up`: because of too many restarts."""

    gave_up: bool


Command = Start | Stop | Tell | Finished
