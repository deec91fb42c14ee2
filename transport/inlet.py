"""What a mailbox needs of the place where messages from elsewhere come in."""

from __future__ import annotations

from typing import Any, Protocol


class Port(Protocol):
    """Where a message from elsewhere came in."""

    used: int
    used_bytes: int
    quantum: int
    quantum_bytes: int

    @property
    def is_over(self) -> bool:
        """Whether nothing comes in any more."""
        ...

    def grant(self) -> None:
        """Give the sender back the room of what was taken out. In the actor's thread."""
        ...

    def settle(self) -> None:
        """Give it back all room, since nothing waits. In the actor's thread."""
        ...

    def give_back(self, size_bytes: int) -> None:
        """Give it back the room of a message that was not taken. Any thread."""
        ...

    def reply(self, corr: int, deadline_s: float) -> Any:
        """What takes the answer to a request."""
        ...
