"""A node: this process among its peers. What does not depend on how bytes travel."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgpack
import pykka

from . import wire
from .address import Address
from .control import Control
from .errors import ActorLost, DecodeError, NodeError, PeerUnreachable
from .future import AskFuture
from .hosting import Hosted, Hosting
from .limits import DEFAULT_NODE_LIMITS, NodeLimits
from .links import Links
from .outlet import Outlet
from .remote import RemoteRef
from .waiting import next_corr

if TYPE_CHECKING:
    from collections.abc import Callable

    from .control import Handler
    from .mailbox_spec import MailboxSpec
    from .session import Session
    from .waiter import Parking, Waiter

_NAMES_VERB = "understudy.names"
_NAMES_TIMEOUT_S = 5.0


class NodeBase(Links):
    """The part of a node that is the same with sockets and in memory.

    Attributes:
        on_actor_stopped: told in the service thread of actors that stopped: address, reason. Of
            this node's hosted ones, and of those of peers that have a link.
    """

    def __init__(
        self,
        name: str,
        *,
        incarnation: int = 1,
        limits: NodeLimits = DEFAULT_NODE_LIMITS,
        codec: wire.CodecName = "msgspec",
        register_refs: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name, incarnation=incarnation, limits=limits, clock=clock)
        self.parking: Parking = self
        self.on_actor_stopped: Callable[[Address, str], None] | None = None
        self.hosting = Hosting(
            name, incarnation, self.traffic, self, self._hosted_stopped, self.call_soon
        )
        self._codec: wire.CodecName = codec
        self._register_refs = register_refs
        self._control = Control(self)
        self._control.on(_NAMES_VERB, self._say_names)

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
            self._say_all(hosted, (wire.UP, hosted.actor_id, hosted.address.incarnation))
        self._hosting_changed()
        return hosted.address

    def address(self, ref: pykka.ActorRef[Any]) -> Address:
        """Where an actor is: one of another node, or of this process, which is hosted if need be.

        Raises:
            ActorDeadError: it is of this process, and gone.
            ValueError: it is of another process that the nodes around this one cannot reach.
        """
        if isinstance(ref, RemoteRef):
            if ref.realm != self.realm:
                raise ValueError(
                    f"{ref} is of another system: it means nothing to node {self.name!r}"
                )
            return ref.address
        hosted = self.hosting.find_by_ref(ref)
        return hosted.address if hosted is not None else self.host(ref)

    def address_to_send(self, ref: pykka.ActorRef[Any]) -> Address:
        """The same; that of an actor that is gone says so, and it is not hosted any more."""
        if isinstance(ref, RemoteRef) or ref.is_alive():
            # Else it has stopped just now.
            with contextlib.suppress(pykka.ActorDeadError):
                return self.address(ref)
        return self.hosting.address_of_dead(ref)

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
                # Its next bearer may come: then the ref is alive, and so is what is said of it.
                known = self._refs[key] = RemoteRef(self, replace(address, is_dead=False))
                if self._is_reachable(address):
                    if self._register_refs:
                        pykka.ActorRegistry.register(known)
                else:
                    known.actor_stopped.set()
            elif address.incarnation > known.incarnation:
                known.incarnation = address.incarnation
            if address.is_dead and address.incarnation >= known.incarnation:
                known.die()
            return known

    def _is_reachable(self, address: Address) -> bool:
        return address.node != self.name and address.node not in self._gone

    def outlet(self, ref: RemoteRef, until_s: float) -> Outlet:
        """The way to an actor; the link is made when there is none.

        Raises:
            ActorLost, PeerUnreachable: see `session`.
        """
        address = ref.address
        session = self.session(address.node, str(ref), until_s)
        outlet = session.outlets.get(address.actor_id)
        if outlet is None or outlet.is_over:
            outlet = self._new_outlet(session, address)
        ref.outlet = outlet
        return outlet

    def _new_outlet(self, session: Session, address: Address) -> Outlet:
        with self._lock:
            self._looks.pop(address.node, None)
            outlet = session.outlets.get(address.actor_id)
            if outlet is None or outlet.is_over:
                outlet = Outlet(session, address.actor_id, address.window, address.window_bytes)
                session.outlets[address.actor_id] = outlet
            return outlet

    def names_of(self, ref: RemoteRef) -> list[list[Any]]:
        """See `RefOwner`."""
        try:
            payload = {"actor_id": ref.address.actor_id}
            found = self.call(ref.address.node, _NAMES_VERB, payload, timeout_s=_NAMES_TIMEOUT_S)
        except PeerUnreachable:
            raise
        except NodeError as error:
            raise ActorLost(str(ref), str(error)) from error
        names: list[list[Any]] = found["names"]
        return names

    def _say_names(self, _peer: str, _incarnation: int, payload: dict[str, Any]) -> dict[str, Any]:
        return {"names": self.hosting.names(payload["actor_id"])}

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
        return self.begin_call(peer, verb, payload, timeout_s=timeout_s).get() or {}

    def begin_call(
        self, peer: str, verb: str, payload: dict[str, Any], *, timeout_s: float
    ) -> AskFuture:
        """Send a control message; the future has the answer, or raises as `call` does.

        Raises:
            NodeError: the peer cannot be reached.
        """
        future = AskFuture()
        future.corr = next_corr()
        future.parking = self
        future.deadline_s = self.clock() + timeout_s
        future.on_expired = lambda late: self._forget(peer, late)
        record = (wire.CALL, verb, payload, future.corr, future.deadline_s)
        self._control.send(peer, record, future)
        return future

    def _forget(self, peer: str, future: AskFuture) -> None:
        session = self._sessions.get(peer)
        if session is not None:
            session.pending.pop(future.corr, None)

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

    def _on_actor(self, session: Session, kind: int, record: list[Any]) -> None:
        actor_id, incarnation = record[1], record[2]
        if not (isinstance(actor_id, str) and isinstance(incarnation, int)):
            raise DecodeError("an actor's id or incarnation is none")
        # The next bearer of the id has an empty mailbox: room is counted anew.
        outlet = session.outlets.pop(actor_id, None)
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
        if outlet is not None:
            outlet.end()

    def say_down(self, session: Session, actor_id: str, incarnation: int) -> None:
        """Tell a peer that an actor is not here."""
        self._say(session, (wire.DOWN, actor_id, incarnation, "not found"))

    def _hosted_stopped(self, hosted: Hosted, reason: str) -> None:
        record = (wire.DOWN, hosted.actor_id, hosted.address.incarnation, reason[:1000])
        self._say_all(hosted, record)
        self._tell_stopped(hosted.address, reason)
        self._hosting_changed()

    def _say_all(self, hosted: Hosted, record: tuple[Any, ...]) -> None:
        for session in self._live_sessions():
            session.close_ports(hosted.actor_id)
            # Who has not said who it is has not heard a hello either, which must come first.
            if session.peer:
                self._say(session, record)

    def _tell_stopped(self, address: Address, reason: str) -> None:
        told = self.on_actor_stopped
        if told is not None:
            self.call_soon(lambda: told(address, reason))

    def new_codec(self) -> wire.Codec:
        """See `SessionOwner`."""
        return wire.make_codec(self._codec, self._to_ext, self._from_ext)

    def _to_ext(self, thing: object) -> tuple[int, bytes] | None:
        if not isinstance(thing, pykka.ActorRef):
            return None
        address = self.address_to_send(thing)  # pyright: ignore[reportUnknownArgumentType] - of any actor
        return wire.EXT_REF, msgpack.packb(address.to_wire())

    def _from_ext(self, code: int, data: bytes) -> object:
        if code != wire.EXT_REF:
            return msgpack.ExtType(code, data)
        try:
            return self.ref(Address.from_wire(msgpack.unpackb(data)))
        except DecodeError as error:
            raise ValueError(str(error)) from error

    @property
    def realm(self) -> object:
        """See `RefOwner`."""
        raise NotImplementedError

    def wait(self, waiter: Waiter, until_s: float | None) -> bool:
        """See `Parking`."""
        raise NotImplementedError

    def nudge(self) -> None:
        """Something waits to be flushed."""
        raise NotImplementedError

    def close(self) -> None:
        """End all links. The hosted actors live on, for this process alone."""
        raise NotImplementedError

    def _hosting_changed(self) -> None:
        raise NotImplementedError
