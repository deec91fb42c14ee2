"""A ref to an actor in another process, and its proxy: pykka's own, as far as users can see."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol, cast

import pykka
from pykka import messages

from . import waiting, wire
from .address import class_of
from .errors import ActorLost, DeadlockError, MailboxFull, PeerTooSlow, PeerUnreachable
from .falls import is_stop_of_a_fall
from .future import AskFuture
from .likeness import Likeness
from .outlet import LinkClosed, Outlet
from .ports import to_form
from .pykka_parts import ActorStop, Envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from .address import Address
    from .limits import NodeLimits
    from .traffic import Traffic
    from .waiter import Waiter

_TRIES = 3
"""A link may end between the look and the send; then nothing was sent, and another is tried."""


class RefOwner(Protocol):
    """What a ref needs of its node."""

    limits: NodeLimits
    traffic: Traffic
    clock: Callable[[], float]

    @property
    def realm(self) -> object:
        """What is the same for all nodes that can reach each other."""
        ...

    def outlet(self, ref: RemoteRef, until_s: float) -> Outlet:
        """The way to an actor. Raises ActorLost or PeerUnreachable when there is none."""
        ...

    def wait(self, waiter: Waiter, until_s: float | None) -> bool:
        """See `Parking`."""
        ...

    def names_of(self, ref: RemoteRef) -> list[list[Any]]:
        """See `Hosting.names`, over the wire."""
        ...


class _RemoteInbox:
    """What pykka puts into when it is given a remote ref's inbox."""

    def __init__(self, ref: RemoteRef) -> None:
        self._ref = ref

    def put(self, envelope: Envelope[Any]) -> None:
        """Send it; a future that comes with it gets the answer."""
        if envelope.reply_to is None:
            self._ref.tell(envelope.message)
            return
        future = _Forward(envelope.reply_to)
        self._ref.send_ask(envelope.message, future, self._ref.default_deadline_s(), ())

    def get(self) -> Envelope[Any]:
        """There is nothing to take out here."""
        raise TypeError("the mailbox of an actor in another process is read there")

    def empty(self) -> bool:
        """Nothing waits here."""
        return True


class _Forward(AskFuture):
    """Hands its answer on to another future."""

    def __init__(self, other: pykka.Future[Any]) -> None:
        super().__init__()
        self._other = other

    def set(self, value: Any = None) -> None:
        if not self.done:
            super().set(value)
            self._other.set(value)

    def fail(self, error: BaseException) -> bool:
        is_first = super().fail(error)
        if is_first:
            self._other.set_exception((type(error), error, None))
        return is_first


class RemoteRef(pykka.ActorRef[Any]):
    """A ref to an actor of another node, made by `Node.ref`: one object for each actor.

    As a local one, but for what the distance brings: messages are data (and refs), and arrive as
    copies; a request without a timeout ends after `NodeLimits.ask_timeout_s`; a full mailbox and a
    lost link are errors of the sender. It is alive until its actor's end is known: the end of a
    link is not, the next use makes another. All methods may be called from any thread.

    Attributes:
        address: where the actor is.
    """

    def __init__(self, owner: RefOwner, address: Address) -> None:
        # No super().__init__(): there is no actor object here to take these from.
        self.address = address
        self.actor_class = class_of(address.actor_class)
        self.actor_urn = address.urn
        self.actor_inbox = _RemoteInbox(self)
        self.actor_stopped = threading.Event()
        self.outlet: Outlet | None = None
        self.incarnation = address.incarnation
        self.is_dead = False
        self._owner = owner
        self.wait = owner.wait
        """See `Parking`."""
        self._id = address.actor_id

    def __repr__(self) -> str:
        return f"<RemoteRef for {self}>"

    def __str__(self) -> str:
        return f"{self.actor_class.__name__} ({self.address.key})"

    def default_deadline_s(self) -> float:
        """When a request that is sent now without a timeout is over (monotonic)."""
        return self._owner.clock() + self._owner.limits.ask_timeout_s

    def tell(self, message: Any) -> None:
        """Send a message, without an answer.

        Raises:
            ActorDeadError: the actor or its process is gone.
            PeerUnreachable: its process cannot be reached now; the ref stays as it is.
            MailboxFull, PeerTooSlow: there was no room within the mailbox's waiting time.
            EncodeError, FrameTooLarge: the message cannot travel.
        """
        form, body = wire.RAW, message
        if message.__class__ is not dict and isinstance(message, tuple):
            if type(cast("object", message)) is ActorStop:
                self._send_stop(None)
                return
            form, body = to_form(message)
        outlet = self.outlet
        if (
            outlet is None
            or outlet.room <= 0
            or outlet.room_bytes <= 0
            or outlet.session.clogged
            or self.is_dead
        ):
            outlet = self._way(None)
        record = (wire.TELL, self._id, form, body)
        try:
            outlet.session.post_to(outlet, record)
        except LinkClosed:
            self._post_again(record)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message, and wait for the answer or get its future.

        Args:
            message: what is asked.
            block: whether to wait here.
            timeout: seconds; the request's deadline, after which the actor does not start it.

        Raises:
            EncodeError, FrameTooLarge: the message cannot travel. All other errors come from the
            future: the actor's own, `pykka.Timeout`, `ActorDeadError`, `MailboxFull`,
            `PeerUnreachable`.
        """
        future = AskFuture()
        limit_s = self._owner.limits.ask_timeout_s if timeout is None else timeout
        deadline_s = self._owner.clock() + limit_s
        chain = waiting.current_chain() if block else ()
        if chain and self.address.key in chain:
            future.fail(DeadlockError((*chain[chain.index(self.address.key) :], self.address.key)))
        else:
            self.send_ask(message, future, deadline_s, chain, now=block)
        if not block:
            return future
        if not future.done and not waiting.is_observed():
            # As `get` does, without its look for others that wait: nobody else has this future.
            self.wait(future, deadline_s)
        # The deadline is the timeout.
        return future.get()

    def send_ask(
        self,
        message: Any,
        future: AskFuture,
        deadline_s: float,
        chain: tuple[str, ...],
        *,
        now: bool = False,
    ) -> None:
        """Send a request whose answer the future gets; what hinders it is set there too.

        Args:
            message: what is asked.
            future: for the answer.
            deadline_s: when its time is over (monotonic).
            chain: who waits for the sender, and the sender.
            now: the sender will wait for it now, so nothing is to be collected.
        """
        corr = future.corr = next(waiting.serial)
        future.deadline_s = deadline_s
        future.ref = self
        form, body = wire.RAW, message
        try:
            if message.__class__ is not dict and isinstance(message, tuple):
                if type(cast("object", message)) is ActorStop:
                    self._send_stop(future)
                    return
                form, body = to_form(message)
            record: tuple[Any, ...] = (wire.ASK, self._id, form, body, corr, deadline_s)
            if chain:
                record = (*record, chain)
            outlet = self.outlet
            if (
                outlet is None
                or outlet.room <= 0
                or outlet.room_bytes <= 0
                or outlet.session.clogged
                or self.is_dead
            ):
                outlet = self._way(deadline_s)
            try:
                outlet.session.post_to(outlet, record, future, now=now)
            except LinkClosed:
                self._post_again(record, future, now=now)
        except (pykka.ActorDeadError, MailboxFull, PeerTooSlow, PeerUnreachable) as error:
            future.fail(error)

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """See `pykka.ActorRef.stop`; not for an actor that falls and takes its process along.

        pykka then stops all that its registry has. The actors of other processes have done nothing.
        """
        if not is_stop_of_a_fall():
            return super().stop(block=block, timeout=timeout)
        future = AskFuture()
        future.set(False)
        return False if block else future

    def proxy(self) -> RemoteProxy:
        """A proxy; the actor's attributes are asked for once, and again for one that is unknown.

        Raises:
            ActorDeadError: the actor is gone.
        """
        return RemoteProxy(actor_ref=self)

    def _actor_weakref(self) -> Any:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride, reportIncompatibleMethodOverride]
        """What pykka's own `ActorProxy`, made of this ref, takes for the actor."""
        return Likeness(self)

    def attributes(self) -> dict[tuple[str, ...], tuple[bool, bool]]:
        """The actor's public attributes: path, whether it can be called, whether traversed."""
        return {tuple(path): (call, deep) for path, call, deep in self._owner.names_of(self)}

    def revive(self, incarnation: int) -> None:
        """The actor is there again. In the node's hands."""
        self.incarnation = incarnation
        if self.is_dead:
            self.is_dead = False
            self.actor_stopped.clear()
            pykka.ActorRegistry.register(self)

    def die(self) -> None:
        """The actor is gone. In the node's hands."""
        outlet, self.outlet = self.outlet, None
        if not self.is_dead:
            self.is_dead = True
            self.actor_stopped.set()
            pykka.ActorRegistry.unregister(self)
        if outlet is not None:
            outlet.end()

    def _post_again(
        self, record: tuple[Any, ...], future: AskFuture | None = None, *, now: bool = False
    ) -> None:
        """Send over another link what a link that had just ended did not take."""
        for _ in range(_TRIES - 1):
            outlet = self._way(None if future is None else future.deadline_s)
            try:
                outlet.session.post_to(outlet, record, future, now=now)
            except LinkClosed:
                continue
            return
        raise ActorLost(str(self), "its links end as soon as they are made")

    def _send_stop(self, future: AskFuture | None) -> None:
        """A stop needs no room."""
        for _ in range(_TRIES):
            if self.is_dead:
                raise pykka.ActorDeadError(f"{self} not found")
            deadline_s = self.default_deadline_s() if future is None else future.deadline_s
            session = self._owner.outlet(self, cast("float", deadline_s)).session
            record = (wire.STOP, self._id, future.corr if future else 0, deadline_s)
            try:
                session.post_ask(record, future)
            except LinkClosed:
                continue
            return
        raise ActorLost(str(self), "its links end as soon as they are made")

    def _way(self, until_s: float | None) -> Outlet:
        """The way to the actor, once there is room on it."""
        now_s = self._owner.clock()
        if until_s is None:
            until_s = now_s + max(self.address.block_s, self._owner.limits.send_timeout_s)
        while not self.is_dead:
            outlet = self._owner.outlet(self, until_s)
            outlet.session.make_way(outlet, str(self), until_s, self.address.block_s)
            if not outlet.is_over:
                return outlet
        raise pykka.ActorDeadError(f"{self} not found")

    @property
    def realm(self) -> object:
        """That of its node: in another one its address is somebody else's, or nobody's."""
        return self._owner.realm

    def where(self) -> Address:
        """Its address."""
        return self.address

    def expired(self, future: AskFuture) -> None:
        """Nobody waits for that answer any more."""
        self._owner.traffic.expired += 1
        outlet = self.outlet
        if outlet is not None:
            outlet.session.pending.pop(future.corr, None)


class RemoteProxy(pykka.ActorProxy[Any]):
    """A `pykka.ActorProxy` for an actor that is not in this process."""

    _known: dict[tuple[str, ...], tuple[bool, bool]]

    def __init__(
        self,
        *,
        actor_ref: RemoteRef,
        attr_path: tuple[str, ...] = (),
        known: dict[tuple[str, ...], tuple[bool, bool]] | None = None,
    ) -> None:
        if not actor_ref.is_alive():
            raise pykka.ActorDeadError(f"{actor_ref} not found")
        self.actor_ref = actor_ref
        # What pykka's own methods compare and print.
        self._actor = cast("Any", actor_ref)
        self._attr_path = attr_path
        self._known = actor_ref.attributes() if known is None else known
        self._known_attrs = {}
        self._actor_proxies = {}
        self._callable_proxies = {}

    def __dir__(self) -> list[str]:
        depth = len(self._attr_path)
        here = {p[depth] for p in self._known if len(p) > depth and p[:depth] == self._attr_path}
        return sorted({"__class__", *vars(type(self)), *vars(self), *here})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{self} has no attribute {name!r}")
        path = (*self._attr_path, name)
        if path not in self._known:
            self._known.update(self._remote.attributes())
        if path not in self._known:
            raise AttributeError(f"{self} has no attribute {name!r}")
        is_callable, is_traversable = self._known[path]
        if is_callable:
            return pykka.CallableProxy(actor_ref=self._remote, attr_path=path)
        if is_traversable:
            return RemoteProxy(actor_ref=self._remote, attr_path=path, known=self._known)
        return self._remote.ask(messages.ProxyGetAttr(attr_path=path), block=False)

    @property
    def _remote(self) -> RemoteRef:
        return cast("RemoteRef", self.actor_ref)
