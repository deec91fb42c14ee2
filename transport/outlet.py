"""What a link's end needs of its node, and keeps of each actor at the other end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .errors import NodeError
from .waiter import Parking, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from . import wire
    from .hosting import Hosting
    from .limits import NodeLimits
    from .session import Session
    from .traffic import Traffic


class LinkClosed(NodeError):
    """The link ended before the message was on it."""


class SessionOwner(Protocol):
    """What a session needs of its node."""

    name: str
    incarnation: int
    limits: NodeLimits
    hosting: Hosting
    traffic: Traffic
    parking: Parking
    clock: Callable[[], float]

    def new_codec(self) -> wire.Codec:
        """A codec for one link."""
        ...

    def take_control(self, session: Session, record: list[Any]) -> None:
        """A record that is about nodes; in the thread that reads."""
        ...

    def nudge(self) -> None:
        """Something waits to be flushed."""
        ...

    def say_down(self, session: Session, actor_id: str, incarnation: int) -> None:
        """Tell a peer that an actor is not here."""
        ...

    def may_wait(self) -> bool:
        """Whether this thread may wait for room."""
        ...


class Room(Waiter):
    """A sender's wait until a link or an actor's mailbox has room."""

    def __init__(self, is_free: Callable[[], bool]) -> None:
        self.ready = is_free  # type: ignore[method-assign]


class Outlet:
    """One actor at the other end, as far as sending goes: how much room its mailbox has.

    `room` and `room_bytes` change under the session's lock.

    Attributes:
        is_over: the actor has ended, or another has its id now: who waits for room waits in vain.
    """

    __slots__ = ("_window", "_window_bytes", "actor_id", "is_over", "room", "room_bytes",
                 "session")  # fmt: skip

    def __init__(self, session: Session, actor_id: str, room: int, room_bytes: int) -> None:
        self.session = session
        self.actor_id = actor_id
        self.room = self._window = room
        self.room_bytes = self._window_bytes = room_bytes
        self.is_over = False

    @property
    def has_room(self) -> bool:
        """Whether the mailbox takes another message."""
        return self.room > 0 and self.room_bytes > 0

    def give(self, count: int, size_bytes: int) -> None:
        """There is so much room more. The session's lock is held.

        The receiver knows the sizes of frames, not of each message: its bytes are about right. What
        they lack, or have too much, ends when nothing is under way.
        """
        self.room += count
        self.room_bytes = min(self.room_bytes + size_bytes, self._window_bytes)
        if self.room >= self._window:
            self.room, self.room_bytes = self._window, self._window_bytes

    def end(self) -> None:
        """Wake the senders that wait for room; they look at the actor anew. Any thread."""
        self.is_over = True
        self.session.made_room()

    def used(self) -> tuple[int, int]:
        """Messages and bytes that were sent and whose room was not given back."""
        return self._window - self.room, self._window_bytes - self.room_bytes
