"""A bounded inbox with a control lane that a full inbox never delays."""

from __future__ import annotations

import threading
from collections import deque
from enum import StrEnum
from typing import Generic, TypeVar

from .errors import MailboxClosed, MailboxFull

T = TypeVar("T")


class Overflow(StrEnum):
    """What happens to a message for which there is no room."""

    REJECT = "reject"
    """The sender gets `MailboxFull` at once."""
    BLOCK = "block"
    """The sender waits for room, at most the mailbox's `block_timeout_s`; then `MailboxFull`."""
    DROP_OLDEST = "drop_oldest"
    """The oldest messages make room and are counted in `dropped`."""


class Mailbox(Generic[T]):
    """A queue of messages with two lanes, each first in, first out; control goes out first.

    A control message may therefore overtake ordinary ones of the same sender: a cancellation may
    be taken out before the request it is about. The control lane has its own bound, and rejects
    when that is reached, whatever the policy of the ordinary lane.

    All methods may be called from any thread.

    Args:
        name: how errors call it.
        max_messages: ordinary messages it holds at most.
        max_bytes: their sizes together; one message over it is still taken when it is alone.
        max_control: control messages it holds at most.
        overflow: what happens to an ordinary message that finds no room.
        block_timeout_s: how long `Overflow.BLOCK` waits.

    Raises:
        ValueError: a bound is under 1.
    """

    def __init__(
        self,
        name: str = "mailbox",
        *,
        max_messages: int = 10_000,
        max_bytes: int = 256 << 20,
        max_control: int = 1_000,
        overflow: Overflow = Overflow.REJECT,
        block_timeout_s: float = 5.0,
    ) -> None:
        if min(max_messages, max_bytes, max_control) < 1:
            raise ValueError(
                "a mailbox has room for at least one message and one byte in each lane"
            )
        self._name = name
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._max_control = max_control
        self._overflow = overflow
        self._block_timeout_s = block_timeout_s
        self._control: deque[T] = deque()
        self._ordinary: deque[tuple[T, int]] = deque()
        self._size_bytes = 0
        self._dropped = 0
        self._closed = False
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._emptied = threading.Condition(lock)

    def __len__(self) -> int:
        """Messages waiting, of both lanes."""
        return len(self._control) + len(self._ordinary)

    @property
    def size_bytes(self) -> int:
        """The sizes of the ordinary messages that wait, together."""
        return self._size_bytes

    @property
    def dropped(self) -> int:
        """How many messages made room for newer ones."""
        return self._dropped

    def put(self, message: T, *, size_bytes: int = 0, control: bool = False) -> None:
        """Add a message to its lane.

        Args:
            message: what is added.
            size_bytes: what it counts against `max_bytes`; control messages count nothing.
            control: whether it takes the control lane.

        Raises:
            MailboxFull: there is no room (by the policy: at once, or after the waiting time).
            MailboxClosed: nobody will take it out any more.
        """
        with self._filled:
            if control:
                self._put_control(message)
            else:
                self._make_room(size_bytes)
                self._ordinary.append((message, size_bytes))
                self._size_bytes += size_bytes
            self._filled.notify()

    def get(self, timeout_s: float | None = None) -> T | None:
        """Take the next message: the oldest of the control lane, else the oldest ordinary one.

        Args:
            timeout_s: how long to wait for one; None waits until there is one or it is closed.

        Returns:
            The message, or None when the time is over.

        Raises:
            MailboxClosed: it is closed and everything was taken out.
        """
        with self._filled:
            self._filled.wait_for(self._has_news, timeout_s)
            if self._control:
                return self._control.popleft()
            if self._ordinary:
                message, size_bytes = self._ordinary.popleft()
                self._size_bytes -= size_bytes
                # All: the one woken might be the one whose message is still too large.
                self._emptied.notify_all()
                return message
            if self._closed:
                raise MailboxClosed(self._name)
            return None

    def close(self, *, discard: bool = False) -> None:
        """Take no more messages, and wake everybody who waits. Safe to call again.

        Args:
            discard: also forget what is in it; otherwise `get` gives that out first.
        """
        with self._filled:
            self._closed = True
            if discard:
                self._control.clear()
                self._ordinary.clear()
                self._size_bytes = 0
            self._filled.notify_all()
            self._emptied.notify_all()

    def _has_news(self) -> bool:
        return bool(self._control or self._ordinary or self._closed)

    def _put_control(self, message: T) -> None:
        if self._closed:
            raise MailboxClosed(self._name)
        if len(self._control) >= self._max_control:
            raise self._full()
        self._control.append(message)

    def _make_room(self, size_bytes: int) -> None:
        """Have room for that much, or raise. The lock is held."""
        if self._overflow is Overflow.DROP_OLDEST:
            while not self._closed and not self._fits(size_bytes):
                self._size_bytes -= self._ordinary.popleft()[1]
                self._dropped += 1
        elif self._overflow is Overflow.BLOCK:
            self._emptied.wait_for(
                lambda: self._closed or self._fits(size_bytes), self._block_timeout_s
            )
        if self._closed:
            raise MailboxClosed(self._name)
        if not self._fits(size_bytes):
            raise self._full()

    def _fits(self, size_bytes: int) -> bool:
        if not self._ordinary:
            return True
        if len(self._ordinary) >= self._max_messages:
            return False
        return self._size_bytes + size_bytes <= self._max_bytes

    def _full(self) -> MailboxFull:
        return MailboxFull(self._name, len(self), self._size_bytes)
