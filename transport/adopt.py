"""Gives a pykka actor our mailbox: by inheritance, or to a plain one that already runs."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pykka
from pykka.messages import ProxyGetAttr

from .future import AskFuture
from .inbox import LANE_RECORD, ActorInbox
from .mailbox_spec import DEFAULT_SPEC, MailboxSpec
from .pykka_parts import Envelope

if TYPE_CHECKING:
    import queue
    from collections.abc import Callable

PLAIN_SPEC = MailboxSpec(stop_first=False)
"""For an actor that was written for pykka: its stop keeps its place in the queue."""


class StopEvent(threading.Event):
    """An actor's `actor_stopped` that tells others.

    pykka sets it in the actor's thread before it drains the mailbox.
    """

    def __init__(self, inbox: ActorInbox) -> None:
        super().__init__()
        self._prepare(inbox)

    @classmethod
    def take_over(cls, event: threading.Event, inbox: ActorInbox) -> StopEvent:
        """Make an event that is in use one of these.

        Another object in its place could miss the `set` of a thread that had hold of the old one.
        """
        event.__class__ = cls
        taken = cast("StopEvent", event)
        taken._prepare(inbox)  # noqa: SLF001 - its own
        return taken

    def _prepare(self, inbox: ActorInbox) -> None:
        self._inbox = inbox
        self._tell_lock = threading.Lock()
        self._listeners: list[Callable[[str], None]] = []
        self._is_told = False
        self.reason = ""

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call it with the reason when the actor stops; at once when it has."""
        if not self.listen_if_alive(listener):
            listener(self.reason)

    def listen_if_alive(self, listener: Callable[[str], None]) -> bool:
        """Call it with the reason when the actor stops; False when it has."""
        with self._tell_lock:
            if not self._is_told:
                self._listeners.append(listener)
            return not self._is_told

    def set(self) -> None:
        """The actor has stopped."""
        error = sys.exc_info()[1]
        super().set()
        self._inbox.is_stopped = True
        with self._tell_lock:
            if not self._is_told:
                self.reason = "stopped" if error is None else f"{type(error).__name__}: {error}"
            self._is_told = True
            listeners, self._listeners = self._listeners, []
        if error is not None and not isinstance(error, Exception):
            # pykka answers a request that ended in a BaseException never, and goes on to stop all
            # other actors, one of which may be the one that waits for this answer.
            words = f"{self._inbox.name} was ended by {type(error).__name__}: {error}"
            self._inbox.fail_current(pykka.ActorDeadError(words))
        for listener in listeners:
            listener(self.reason)


class LocalRef(pykka.ActorRef[Any]):
    """The `ActorRef` of an actor with our mailbox: a tell is one call."""

    actor_inbox: Any

    def __init__(self, actor: MailboxActor) -> None:
        super().__init__(actor)
        # On the object it is one call, through the class it would be two.
        self.tell = self.actor_inbox.tell  # type: ignore[method-assign]

    def tell(self, message: Any) -> None:
        """See `pykka.ActorRef.tell`.

        Raises:
            ActorDeadError: the actor has stopped.
            MailboxFull: there is no room.
        """
        self.actor_inbox.tell(message)


class AdoptedRef(pykka.ActorRef[Any]):
    """The `ActorRef` of a plain actor that was given our mailbox: who asks it gets our futures.

    One of pykka's ends the actor's thread when it is set twice, and its waits are seen by nobody.
    """

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """See `pykka.ActorRef.ask`."""
        future = AskFuture()
        if self.is_alive():
            self.actor_inbox.put(Envelope(message, reply_to=future))
        else:
            error = pykka.ActorDeadError(f"{self} not found")
            future.set_exception((pykka.ActorDeadError, error, None))
        return future.get(timeout=timeout) if block else future


class MailboxActor(pykka.ThreadingActor):
    """A `pykka.ThreadingActor` with our mailbox and our futures.

    Attributes:
        mailbox: the bounds of its mailbox.
    """

    mailbox: ClassVar[MailboxSpec] = DEFAULT_SPEC
    use_daemon_thread = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        inbox = ActorInbox(self.mailbox)
        self.actor_inbox = inbox
        self.actor_stopped = StopEvent(inbox)
        inbox.bind(self.actor_urn, self.actor_stopped, str(self))
        self._actor_ref = LocalRef(self)

    def _take_told(self) -> None:
        """Handle what else was told and is next in turn, without pykka's steps for each message.

        For the end of a turn that nobody waits for. What a message raises comes out, and is taken
        by pykka's loop as the failure of a tell, which it is.
        """
        inbox = cast("ActorInbox", self.actor_inbox)
        told, control = inbox.told(), inbox.control
        take = told.popleft
        while told and not control and not inbox.is_stopped:
            item = told[0]
            if item.__class__ is list:
                # As `ActorInbox.get`, in place.
                if len(item) != LANE_RECORD or item[3].__class__ is not dict:
                    return
                take()
                port = item[0]
                port.used += 1
                port.used_bytes += item[1]
                if port.used >= port.quantum or port.used_bytes >= port.quantum_bytes:
                    port.grant()
                item = item[3]
            elif item.__class__ is dict:
                take()
            else:
                return
            if inbox.blocked:
                inbox.let_in()
            self.on_receive(item)

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return AskFuture()


def adopt(ref: pykka.ActorRef[Any], spec: MailboxSpec | None = None) -> ActorInbox:
    """Give an actor our mailbox, if it has another; what waits for it moves along, in order.

    Args:
        ref: of a `pykka.ThreadingActor` of this process.
        spec: the bounds of a mailbox that is made; None are those of `MailboxSpec`, without
            `stop_first`.

    Raises:
        ActorDeadError: the actor is gone.
        TypeError: its mailbox is neither ours nor pykka's.
    """
    if isinstance(ref.actor_inbox, ActorInbox):
        return ref.actor_inbox
    actor = ref._actor_weakref()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - pykka's proxies do it
    if actor is None:
        raise pykka.ActorDeadError(f"{ref} not found")
    old: Any = ref.actor_inbox
    if type(old).__module__ != "queue" or not hasattr(old, "mutex"):
        raise TypeError(f"{ref} has a mailbox of type {type(old).__name__}, which cannot be moved")
    inbox = ActorInbox(spec or PLAIN_SPEC)
    _move(cast("queue.Queue[Envelope[Any]]", old), actor, ref, inbox)
    if type(ref) is pykka.ActorRef:
        # The object stays: the registry and others hold it.
        ref.__class__ = AdoptedRef
    return inbox


def _move(
    old: queue.Queue[Envelope[Any]], actor: pykka.Actor, ref: pykka.ActorRef[Any], inbox: ActorInbox
) -> None:
    with old.mutex:
        inbox.take_over(old.queue)
        inbox.bind(ref.actor_urn, StopEvent.take_over(ref.actor_stopped, inbox), str(ref))
        actor.actor_inbox = ref.actor_inbox = inbox
        # Who still holds the old queue puts into the new one: Queue.put calls this, locked.
        old._put = inbox.put  # type: ignore[method-assign, assignment]  # noqa: SLF001
        # The actor may be waiting in the old queue: this look at an attribute brings it out.
        old.queue.append(Envelope(ProxyGetAttr(attr_path=("actor_urn",))))
        old.not_empty.notify()
    if ref.actor_stopped.is_set():
        ref.actor_stopped.set()
        inbox.empty()
