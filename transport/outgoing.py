"""A look at a message before it is sent: its receiver would drop a bad one, and tell nobody."""

from __future__ import annotations

from .errors import MalformedMessage
from .message import AgentMessage, MessageType

_FIELDS: tuple[tuple[str, type, str], ...] = (
    ("message_id", str, "text"),
    ("sender_id", str, "text"),
    ("receiver_id", str, "text"),
    ("message_type", MessageType, "a MessageType"),
    ("payload", dict, "a mapping"),
)


def check_message(message: object) -> None:
    """See that it is a message, and that its fields are what they say.

    Raises:
        TypeError: it is no message.
        MalformedMessage: a field has a wrong type.
    """
    if not isinstance(message, AgentMessage):
        raise TypeError(f"send takes an AgentMessage, not {type(message).__name__}")
    for name, kind, wanted in _FIELDS:
        value = getattr(message, name)
        if not isinstance(value, kind):
            raise MalformedMessage(name, f"must be {wanted}, not {type(value).__name__}")
