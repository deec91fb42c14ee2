"""What every channel is, whatever carries its messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from .message import AgentMessage

DEFAULT_SERVER_NAME = "orchestrator"
"""The name of a server that was given none."""


@dataclass(frozen=True)
class PeerEvent:
    """A peer came or went, as seen by the server.

    When a newer incarnation replaces an older connection, the older one's `disconnected` comes
    first. Closing the server itself makes no events.
    """

    kind: Literal["connected", "disconnected"]
    name: str
    incarnation: int


@runtime_checkable
class Named(Protocol):
    """A channel's end that others know by a name."""

    @property
    def name(self) -> str:
        """This end's name among the agents."""
        ...

    def claim_name(self, name: str) -> None:
        """Be called that from now on, if it was given no name so far."""
        ...


class Channel(Protocol):
    """A way to other agents.

    What it guarantees: messages of one sender to one receiver arrive in the order they were sent
    (control messages may overtake the others); each arrives at most once, and whole; what cannot
    be delivered is an error for the sender, either raised by `send` or sent back as an ERROR
    message whose `correlation_id` names it. The payload is encoded before `send` returns, so the
    caller may change it afterwards. All methods may be called from any thread.
    """

    def send(self, message: AgentMessage) -> None:
        """Send a message on its way to `message.receiver_id`.

        It returns when the message is in the hands of the system, not when it was read.

        Raises:
            ChannelClosed: the channel is closed.
            EncodeError: the payload has no form on the wire.
            MalformedMessage: a field has a wrong type.
            TypeError: it is no message.
            FrameTooLarge: the message is over the limit.
            PeerUnknown: a server has no peer of that name. (A client gets an ERROR message.)
            PeerTooSlow: the other end does not read, and its waiting room stayed full.
            MailboxFull: a server sends to itself, and its inbox is full.
        """
        ...

    def receive(self, timeout: float | None = None) -> AgentMessage | None:
        """Take the next message for this end.

        Args:
            timeout: seconds to wait; None waits until a message comes or the channel is closed.

        Returns:
            The message, or None when the time is over.

        Raises:
            ChannelClosed: this end was closed; or the other went away, and all that had arrived was
                received.
        """
        ...

    def close(self) -> None:
        """Give everything back: threads, descriptors, the socket's path. Safe to call again."""
        ...
