"""How much an actor's mailbox holds, and what happens when it is full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .mailbox import Overflow

if TYPE_CHECKING:
    from collections.abc import Callable

_WINDOW = 4_096
_TYPES: tuple[tuple[str, tuple[type, ...], str], ...] = (
    ("max_messages", (int,), "a whole number"),
    ("max_bytes", (int,), "a whole number"),
    ("block_timeout_s", (int, float), "seconds"),
)


@dataclass(frozen=True)
class MailboxSpec:
    """How much a mailbox holds, and what happens when it is full.

    Local messages count by number; messages from other processes also by their bytes. Of these each
    peer may have `window` messages and `max_bytes` bytes in the mailbox, beyond which its senders
    are held back where they are, by the same policy.

    Attributes:
        max_messages: ordinary messages it holds. Threads that put at the same moment may each get
            one more in.
        max_bytes: of one peer's messages together; one is taken in any case.
        overflow: wait, refuse, or drop the oldest; an `Overflow` or its word.
        block_timeout_s: how long `Overflow.BLOCK` waits before it refuses.
        priority: the lower number goes out first, equal ones in order; None is by order alone.
        stop_first: whether a stop overtakes the messages that wait, as pykka's does not.

    Raises:
        TypeError, ValueError: a field makes no sense; the error says which.
    """

    max_messages: int = 10_000
    max_bytes: int = 16 << 20
    overflow: Overflow = Overflow.BLOCK
    block_timeout_s: float = 5.0
    priority: Callable[[Any], int] | None = None
    stop_first: bool = True

    def __post_init__(self) -> None:
        self._check_types()
        if min(self.max_messages, self.max_bytes) < 1:
            raise ValueError("a mailbox has room for at least one message and one byte")
        # A NaN is neither.
        if not self.block_timeout_s >= 0:
            raise ValueError(f"block_timeout_s must be 0 or more, not {self.block_timeout_s}")
        # Otherwise a word would be none of them.
        object.__setattr__(self, "overflow", Overflow(self.overflow))

    def _check_types(self) -> None:
        for name, kinds, wanted in _TYPES:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise TypeError(f"{name} must be {wanted}, not {value!r}")
        if self.priority is not None and not callable(self.priority):
            raise TypeError(f"priority must be a function, or None, not {self.priority!r}")

    @property
    def window(self) -> int:
        """How many messages one peer may have sent and not yet got back as room."""
        if self.overflow is Overflow.DROP_OLDEST:
            # All that is kept, and the room that is not yet given back: nobody is held.
            return 2 * self.max_messages + 8
        return min(self.max_messages, _WINDOW)

    @property
    def window_bytes(self) -> int:
        """Their size together."""
        return self.max_bytes * (2 if self.overflow is Overflow.DROP_OLDEST else 1)

    @property
    def sender_wait_s(self) -> float:
        """How long a sender waits for room."""
        return 0.0 if self.overflow is Overflow.REJECT else self.block_timeout_s


DEFAULT_SPEC = MailboxSpec()
