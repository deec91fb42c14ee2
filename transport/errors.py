"""What can go wrong between two ends, named by what happened and told so that it can be mended.

Every error keeps its fields and survives pickling: the constructor's arguments are `args`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pykka import ActorDeadError

if TYPE_CHECKING:
    from collections.abc import Mapping


class TransportError(Exception):
    """Root of all errors of this folder."""


class MalformedMessage(TransportError):
    """A message lacks a field, or a field has a wrong type."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"message field {self.field!r} {self.reason}"


class UnknownMessageType(TransportError):
    """A message has a type this version does not know; channels count and drop it."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return f"message type {self.value!r} is unknown; the sender runs a newer version"


class EncodeError(TransportError):
    """A message holds something that has no place on the wire."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"the message cannot be encoded: {self.reason}; a payload holds only None, bool, "
            "int (64 bits), float, str, bytes, lists and dicts of these"
        )


class DecodeError(TransportError):
    """The bytes of a frame are not what the protocol says."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the frame cannot be decoded: {self.reason}"


class FrameTooLarge(TransportError):
    """A frame is larger than this end takes; nothing was allocated for it."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(size_bytes, limit_bytes)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return (
            f"a frame of {self.size_bytes} bytes is over the limit of {self.limit_bytes}; "
            "send less at once, or a path to a file"
        )


class MailboxFull(TransportError):
    """There is no room for the message; it was not taken."""

    def __init__(self, mailbox: str, messages: int, size_bytes: int) -> None:
        super().__init__(mailbox, messages, size_bytes)
        self.mailbox = mailbox
        self.messages = messages
        self.size_bytes = size_bytes

    def __str__(self) -> str:
        # Of a mailbox within a process bytes are not known.
        size = f", {self.size_bytes} bytes" if self.size_bytes else ""
        words = f"the mailbox {self.mailbox!r} is full: {self.messages} messages{size}"
        return f"{words}; its owner does not keep up"


class MailboxClosed(TransportError):
    """The mailbox takes no more messages, and holds none."""

    def __init__(self, mailbox: str) -> None:
        super().__init__(mailbox)
        self.mailbox = mailbox

    def __str__(self) -> str:
        return f"the mailbox {self.mailbox!r} is closed"


class ChannelClosed(TransportError):
    """The channel was closed by this end, by the other, or by its death."""

    def __init__(self, channel: str, reason: str) -> None:
        super().__init__(channel, reason)
        self.channel = channel
        self.reason = reason

    def __str__(self) -> str:
        return f"the channel {self.channel!r} is closed: {self.reason}"


class ConnectFailed(TransportError):
    """Nobody answers at the socket's path."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot connect to {self.path}: {self.reason}"


class HelloRefused(TransportError):
    """The server does not take this client.

    Attributes:
        kind: why, in one word: `stale_incarnation`, `name_taken`, `name_reserved`, `version`,
            `bad_hello`, `untrusted`.
    """

    def __init__(self, name: str, incarnation: int, kind: str, reason: str) -> None:
        super().__init__(name, incarnation, kind, reason)
        self.name = name
        self.incarnation = incarnation
        self.kind = kind
        self.reason = reason

    def __str__(self) -> str:
        who = f"{self.name!r} (incarnation {self.incarnation})"
        return f"{who} was refused, {self.kind}: {self.reason}"


class UntrustedPeer(TransportError):
    """The process at the other end of the socket belongs to another user."""

    def __init__(self, pid: int, uid: int, own_uid: int) -> None:
        super().__init__(pid, uid, own_uid)
        self.pid = pid
        self.uid = uid
        self.own_uid = own_uid

    def __str__(self) -> str:
        return (
            f"process {self.pid} of user {self.uid} is at the other end; only user {self.own_uid} "
            "and root are trusted: run both as the same user, or choose a socket path of your own"
        )


class PeerUnknown(TransportError):
    """Nobody of that name is connected."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name, known)
        self.name = name
        self.known = known

    def __str__(self) -> str:
        known = ", ".join(self.known) or "nobody"
        return f"no peer {self.name!r} is connected; connected: {known}"


class PeerTooSlow(TransportError):
    """The peer does not read; the message was not sent."""

    def __init__(self, name: str, pending_bytes: int, waited_s: float) -> None:
        super().__init__(name, pending_bytes, waited_s)
        self.name = name
        self.pending_bytes = pending_bytes
        self.waited_s = waited_s

    def __str__(self) -> str:
        return (
            f"{self.name!r} does not read: {self.pending_bytes} bytes wait for it, "
            f"and no room was made within {self.waited_s:g} s"
        )


class SocketInUse(TransportError):
    """A living service listens at the path."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        mend = "stop it first, or choose another socket path"
        return f"a running service listens at {self.path}; {mend}"


class SocketPathTooLong(TransportError):
    """The path does not fit into a Unix socket's address."""

    def __init__(self, path: str, length_bytes: int, limit_bytes: int) -> None:
        super().__init__(path, length_bytes, limit_bytes)
        self.path = path
        self.length_bytes = length_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return (
            f"the socket path {self.path} has {self.length_bytes} bytes, a Unix socket's path "
            f"may have {self.limit_bytes}; choose a shorter run directory"
        )


class SocketPathUnusable(TransportError):
    """No socket can be made at the path."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot make a socket at {self.path}: {self.reason}; choose another socket path"


class FileRefBroken(TransportError):
    """A file by reference cannot be had as it was named."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"the file {self.path} cannot be read by reference: {self.reason}; name it anew"


class NodeError(TransportError):
    """Something between this node and another is not as it must be."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(peer, reason)
        self.peer = peer
        self.reason = reason

    def __str__(self) -> str:
        return f"node {self.peer!r}: {self.reason}"


class PeerUnreachable(NodeError):
    """A node cannot be dialled now, for a reason that passes. Nothing was sent."""

    def __str__(self) -> str:
        return f"node {self.peer!r} cannot be reached now: {self.reason}; try again later"


class RemoteError(TransportError):
    """An exception of another process, of a class that is not rebuilt here.

    Attributes:
        type_name: its class, as `module:qualname`.
        message: what it said.
        traceback_text: where it was raised, as the other process saw it.
        fields: what else it carried, by name; the words of what is no plain data.
    """

    def __init__(
        self,
        type_name: str,
        message: str,
        traceback_text: str = "",
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(type_name, message, traceback_text, fields)
        self.type_name = type_name
        self.message = message
        self.traceback_text = traceback_text
        self.fields = dict(fields or {})

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}"


class ActorLost(ActorDeadError, TransportError):
    """The actor's process is gone, or cannot be reached.

    Attributes:
        actor: the ref, in words.
        reason: what happened.
        maybe_executed: whether the request was sent, so that it may have been carried out.
    """

    def __init__(self, actor: str, reason: str, maybe_executed: bool = False) -> None:
        super().__init__(actor, reason, maybe_executed)
        self.actor = actor
        self.reason = reason
        self.maybe_executed = maybe_executed

    def __str__(self) -> str:
        maybe = "; the request may have been carried out" if self.maybe_executed else ""
        return f"{self.actor} is gone: {self.reason}{maybe}"


class ActorRestarted(ActorLost):
    """The actor's process ended with the request in it, and is started again."""


class DeadlockError(TransportError):
    """The asker is waited for, by way of others, by whom it wants to ask.

    Attributes:
        cycle: who waits for whom, the first one again at the end.
    """

    def __init__(self, cycle: tuple[str, ...]) -> None:
        super().__init__(cycle)
        self.cycle = cycle

    def __str__(self) -> str:
        return f"this request would wait for ever: {' -> '.join(self.cycle)}"
