"""Passes messages on between the peers of one server, whatever carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .codec import decode, encode
from .dead_letters import DeadLetters
from .errors import ChannelClosed, EncodeError, FrameTooLarge, PeerTooSlow, PeerUnknown
from .message import BROADCAST, AgentMessage, ErrorKind, MessageType
from .registry import Peer, PeerRegistry
from .routing import Route, route
from .subscriptions import Subscriptions

if TYPE_CHECKING:
    from .intake import Intake
    from .stats import ChannelStats, Recorder


class Port(Protocol):
    """What carries frames to one peer."""

    def send(self, body: bytes, timeout_s: float) -> None:
        """Send one frame, waiting at most that long; see `Link.send` for what it raises."""
        ...


P = TypeVar("P", bound=Port)


class Switch(Generic[P]):
    """The server's rules: who gets a message, and what its sender hears when nobody does.

    Args:
        intake: the server's own, for what is for the server itself.
        stats: where everything is counted.

    Attributes:
        dead_letters: messages that reached the server and nobody took.
        subscriptions: who wants which broadcasts.
    """

    def __init__(self, intake: Intake, stats: Recorder[ChannelStats]) -> None:
        self.dead_letters = DeadLetters()
        self.subscriptions: Subscriptions[P] = Subscriptions()
        self.registry: PeerRegistry[P] = PeerRegistry(intake.name)
        self._intake = intake
        self._stats = stats

    def send(self, message: AgentMessage, body: bytes, timeout_s: float) -> None:
        """Send a message of the server's own, encoded as `body`. Any thread; see `Channel.send`."""
        way = self._route(message, origin=None)
        if way.is_local:
            self._intake.put(AgentMessage.from_wire(decode(body)[0]), len(body))
        elif message.receiver_id == BROADCAST:
            for name in way.peers:
                self._pass_on(name, message, body)
        else:
            self._send_to(message.receiver_id, body, timeout_s)

    def take(self, peer: Peer[P], record: dict[str, Any], size_bytes: int) -> None:
        """Deal with a message that came from a peer. Never waits.

        A message for everybody goes to all but its sender, and to the server. What cannot be
        delivered is counted, and its sender gets an ERROR.
        """
        message = self._intake.parse(record)
        if message is None:
            return
        if message.sender_id == peer.name and not _is_current(message, peer):
            self._stats.add("dropped_stale")
            return
        way = self._route(message, origin=peer.name)
        if way.is_unknown:
            self._stats.add("dropped_unknown_peer")
            text = str(PeerUnknown(message.receiver_id, self.registry.names()))
            self.dead_letters.add(message.receiver_id, message, "unknown", size_bytes)
            self._answer(peer, message.error_reply(self._name, ErrorKind.PEER_UNKNOWN, text))
        if way.peers:
            self._forward(peer, message, record, way)
        if way.is_local:
            refusal = self._intake.deliver(message, size_bytes)
            if refusal is not None:
                self.dead_letters.add(self._name, message, "full", size_bytes)
            self._answer(peer, refusal)

    def say(self, port: P, body: bytes) -> None:
        """Send something of the server's own if the other end takes it now; counted if not."""
        try:
            port.send(body, 0.0)
        except (ChannelClosed, FrameTooLarge, PeerTooSlow):
            self._stats.add("dropped_slow_peer")

    @property
    def _name(self) -> str:
        return self._intake.name

    def _route(self, message: AgentMessage, origin: str | None) -> Route:
        names = self.registry.names()
        way = route(message.receiver_id, origin=origin, own_name=self._name, peers=names)
        if message.receiver_id != BROADCAST:
            return way
        kind, wants = message.message_type, self.subscriptions.wants
        peers = [peer for name in way.peers if (peer := self.registry.get(name)) is not None]
        wanted = tuple(peer.name for peer in peers if wants(peer, kind))
        return Route(is_local=way.is_local and wants(None, kind), peers=wanted)

    def _forward(
        self, origin: Peer[P], message: AgentMessage, record: dict[str, Any], way: Route
    ) -> None:
        # The record itself travels on: what this version does not know of it is not lost.
        if message.incarnation:
            record["incarnation"] = message.incarnation
        try:
            body = encode([record])
        except EncodeError as error:
            # How deep a nest msgpack reads and how deep it writes are two limits of its own.
            self._stats.add("dropped_malformed")
            reply = message.error_reply(self._name, ErrorKind.MALFORMED, str(error))
            self._answer(origin, reply)
            return
        for name in way.peers:
            problem = self._pass_on(name, message, body)
            if problem is None:
                self._stats.add("forwarded")
            elif message.receiver_id != BROADCAST:
                self._answer(origin, message.error_reply(self._name, *problem))

    def _pass_on(
        self, name: str, message: AgentMessage, body: bytes
    ) -> tuple[ErrorKind, str] | None:
        """Send without waiting; what to tell the sender when that failed."""
        body, missed = self._with_missed(name, body)
        try:
            self._send_to(name, body, 0.0)
        except PeerUnknown as error:
            self._stats.add("dropped_unknown_peer")
            self.dead_letters.add(name, message, "unknown", len(body))
            return ErrorKind.PEER_UNKNOWN, str(error)
        except PeerTooSlow as error:
            self._stats.add("dropped_slow_peer")
            self.dead_letters.add(name, message, "slow", len(body))
            self._note_missed(name, missed + (message.receiver_id == BROADCAST))
            return ErrorKind.OVERLOADED, str(error)
        except FrameTooLarge as error:
            # The incarnation that was filled in can make a frame larger than it came.
            self._stats.add("oversize_frames")
            return ErrorKind.FRAME_TOO_LARGE, str(error)
        return None

    def _note_missed(self, name: str, count: int) -> None:
        peer = self.registry.get(name)
        if peer is not None and count:
            self.subscriptions.miss(peer, count)

    def _with_missed(self, name: str, body: bytes) -> tuple[bytes, int]:
        """A frame for a peer; broadcasts that it missed are told of before, in the same frame."""
        peer = self.registry.get(name)
        missed = 0 if peer is None else self.subscriptions.take_missed(peer)
        if not missed:
            return body, 0
        text = f"{missed} broadcasts were dropped: {name!r} did not read"
        payload = {"kind": ErrorKind.MISSED.value, "message": text, "count": missed}
        told = AgentMessage.create(self._name, name, MessageType.ERROR, payload)
        return encode([told.to_wire(), *decode(body)]), missed

    def _send_to(self, name: str, body: bytes, timeout_s: float) -> None:
        peer = self.registry.get(name)
        if peer is None:
            raise PeerUnknown(name, self.registry.names())
        try:
            peer.port.send(body, timeout_s)
        except ChannelClosed:
            # It ended between the look and the send.
            raise PeerUnknown(name, self.registry.names()) from None

    def _answer(self, peer: Peer[P], reply: AgentMessage | None) -> None:
        if reply is not None:
            self.say(peer.port, encode([reply.to_wire()]))


def _is_current(message: AgentMessage, peer: Peer[P]) -> bool:
    """Whether a peer's own message is of its present incarnation; one that has none gets it."""
    message.incarnation = message.incarnation or peer.incarnation
    return message.incarnation >= peer.incarnation
