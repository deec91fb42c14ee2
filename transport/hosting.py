"""The actors of this process that others can reach."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import pykka

from .address import Address, class_path
from .adopt import PLAIN_SPEC, adopt
from .dead_letters import DEAD_LETTERS, DeadLetters
from .inbox import ActorInbox
from .pykka_parts import introspect_attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from .adopt import StopEvent
    from .mailbox_spec import MailboxSpec
    from .session import Session
    from .traffic import Traffic
    from .waiter import Parking


@dataclass(frozen=True)
class Hosted:
    """An actor that can be reached."""

    actor_id: str
    ref: pykka.ActorRef[Any]
    inbox: ActorInbox
    address: Address


class Hosting:
    """The table of hosted actors. Any thread.

    Args:
        node: the node's name.
        incarnation: that of an actor that is given none.
        traffic: where messages to nobody are counted.
        parking: where the actors wait for messages.
        on_stopped: told when one stops, in the thread of the actor.
        call_soon: has something called in another thread.
    """

    def __init__(
        self,
        node: str,
        incarnation: int,
        traffic: Traffic,
        parking: Parking,
        on_stopped: Callable[[Hosted, str], None],
        call_soon: Callable[[Callable[[], None]], None],
        *,
        dead_letters: DeadLetters = DEAD_LETTERS,
    ) -> None:
        self._node = node
        self._incarnation = incarnation
        self._traffic = traffic
        self._parking = parking
        self._on_stopped = on_stopped
        self._call_soon = call_soon
        self._dead_letters = dead_letters
        self._lock = threading.RLock()
        self._by_id: dict[str, Hosted] = {}
        self._by_urn: dict[str, Hosted] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def add(
        self,
        ref: pykka.ActorRef[Any],
        actor_id: str | None,
        incarnation: int | None,
        spec: MailboxSpec | None,
    ) -> tuple[Hosted, bool]:
        """Let an actor be reached; also whether another of its id was, or had been, there before.

        Raises:
            ValueError: a living actor has that id.
            ActorDeadError: the actor is gone.
        """
        with self._lock:
            known = self._by_urn.get(ref.actor_urn)
            if known is not None and actor_id in (None, known.actor_id):
                return known, False
            inbox = adopt(ref, spec)
            actor_id = actor_id or ref.actor_urn
            before = self._by_id.get(actor_id)
            if before is not None and before.ref.is_alive():
                raise ValueError(f"an actor {actor_id!r} lives on node {self._node!r} already")
            address = self._make_address(ref, actor_id, incarnation, inbox.spec)
            hosted = Hosted(actor_id, ref, inbox, address)
            self._by_id[actor_id] = self._by_urn[ref.actor_urn] = hosted
        inbox.owner_key = inbox.name = address.key
        inbox.address = lambda: address
        inbox.parking = self._parking
        # An actor that sleeps on its lock comes along to the node's sockets with the next message.
        event = cast("StopEvent", ref.actor_stopped)
        if not event.listen_if_alive(lambda reason: self._stopped(hosted, reason)):
            # Not here: a link that writes a message with this ref in it holds its lock.
            self._call_soon(lambda: self._stopped(hosted, event.reason))
        return hosted, before is not None

    def address_of_dead(self, ref: pykka.ActorRef[Any]) -> Address:
        """Where an actor was that is gone; alive when another bears its name here by now."""
        inbox = ref.actor_inbox if isinstance(ref.actor_inbox, ActorInbox) else None
        known = None if inbox is None or inbox.address is None else inbox.address()
        if known is None or known.node != self._node:
            spec = PLAIN_SPEC if inbox is None else inbox.spec
            known = self._make_address(ref, ref.actor_urn, None, spec)
        return replace(known, is_dead=self.find(known.actor_id) is None)

    def find(self, actor_id: str) -> Hosted | None:
        """The living actor of that id."""
        hosted = self._by_id.get(actor_id)
        return hosted if hosted is not None and hosted.ref.is_alive() else None

    def find_by_ref(self, ref: pykka.ActorRef[Any]) -> Hosted | None:
        """What is known of this actor."""
        return self._by_urn.get(ref.actor_urn)

    def all(self) -> list[Hosted]:
        """All living ones."""
        with self._lock:
            return [hosted for hosted in self._by_id.values() if hosted.ref.is_alive()]

    def refuse(self, session: Session, record: list[Any]) -> None:
        """Take note of a message for an actor that is not here, and let its sender know."""
        self._traffic.undeliverable += 1
        actor_id = str(record[1])
        message = record[3] if len(record) > 3 else None  # noqa: PLR2004 - the message's place
        self._dead_letters.add(f"{self._node}/{actor_id}", message, "unknown")
        known = self._by_id.get(actor_id)
        session.owner.say_down(session, actor_id, known.address.incarnation if known else 0)

    def dead_error(self, actor_id: str) -> pykka.ActorDeadError:
        """What an asker of an actor that is not here gets."""
        return pykka.ActorDeadError(f"{actor_id} not found on node {self._node!r}")

    def names(self, actor_id: str) -> list[list[Any]]:
        """An actor's public attributes: path, whether it can be called, whether it is traversed.

        Raises:
            ActorDeadError: it is not here.
        """
        hosted = self.find(actor_id)
        actor = None if hosted is None else hosted.ref._actor_weakref()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as pykka's proxies
        if actor is None:
            raise self.dead_error(actor_id)
        found = introspect_attrs(root=actor, proxy=cast("Any", _ProxyOf(actor)))
        return [[list(path), info.callable, info.traversable] for path, info in found.items()]

    def _make_address(
        self, ref: pykka.ActorRef[Any], actor_id: str, incarnation: int | None, spec: MailboxSpec
    ) -> Address:
        return Address(
            self._node,
            actor_id,
            self._incarnation if incarnation is None else incarnation,
            class_path(ref.actor_class),
            ref.actor_urn,
            spec.window,
            spec.window_bytes,
            spec.sender_wait_s,
        )

    def _stopped(self, hosted: Hosted, reason: str) -> None:
        with self._lock:
            self._by_urn.pop(hosted.ref.actor_urn, None)
            if hosted.actor_id == hosted.ref.actor_urn:
                # Nobody will have that id again; a name is kept, to tell of its next bearer.
                self._by_id.pop(hosted.actor_id, None)
        self._on_stopped(hosted, reason)


class _ProxyOf:
    """Equal to an actor's proxies, and to nothing else, whatever that thinks of equality.

    pykka leaves out what is a proxy of the actor itself: it would lead round and round.
    """

    def __init__(self, actor: pykka.Actor) -> None:
        self._actor = actor

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, pykka.ActorProxy):
            return False
        proxy = cast("Any", other)
        return proxy._actor is self._actor and proxy._attr_path == ()

    __hash__ = None  # type: ignore[assignment]
