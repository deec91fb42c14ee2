"""The one envelope that travels between agents."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Self, cast

from .errors import EncodeError, MalformedMessage, UnknownMessageType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BROADCAST = "broadcast"
"""The receiver that means everybody but the sender."""


class MessageType(Enum):
    """What a message is about."""

    TASK_REQUEST = "task_request"
    TASK_RESPONSE = "task_response"
    STATUS_UPDATE = "status_update"
    COORDINATION = "coordination"
    HEARTBEAT = "heartbeat"
    ERROR = "error"


class ErrorKind(StrEnum):
    """`payload["kind"]` of the ERROR messages that channels and the protocol write themselves."""

    PEER_UNKNOWN = "peer_unknown"
    """Nobody of the receiver's name is connected."""
    OVERLOADED = "overloaded"
    """The receiver's inbox is full, or it does not read."""
    FRAME_TOO_LARGE = "frame_too_large"
    """The frame was over the limit; the connection is closed."""
    MALFORMED = "malformed"
    """The frame or the message could not be understood."""
    TIMEOUT = "timeout"
    """No answer came in time (made by the asker's own end)."""
    EXPIRED = "expired"
    """The request came after its deadline and was not started."""
    UNHANDLED = "unhandled"
    """The receiver has no handler for requests."""
    HANDLER_FAILED = "handler_failed"
    """The receiver's handler raised."""
    MISSED = "missed"
    """Broadcasts were not passed on, because this end did not read (`count` of them)."""
    CLOSED = "closed"
    """The asker's end was closed before an answer came."""


_CONTROL = frozenset({MessageType.COORDINATION, MessageType.HEARTBEAT})


@dataclass(slots=True)
class AgentMessage:
    """One message from one agent to another, or to all.

    Attributes:
        message_id: unique; an answer names it as its `correlation_id`.
        sender_id: the name of the agent that wrote it.
        receiver_id: the name of the agent it is for, or `BROADCAST`.
        message_type: what it is about.
        payload: what it says; only what msgpack can carry.
        timestamp: when it was written, epoch seconds.
        correlation_id: the `message_id` of the request that this answers.
        deadline: epoch seconds after which a request is not started.
        incarnation: the number of the sender's start; 0 for senders that do not count theirs.
        chain: names of the agents that wait for one another's answers, the first asker first.
        task_id: the task it belongs to.
        context_id: the conversation it belongs to.
        traceparent: W3C trace context.
    """

    message_id: str
    sender_id: str
    receiver_id: str
    message_type: MessageType
    payload: dict[str, Any]
    timestamp: float
    correlation_id: str | None = None
    deadline: float | None = None
    incarnation: int = 0
    chain: tuple[str, ...] = ()
    task_id: str | None = None
    context_id: str | None = None
    traceparent: str | None = None

    @classmethod
    def create(
        cls,
        sender_id: str,
        receiver_id: str,
        message_type: MessageType,
        payload: dict[str, Any],
        *,
        correlation_id: str | None = None,
        deadline: float | None = None,
        incarnation: int = 0,
        chain: tuple[str, ...] = (),
        task_id: str | None = None,
        context_id: str | None = None,
        traceparent: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Write a message with a new unique id and the time of `clock` (epoch seconds)."""
        return cls(
            message_id=uuid.uuid4().hex,
            sender_id=sender_id,
            receiver_id=receiver_id,
            message_type=message_type,
            payload=payload,
            timestamp=clock(),
            correlation_id=correlation_id,
            deadline=deadline,
            incarnation=incarnation,
            chain=chain,
            task_id=task_id,
            context_id=context_id,
            traceparent=traceparent,
        )

    @property
    def is_control(self) -> bool:
        """Whether it takes the control lane: coordination (stop, cancel, budget) and heartbeats."""
        return self.message_type in _CONTROL

    def is_expired(self, now: float) -> bool:
        """Whether its deadline lies before `now` (epoch seconds)."""
        return self.deadline is not None and self.deadline < now

    def error_reply(
        self, sender_id: str, kind: str, text: str, *, clock: Callable[[], float] = time.time
    ) -> AgentMessage | None:
        """The ERROR that answers this message, or None for an ERROR: two ends must not echo."""
        if self.message_type is MessageType.ERROR:
            return None
        return AgentMessage.create(
            sender_id,
            self.sender_id,
            MessageType.ERROR,
            {"kind": str(kind), "message": text, "receiver_id": self.receiver_id},
            correlation_id=self.message_id,
            task_id=self.task_id,
            context_id=self.context_id,
            traceparent=self.traceparent,
            clock=clock,
        )

    def to_wire(self) -> dict[str, Any]:
        """The message as plain data: the first seven fields always, the others when they are set.

        The payload is not copied.
        """
        wire: dict[str, Any] = {
            "message_id": self.message_id,
            "sender_id": self.sender_id,
            "receiver_id": self.receiver_id,
            "message_type": self.message_type.value,
            "payload": self.payload,
            "timestamp": self.timestamp,
            "correlation_id": self.correlation_id,
        }
        if self.deadline is not None:
            wire["deadline"] = self.deadline
        if self.incarnation:
            wire["incarnation"] = self.incarnation
        if self.chain:
            wire["chain"] = list(self.chain)
        for name in ("task_id", "context_id", "traceparent"):
            if (value := getattr(self, name)) is not None:
                wire[name] = value
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """The message of plain data; fields this version does not know are ignored.

        Raises:
            MalformedMessage: a field is missing or has a wrong type.
            UnknownMessageType: a newer version has more types.
        """
        type_name = _text(wire, "message_type")
        try:
            message_type = MessageType(type_name)
        except ValueError:
            raise UnknownMessageType(type_name) from None
        return cls(
            message_id=_text(wire, "message_id"),
            sender_id=_text(wire, "sender_id"),
            receiver_id=_text(wire, "receiver_id"),
            message_type=message_type,
            payload=_payload(wire),
            timestamp=_number(wire, "timestamp"),
            correlation_id=_optional_text(wire, "correlation_id"),
            deadline=None if wire.get("deadline") is None else _number(wire, "deadline"),
            incarnation=_incarnation(wire),
            chain=_chain(wire),
            task_id=_optional_text(wire, "task_id"),
            context_id=_optional_text(wire, "context_id"),
            traceparent=_optional_text(wire, "traceparent"),
        )

    def to_json(self) -> str:
        """The message as JSON text, with the fields of `to_wire`.

        Raises:
            EncodeError: the payload holds something that JSON cannot say, for example bytes.
        """
        try:
            return json.dumps(self.to_wire())
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodeError(str(error)) from error

    @classmethod
    def from_json(cls, json_str: str) -> Self:
        """The message of a JSON text.

        Raises:
            MalformedMessage: it is no JSON object, or a field is missing or has a wrong type.
            UnknownMessageType: a newer version has more types.
        """
        try:
            wire = json.loads(json_str)
        except (ValueError, RecursionError) as error:
            raise MalformedMessage("(whole)", f"is not JSON: {error}") from error
        if not isinstance(wire, dict):
            raise MalformedMessage("(whole)", "is not a JSON object")
        return cls.from_wire(cast("dict[str, Any]", wire))


def _text(wire: Mapping[str, Any], name: str) -> str:
    value = wire.get(name)
    if not isinstance(value, str):
        raise MalformedMessage(name, _complaint(wire, name, "text"))
    return value


def _optional_text(wire: Mapping[str, Any], name: str) -> str | None:
    return None if wire.get(name) is None else _text(wire, name)


def _number(wire: Mapping[str, Any], name: str) -> float:
    value = wire.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MalformedMessage(name, _complaint(wire, name, "a number"))
    try:
        return float(value)
    except OverflowError:
        raise MalformedMessage(name, "is out of range") from None


def _payload(wire: Mapping[str, Any]) -> dict[str, Any]:
    value = wire.get("payload")
    if not isinstance(value, dict):
        raise MalformedMessage("payload", _complaint(wire, "payload", "a mapping"))
    return cast("dict[str, Any]", value)


def _incarnation(wire: Mapping[str, Any]) -> int:
    value = wire.get("incarnation", 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise MalformedMessage("incarnation", "must be a whole number from 0")
    return value


def _chain(wire: Mapping[str, Any]) -> tuple[str, ...]:
    value = wire.get("chain", ())
    if not isinstance(value, list | tuple):
        raise MalformedMessage("chain", "must be a list of names")
    names = cast("list[object] | tuple[object, ...]", value)
    if not all(isinstance(name, str) for name in names):
        raise MalformedMessage("chain", "must be a list of names")
    return tuple(str(name) for name in names)


def _complaint(wire: Mapping[str, Any], name: str, wanted: str) -> str:
    if name not in wire:
        return "is missing"
    return f"must be {wanted}, not {type(wire[name]).__name__}"
