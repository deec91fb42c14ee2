"""A node: this process among its peers. What does not depend on how bytes travel."""

from __future__ import annotations

import logging
import re
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack
import pykka

from . import wire
from .address import Address
from .base import PeerEvent
from .errors import ActorLost, ActorRestarted, DecodeError, NodeError
from .future import AskFuture
from .hosting import Hosted, Hosting
from .control import Control
from .remote import RemoteRef
from .session import LinkClosed, Outlet, Session
from .traffic import Traffic
from .waiting import next_corr

if TYPE_CHECKING:
    from collections.abc import Callable

    from .control import Handler
    from .inbox import MailboxSpec
    from .waiter import Waiter

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_NAMES_VERB = "understudy.names"
_NAMES_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class NodeLimits:
    """How much and how long.

    Attributes:
        ask_timeout_s: the deadline of a request that was given none.
        send_timeout_s: how long a sender waits for a peer that does not read, and for one that is
            being started again.
        connect_timeout_s: for a connection's first word.
        flush_s: how long closing waits for what is still to be sent.
        max_frame_bytes: the largest frame, in both directions.
        high_water_bytes: what waits for one peer before its senders are held back.
        flush_bytes: what is collected before it is sent, at most.
        cold_s: a link that was quiet for so long sends at once.
        tick_s: the service thread's step while there is traffic: the longest that a message waits
            to be flushed, while the thread can run.
    """

    ask_timeout_s: float = 30.0
    send_timeout_s: float = 5.0
    connect_timeout_s: float = 5.0
    flush_s: float = 1.0
    max_frame_bytes: int = 64 << 20
    high_water_bytes: int = 1 << 20
    flush_bytes: int = 32 << 10
    cold_s: float = 50e-6
    tick_s: float = 0.002


DEFAULT_LIMITS = NodeLimits()


class NodeBase:
    """The part of a node that is the same with sockets and in memory.

    Subclasses give `_dial`, `wait`, `nudge`, `may_wait`, `call_soon` and `close`.

    Attributes:
        on_peer: told in the service thread when the link to a peer comes and goes.
        on_actor_stopped: told in the service thread of actors that stopped: address, reason. Of
            this node's hosted ones, and of those of peers that have a link.
        will_restart: whether a peer that was lost is started again: then refs to its actors stay
            alive, their askers get `ActorRestarted`, and senders wait for it. Must not block.
    """

    def __init__(
        self,
        name: str,
        *,
        incarnation: int = 1,
        limits: NodeLimits = DEFAULT_LIMITS,
        codec: wire.CodecName = "msgspec",
        register_refs: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is no node name: up to 64 of letters, digits, '_', '.', '-'"
            )
        self.name = name
        self.incarnation = incarnation
        self.limits = limits
        self.clock = clock
        self.traffic = Traffic()
        self.parking = self
        self.on_peer: Callable[[PeerEvent], None] | None = None
        self.on_actor_stopped: Callable[[Address, str], None] | None = None
        self.will_restart: Callable[[str], bool] = lambda _peer: False
        self.hosting = Hosting(name, incarnation, self.traffic, self, self._hosted_stopped)
        self._codec = codec
        self._register_refs = register_refs
        self._lock = threading.RLock()
        self._dial_lock = threading.Lock()
        self._refs: weakref.WeakValueDictionary[tuple[str, str], RemoteRef] = (
            weakref.WeakValueDictionary()
        )
        self._sessions: dict[str, Session] = {}
        self._all_sessions: set[Session] = set()
        self._newest: dict[str, int] = {}
        self._gone: dict[str, str] = {}
        self._up: dict[str, int] = {}
        self._control = Control(self)
        self._control.on(_NAMES_VERB, self._say_names)
        self._calls: deque[Callable[[], None]] = deque()
        self._is_closed = False

    # Actors and refs.

    def host(
        self,
        ref: pykka.ActorRef[Any],
        *,
        actor_id: str | None = None,
        incarnation: int | None = None,
        mailbox: MailboxSpec | None = None,
    ) -> Address:
        """Let an actor of this process be reached from every node; it gets our mailbox.

        Args:
            ref: the actor's.
            actor_id: what it is called on this node; its URN when None.
            incarnation: the number of its start; the node's when None.
            mailbox: the bounds of the mailbox that an actor of plain pykka gets.

        Returns:
            Where it is from now on. When it stops, the peers are told.

        Raises:
            ValueError: a living actor has that id here.
            ActorDeadError: the actor is gone.
        """
        hosted, is_successor = self.hosting.add(ref, actor_id, incarnation, mailbox)
        if is_successor:
            for session in self._live_sessions():
                session.close_ports(hosted.actor_id)
                record = (wire.UP, hosted.actor_id, hosted.address.incarnation)
                self._say(session, record)
        self._hosting_changed()
        return hosted.address

    def address(self, ref: pykka.ActorRef[Any]) -> Address:
        """Where an actor is: one of another node, or of this process, which is hosted if need be.

        Raises:
            ActorDeadError: it is of this process, and gone.
        """
        if isinstance(ref, RemoteRef):
            return ref.address
        hosted = self.hosting.find_by_ref(ref)
        return hosted.address if hosted is not None else self.host(ref)

    def ref(self, address: Address) -> pykka.ActorRef[Any]:
        """The ref of an actor: the same object each time; for a local actor its own."""
        if address.node == self.name:
            hosted = self.hosting.find(address.actor_id)
            if hosted is not None:
                return hosted.ref
        key = (address.node, address.actor_id)
        with self._lock:
            known = self._refs.get(key)
            if known is None:
                known = self._refs[key] = RemoteRef(self, address)
                if self._is_reachable(address):
                    if self._register_refs:
                        pykka.ActorRegistry.register(known)
                else:
                    known.actor_stopped.set()
            elif address.incarnation > known.incarnation:
                known.incarnation = address.incarnation
            return known

    def _is_reachable(self, address: Address) -> bool:
        return address.node != self.name and address.node not in self._gone

    def outlet(self, ref: RemoteRef, until_s: float) -> Outlet:
        """The way to an actor; the link is made when there is none.

        Raises:
            ActorLost: there is no way.
        """
        address = ref.address
        session = self.session(address.node, str(ref), until_s)
        outlet = session.outlets.get(address.actor_id)
        if outlet is None:
            with self._lock:
                outlet = session.outlets.setdefault(
                    address.actor_id,
                    Outlet(session, address.actor_id, address.window, address.window_bytes),
                )
        ref.outlet = outlet
        return outlet

    def names_of(self, ref: RemoteRef) -> list[list[Any]]:
        """See `RefOwner`."""
        try:
            payload = {"actor_id": ref.address.actor_id}
            found = self.call(ref.address.node, _NAMES_VERB, payload, timeout_s=_NAMES_TIMEOUT_S)
        except NodeError as error:
            raise ActorLost(str(ref), str(error)) from error
        return found["names"]

    def _say_names(self, _peer: str, _incarnation: int, payload: dict[str, Any]) -> dict[str, Any]:
        return {"names": self.hosting.names(payload["actor_id"])}

    # Control.

    def on_control(self, verb: str, handler: Handler) -> None:
        """Have a handler called for the control messages of that verb.

        It is called in the service thread, with peer, the peer's incarnation and the payload; it
        must not block. What it returns, or raises, is the answer to a `call`.
        """
        self._control.on(verb, handler)

    def cast(self, peer: str, verb: str, payload: dict[str, Any]) -> None:
        """Send a control message, before what waits in any mailbox.

        Raises:
            NodeError: the peer cannot be reached.
            EncodeError: the payload is no data.
        """
        self._control.send(peer, (wire.CAST, verb, payload), None)

    def call(
        self, peer: str, verb: str, payload: dict[str, Any], *, timeout_s: float
    ) -> dict[str, Any]:
        """Send a control message, and wait for the answer.

        Raises:
            NodeError: the peer cannot be reached, or went away.
            pykka.Timeout: no answer came in time.
            Exception: the handler's own, or `RemoteError`.
        """
        future = AskFuture()
        future.corr = next_corr()
        future.parking = self
        future.deadline_s = self.clock() + timeout_s
        future.on_expired = lambda late: self._forget(peer, late)
        record = (wire.CALL, verb, payload, future.corr, future.deadline_s)
        self._control.send(peer, record, future)
        return future.get() or {}

    def _forget(self, peer: str, future: AskFuture) -> None:
        session = self._sessions.get(peer)
        if session is not None:
            session.pending.pop(future.corr, None)

    # Peers.

    def peers(self) -> dict[str, int]:
        """The peers with a link, and their incarnations."""
        with self._lock:
            return {peer: session.incarnation for peer, session in self._sessions.items()}

    def peer_restarted(self, peer: str, incarnation: int) -> None:
        """A peer has been started again: what is older is over, and what it still says is dropped.

        Requests that older incarnations have not answered fail as `ActorRestarted`.
        """
        with self._lock:
            if incarnation <= self._newest.get(peer, 0) and peer not in self._gone:
                return
            self._newest[peer] = max(incarnation, self._newest.get(peer, 0))
            self._gone.pop(peer, None)
            old = [
                session
                for session in self._all_sessions
                if session.peer == peer and 0 < session.incarnation < incarnation
            ]
            refs = self._refs_of(peer)
        for session in old:
            reason = f"incarnation {incarnation} of {peer!r} has been started"
            self._end(session, reason, is_restart=True)
        for ref in refs:
            if incarnation > ref.incarnation:
                ref.revive(incarnation)

    def peer_gone(self, peer: str, reason: str) -> None:
        """A peer will not come again: its actors are dead, and who asks them is told so."""
        with self._lock:
            self._gone[peer] = reason
            old = [session for session in self._all_sessions if session.peer == peer]
            refs = self._refs_of(peer)
        for session in old:
            self._end(session, reason, is_restart=False)
        for ref in refs:
            ref.die()

    def fail(self, corr: int, error: Exception) -> bool:
        """End one request that is awaited here; False when it was over already."""
        for session in self._live_sessions():
            future = session.pending.pop(corr, None)
            if future is not None:
                return future.fail(error)
        return False

    def stats(self) -> Traffic:
        """What was counted so far."""
        return self.traffic.snapshot()

    def flush(self) -> None:
        """Send what was collected and waits to be sent. Never blocks."""
        for session in tuple(self._all_sessions):
            session.flush()

    def _refs_of(self, peer: str) -> list[RemoteRef]:
        return [ref for (node, _), ref in list(self._refs.items()) if node == peer]

    def _live_sessions(self) -> list[Session]:
        with self._lock:
            return list(self._all_sessions)

    def session(self, peer: str, who: str, until_s: float) -> Session:
        """The link to a peer. Raises ActorLost, naming `who`, when there is none."""
        session = self._sessions.get(peer)
        if session is not None and not session.closed:
            return session
        while True:
            try:
                with self._dial_lock:
                    session = self._sessions.get(peer)
                    if session is None or session.closed:
                        session = self._dial_once(peer)
                return session
            except OSError as error:
                reason = error.strerror or str(error)
                if not self.will_restart(peer) or self.clock() >= until_s:
                    self._unreachable(peer, reason)
                    raise ActorLost(who, f"node {peer!r} cannot be reached: {reason}") from error
            except NodeError as error:
                raise ActorLost(who, error.reason) from error
            time.sleep(0.01)  # its next incarnation is being started

    def _unreachable(self, peer: str, reason: str) -> None:
        if not self.will_restart(peer):
            self.peer_gone(peer, f"it cannot be reached: {reason}")

    def _dial_once(self, peer: str) -> Session:
        if self._is_closed:
            raise NodeError(peer, "this node is closed")
        if peer in self._gone:
            raise NodeError(peer, self._gone[peer])
        session = self._dial(peer)
        with self._lock:
            self._all_sessions.add(session)
            self._sessions[peer] = session
        session.post((wire.HELLO, wire.VERSION, self.name, self.incarnation, {}), now=True)
        return session

    def _dial(self, peer: str) -> Session:
        """A new link. Raises OSError when nobody is there."""
        raise NotImplementedError

    # What a session's records say about nodes; in the thread that reads.

    def take_control(self, session: Session, record: list[Any]) -> None:
        """See `SessionOwner.on_control`."""
        kind = record[0]
        if kind == wire.HELLO:
            self._on_hello(session, record)
        elif kind == wire.BYE:
            self._on_bye(session, str(record[1]), str(record[2]))
        elif kind in (wire.CAST, wire.CALL):
            self._control.take(session, record)
        elif kind in (wire.DOWN, wire.UP):
            self._on_actor(session, kind, record)
        else:
            self.traffic.unknown += 1

    def _on_hello(self, session: Session, record: list[Any]) -> None:
        version, peer, incarnation = record[1], record[2], record[3]
        is_sound = isinstance(peer, str) and isinstance(incarnation, int)
        if version != wire.VERSION or not is_sound or (session.peer and session.peer != peer):
            self.traffic.refused += 1
            self._refuse(session, "version", f"this is version {wire.VERSION} of node {self.name}")
            return
        if incarnation < self._newest.get(peer, 0):
            self.traffic.stale += 1
            self._refuse(session, "stale", f"incarnation {self._newest[peer]} was here already")
            return
        is_answer = bool(session.peer)
        session.peer, session.incarnation, session.greeted = peer, incarnation, True
        if not is_answer:
            self._say(session, (wire.HELLO, wire.VERSION, self.name, self.incarnation, {}))
        self.peer_restarted(peer, incarnation)
        with self._lock:
            self._gone.pop(peer, None)
            current = self._sessions.get(peer)
            if current is None or current.closed:
                self._sessions[peer] = session
            is_new = self._up.get(peer) != incarnation
            self._up[peer] = incarnation
            lost = [ref for ref in self._refs_of(peer) if ref.is_lost]
        for ref in lost:
            ref.revive(incarnation)
        if is_new:
            self._tell_peer(PeerEvent("connected", peer, incarnation))

    def _refuse(self, session: Session, kind: str, reason: str) -> None:
        self._say(session, (wire.BYE, kind, reason))
        self._end(session, reason, is_restart=False)

    def _on_bye(self, session: Session, kind: str, reason: str) -> None:
        self._end(session, f"{kind}: {reason}", is_restart=False)

    def _on_actor(self, session: Session, kind: int, record: list[Any]) -> None:
        actor_id, incarnation = record[1], record[2]
        # The next bearer of the id has an empty mailbox: room is counted anew.
        session.outlets.pop(actor_id, None)
        ref = self._refs.get((session.peer, actor_id))
        if ref is None:
            return
        ref.outlet = None
        if kind == wire.UP:
            ref.revive(incarnation)
        elif incarnation >= ref.incarnation or not incarnation:
            ref.die()
            reason = str(record[3]) if len(record) > 3 else ""  # noqa: PLR2004 - its place
            self._tell_stopped(ref.address, reason)

    def say_down(self, session: Session, actor_id: str, incarnation: int) -> None:
        """Tell a peer that an actor is not here."""
        self._say(session, (wire.DOWN, actor_id, incarnation, "not found"))

    def _say(self, session: Session, record: tuple[Any, ...]) -> None:
        try:
            session.post(record, now=True)
        except LinkClosed:
            return

    def _hosted_stopped(self, hosted: Hosted, reason: str) -> None:
        record = (wire.DOWN, hosted.actor_id, hosted.address.incarnation, reason[:1000])
        for session in self._live_sessions():
            session.close_ports(hosted.actor_id)
            self._say(session, record)
        self._tell_stopped(hosted.address, reason)
        self._hosting_changed()

    def _tell_stopped(self, address: Address, reason: str) -> None:
        told = self.on_actor_stopped
        if told is not None:
            self.call_soon(lambda: told(address, reason))

    def _tell_peer(self, event: PeerEvent) -> None:
        told = self.on_peer
        if told is not None:
            self.call_soon(lambda: told(event))

    def _end(self, session: Session, reason: str, *, is_restart: bool) -> None:
        """A link is over: who awaits answers over it hears so now, not at a deadline."""
        peer = session.peer
        is_restart = is_restart or (bool(peer) and not self._is_closed and self.will_restart(peer))
        kind = ActorRestarted if is_restart else ActorLost

        def error(ref: RemoteRef | None) -> Exception:
            if ref is None:
                return NodeError(peer, reason)
            return kind(str(ref), reason, True)  # noqa: FBT003 - maybe_executed

        if not session.end(reason, error):
            return
        self._close_io(session)
        with self._lock:
            self._all_sessions.discard(session)
            others = [s for s in self._all_sessions if s.peer == peer and s.greeted]
            if self._sessions.get(peer) is session:
                del self._sessions[peer]
                if others:
                    self._sessions[peer] = others[0]
            refs = self._refs_of(peer)
        if not peer or others:
            return
        if not is_restart:
            for ref in refs:
                ref.die(is_lost=True)
        if session.greeted:
            self._up.pop(peer, None)
            self._tell_peer(PeerEvent("disconnected", peer, session.incarnation))

    def _sweep(self) -> bool:
        """Fail the requests whose time is over and that nobody waits for; whether any are left."""
        now_s = self.clock()
        is_awaited = False
        for session in self._live_sessions():
            for corr, future in list(session.pending.items()):
                if future.deadline_s is None or future.deadline_s > now_s:
                    is_awaited = True
                elif session.pending.pop(corr, None) is not None:
                    self.traffic.expired += 1
                    future.fail(pykka.Timeout("no answer came before the request's deadline"))
        return is_awaited

    # Addresses on the wire.

    def new_codec(self) -> wire.Codec:
        """See `SessionOwner`."""
        return wire.make_codec(self._codec, self._to_ext, self._from_ext)

    def _to_ext(self, thing: object) -> tuple[int, bytes] | None:
        if not isinstance(thing, pykka.ActorRef):
            return None
        return wire.EXT_REF, msgpack.packb(self.address(thing).to_wire())

    def _from_ext(self, code: int, data: bytes) -> object:
        if code != wire.EXT_REF:
            return msgpack.ExtType(code, data)
        try:
            return self.ref(Address.from_wire(msgpack.unpackb(data)))
        except DecodeError as error:
            raise ValueError(str(error)) from error

    # What the kind of node gives.

    def wait(self, waiter: Waiter, until_s: float | None) -> bool:
        """See `Parking`."""
        raise NotImplementedError

    def nudge(self) -> None:
        """Something waits to be flushed."""
        raise NotImplementedError

    def may_wait(self) -> bool:
        """Whether this thread may wait for others: not the one that reads."""
        raise NotImplementedError

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have it called in the service thread."""
        raise NotImplementedError

    def close(self) -> None:
        """End all links. The hosted actors live on, for this process alone."""
        raise NotImplementedError

    def _close_io(self, session: Session) -> None:
        raise NotImplementedError

    def _hosting_changed(self) -> None:
        raise NotImplementedError
