"""MemoryChannel: the bus within one process, without sockets or threads."""

# ruff: noqa: SLF001 - a server and its clients are objects of one class.
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from .base import DEFAULT_SERVER_NAME, PeerEvent
from .codec import decode, encode
from .errors import ChannelClosed, MailboxClosed
from .framing import DEFAULT_MAX_FRAME_BYTES, frame_header
from .intake import Intake
from .mailbox import Mailbox
from .outgoing import check_message
from .stats import ChannelStats, Recorder
from .subscriptions import to_words
from .switch import Switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .dead_letters import DeadLetters
    from .message import AgentMessage, MessageType
    from .registry import Peer


class MemoryChannel:
    """The in-memory twin of `UnixSocketChannel`: a server, or a client of one.

    For tests and small programs. It routes, bounds, refuses and counts as the real one does, and
    encodes every message, so that what would not survive the wire does not survive here. Messages
    are in the receiver's inbox when `send` returns; nothing happens in another thread.

    Args:
        server: the server to connect to; None makes a server.
        name: as for `UnixSocketChannel`.
        incarnation: as for `UnixSocketChannel`.
        max_frame_bytes: the largest encoded message.
        max_inbox_messages: what waits to be received at most.
        on_peer: a server calls it, in the thread of whoever connects or closes.

    Raises:
        HelloRefused: the server does not take this client.
        ChannelClosed: the server is closed.
    """

    def __init__(
        self,
        server: MemoryChannel | None = None,
        *,
        name: str | None = None,
        incarnation: int = 0,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
        max_inbox_messages: int = 10_000,
        on_peer: Callable[[PeerEvent], None] | None = None,
    ) -> None:
        self.is_server = server is None
        self.name = name or (DEFAULT_SERVER_NAME if server is None else "client")
        self._max_frame_bytes = max_frame_bytes
        self._on_peer = on_peer
        self._closed_reason = ""
        self._stats = Recorder(ChannelStats)
        self._inbox: Mailbox[AgentMessage] = Mailbox(
            f"inbox of {self.name}", max_messages=max_inbox_messages
        )
        self._intake = Intake(self.name, self._inbox, self._stats)
        self._switch: Switch[_Port] = Switch(self._intake, self._stats)
        self._server = server
        self._incarnation = incarnation
        self._peer = None if server is None else server._admit(self, name, incarnation)
        if self._peer is not None:
            self.name = self._intake.name = self._peer.name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def claim_name(self, name: str) -> None:
        """See `UnixSocketChannel.claim_name`; this end stays open when it is refused."""
        given, server = self._peer, self._server
        if server is None or given is None or not given.is_given or name == self.name:
            return
        if self._closed_reason:
            raise ChannelClosed(self.name, self._closed_reason)
        self._peer = server._admit(self, name, self._incarnation, given)
        self.name = self._intake.name = name

    @property
    def is_running(self) -> bool:
        """Whether messages can be sent."""
        return not self._closed_reason

    @property
    def stats(self) -> ChannelStats:
        """What was sent, received, passed on and dropped so far."""
        return self._stats.snapshot()

    def peers(self) -> dict[str, int]:
        """A server's connected clients: the incarnation by name."""
        return {} if self._closed_reason else self._switch.registry.incarnations()

    @property
    def dead_letters(self) -> DeadLetters:
        """Messages that reached this server and nobody took; a client has none."""
        return self._switch.dead_letters

    def subscribe(self, types: Iterable[MessageType] | None) -> None:
        """Say of which types this end wants broadcasts; see `UnixSocketChannel.subscribe`."""
        if self._closed_reason:
            raise ChannelClosed(self.name, self._closed_reason)
        wanted = to_words(types)
        switch = self._switch if self._server is None else self._server._switch
        switch.subscriptions.set(self._peer, wanted)

    def send(self, message: AgentMessage) -> None:
        """Send a message; see `Channel.send`."""
        check_message(message)
        if self._closed_reason:
            raise ChannelClosed(self.name, self._closed_reason)
        body = encode([message.to_wire()])
        frame_header(body, self._max_frame_bytes)
        if self._server is None or self._peer is None:
            self._switch.send(message, body, 0.0)
        else:
            self._server._switch.take(self._peer, decode(body)[0], len(body))
        self._stats.add("sent")

    def receive(self, timeout: float | None = None) -> AgentMessage | None:
        """Take the next message; see `Channel.receive`."""
        try:
            return self._inbox.get(timeout)
        except MailboxClosed:
            raise ChannelClosed(self.name, self._closed_reason) from None

    def close(self) -> None:
        """Close this end; a server's clients then see it gone. Safe to call again."""
        is_first = not self._closed_reason
        self._end("it was closed by this process")
        self._inbox.close(discard=True)
        if not is_first:
            return
        if self._server is not None and self._peer is not None:
            self._server._forget(self._peer)
        for name in self._switch.registry.names():
            if (peer := self._switch.registry.get(name)) is not None:
                peer.port.end("the server is gone")

    def _end(self, reason: str) -> None:
        self._closed_reason = self._closed_reason or reason
        self._inbox.close()

    def _admit(
        self,
        client: MemoryChannel,
        name: str | None,
        incarnation: int,
        given: Peer[_Port] | None = None,
    ) -> Peer[_Port]:
        if self._closed_reason:
            raise ChannelClosed(self.name, self._closed_reason)
        port = _Port(client.name, client._intake, client.send, client._end)
        peer, replaced = self._switch.registry.admit(name, incarnation, port, lambda _name: None)
        if replaced is not None:
            replaced.port.end(f"replaced: incarnation {incarnation} took over")
            self._tell("disconnected", replaced)
        if given is not None:
            self._switch.subscriptions.hand_over(given, peer)
            self._forget(given)
        self._tell("connected", peer)
        return peer

    def _forget(self, peer: Peer[_Port]) -> None:
        if self._switch.registry.remove(peer):
            self._tell("disconnected", peer)

    def _tell(self, kind: Literal["connected", "disconnected"], peer: Peer[_Port]) -> None:
        if self._on_peer is not None:
            self._on_peer(PeerEvent(kind, peer.name, peer.incarnation))


@dataclass(frozen=True)
class _Port:
    """The server's way to one client: its inbox, and its means to answer and to end."""

    name: str
    intake: Intake
    reply: Callable[[AgentMessage], None]
    end: Callable[[str], None]

    def send(self, body: bytes, timeout_s: float) -> None:  # noqa: ARG002 - it never waits
        """Put a message into the client's inbox; when that is full its sender gets an ERROR."""
        for record in decode(body):
            message = self.intake.parse(record)
            error = None if message is None else self.intake.deliver(message, len(body))
            if error is not None:
                self.reply(error)
