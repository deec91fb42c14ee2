"""The mailbox of an actor: bounded, with a control lane, for messages from here and elsewhere."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from pykka import ActorDeadError

from . import waiting
from .dead_letters import DEAD_LETTERS
from .errors import MailboxFull
from .future import AskFuture
from .mailbox import Overflow
from .mailbox_spec import DEFAULT_SPEC, MailboxSpec
from .priority import PriorityQueue
from .pykka_parts import ActorStop, Envelope
from .waiter import LOCK_PARKING, SLEEPING, Parking, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from .address import Address
    from .dead_letters import DeadLetters
    from .inlet import Port

_LET_IN = 256
"""Held senders go on when there is room for so many: for each one, threads would change places."""
_WRAPPED = frozenset((list, Envelope, ActorStop))
"""Messages of these classes go in an envelope: in a mailbox they mean something by themselves."""
LANE_RECORD = 4
"""Fields of a record that is told; one that is asked has more."""
_NOTHING: deque[Any] = deque()
"""Not for putting into."""


class ActorInbox(Waiter):
    """An actor's mailbox, for pykka's `_create_actor_inbox`.

    `get` and `empty` belong to the actor's thread, the rest to any. Control messages (a stop, and
    what `put_control` is given) go out first, whatever waits.

    Args:
        spec: its bounds.
        name: how errors call it.
        dead_letters: for what nobody will take out.
        clock: monotonic seconds.

    Attributes:
        reply: takes the answer to the message in hand; None for one that is not asked.
    """

    def __init__(
        self,
        spec: MailboxSpec = DEFAULT_SPEC,
        name: str = "mailbox",
        *,
        dead_letters: DeadLetters = DEAD_LETTERS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self.name = self.owner = name
        self.owner_urn = ""
        self.owner_key = ""
        self.address: Callable[[], Address] | None = None
        self.parking: Parking = LOCK_PARKING
        self.dropped = 0
        self.expired = 0
        self._dead_letters = dead_letters
        self._clock = clock
        self._ordinary: deque[Any] | PriorityQueue = _queue(spec.priority)
        self.control: deque[Any] = deque()
        self._max = spec.max_messages
        self._low = self._max - max(1, min(self._max // 8, _LET_IN))
        self._drops = spec.overflow is Overflow.DROP_OLDEST
        self._held: deque[Port] = deque()
        self._exact: set[Port] = set()
        self._bytes = 0
        self._stop_first = spec.stop_first
        self._stopped: threading.Event | None = None
        self.is_stopped = False
        self._is_closed = False
        self._is_entered = False
        self._slot = Envelope[Any](None)
        self.reply: Any = None
        self._record: Any = None
        self._room = threading.Condition(threading.Lock())
        self.blocked = False

    def bind(self, urn: str, stopped: threading.Event, owner: str) -> None:
        """Say whose it is, in words too, and how to know that the actor has stopped."""
        self.owner_urn = self.owner_key = self.name = urn
        self.owner = owner
        self._stopped = stopped

    def __len__(self) -> int:
        """Messages waiting."""
        return len(self._ordinary) + len(self.control)

    def ready(self) -> bool:
        """Whether `get` has something to give."""
        return bool(self._ordinary) or bool(self.control) or bool(self._held)

    def tell(self, message: Any) -> None:
        """Add a message of this process that is not asked, as itself: an envelope costs time.

        Raises:
            ActorDeadError: the actor has stopped.
            MailboxFull: there is no room (by the policy: at once, or after the waiting time).
        """
        if self.is_stopped:
            raise ActorDeadError(f"{self.owner} not found")
        if message.__class__ in _WRAPPED:
            self.put(Envelope(message))
            return
        ordinary = self._ordinary
        if len(ordinary) >= self._max:
            self._make_room()
        ordinary.append(message)
        if self._is_closed:
            self._refuse_rest()
        if self.state:
            self.wake()

    def put(self, envelope: Envelope[Any]) -> None:
        """Add a message of this process.

        Raises:
            MailboxFull: there is no room (by the policy: at once, or after the waiting time).
        """
        if envelope.reply_to is not None:
            self._expect(envelope.reply_to)
        if self._stop_first and envelope.message.__class__ is ActorStop:
            self.control.append(envelope)
        else:
            if len(self._ordinary) >= self._max:
                self._make_room()
            self._ordinary.append(envelope)
        if self._is_closed:
            self._refuse_rest()
        if self.state:
            self.wake()

    def put_stop(self, envelope: Envelope[Any]) -> None:
        """Add a stop from elsewhere: first, or in its place, as the mailbox's spec says."""
        if self._stop_first:
            self.put_control(envelope)
            return
        self._ordinary.append(envelope)
        if self._is_closed:
            self._refuse_rest()
        if self.state:
            self.wake()

    def put_control(self, envelope: Envelope[Any]) -> None:
        """Add a message that goes out before all others, and for which there is always room."""
        self.control.append(envelope)
        if self._is_closed:
            self._refuse_rest()
        if self.state:
            self.wake()

    def open_port(self, port: Port) -> None:
        """Messages come in there from now on."""
        if self.spec.overflow is Overflow.REJECT:
            # A sender that waits can say so; one that is refused at once has no time to.
            self._exact.add(port)

    def settle_soon(self, port: Port) -> None:
        """Give a sender that is held its room back when nothing waits. In the thread that reads."""
        self._held.append(port)
        if self.state == SLEEPING:
            self.wake()

    def take_over(self, envelopes: deque[Envelope[Any]]) -> None:
        """Begin with what waited in another mailbox, which is emptied."""
        while envelopes:
            self._ordinary.append(envelopes.popleft())

    def extend(self, records: list[Any]) -> None:
        """Add what came over one link, in the thread that read it.

        There is room for it: its sender was told how much there is.
        """
        self._ordinary.extend(records)
        if self._drops:
            self._count_bytes(sum(record[1] for record in records))
            self._drop_to(self._max)
        if self._is_closed:
            self._refuse_rest()
        if self.state == SLEEPING:
            self.wake()

    def get(self) -> Envelope[Any]:
        """Wait for the next message, and take it out."""
        self._record = self.reply = None
        if not self._is_entered:
            self._is_entered = True
            waiting.enter_actor(self)
        while True:
            try:
                item = (self.control or self._ordinary).popleft()
            except IndexError:
                self._rest()
                continue
            if self.blocked:
                self.let_in()
            slot = self._slot
            slot.reply_to = None
            if item.__class__ is not list:
                if item.__class__ is Envelope:
                    self.reply = item.reply_to
                    local: Envelope[Any] = item
                    return local
                slot.message = item
                return slot
            port = item[0]
            port.used += 1
            port.used_bytes += item[1]
            if self._drops:
                self._count_bytes(-item[1])
            if port.used >= port.quantum or port.used_bytes >= port.quantum_bytes:
                port.grant()
            slot.message = item[3]
            if len(item) > LANE_RECORD and not self._take_request(item):
                continue
            return slot

    def _take_request(self, record: list[Any]) -> bool:
        """Have the answer to a record go where it came from; False when it is too late for one."""
        if record[5] < self._clock():
            self._note_expired(record)
            return False
        self._record = record
        self.reply = self._slot.reply_to = record[0].reply(record[4], record[5])
        return True

    def _rest(self) -> None:
        """Wait for the next message, when senders have been given what room they need."""
        while self._held:
            self._held.popleft().settle()
        for port in tuple(self._exact) if self._exact else ():
            if port.is_over:
                self._exact.discard(port)
            else:
                port.settle()
        self.parking.wait(self, None)

    def told(self) -> deque[Any]:
        """What waits, for an actor that takes told messages out by itself, from the left.

        Nothing when others take out as well, or by an order of their own.
        """
        waits = self._ordinary
        if self._drops or isinstance(waits, PriorityQueue):
            return _NOTHING
        return waits

    def empty(self) -> bool:
        """Whether nothing waits.

        pykka asks in its teardown alone: then what waits is answered or becomes dead letters, and
        so is what comes later; nobody is left waiting for a mailbox that is read no more.
        """
        if self._stopped is not None and self._stopped.is_set():
            self._is_closed = True
            self._stopped.set()
            self._refuse_rest()
            with self._room:
                self._room.notify_all()
        return not (self._ordinary or self.control)

    def fail_current(self, error: Exception) -> None:
        """Answer the request in hand, which the actor will not come to answer."""
        reply, self.reply = self.reply, None
        if reply is not None:
            reply.set_exception((type(error), error, None))

    def call_chain(self) -> tuple[str, ...]:
        """Who waits for what the actor does now, itself last."""
        record = self._record
        if record is None or len(record) <= LANE_RECORD + 2 or record[5] < self._clock():
            return (self.owner_key,)
        return (*record[6], self.owner_key)

    def holds(self, peer: str, corr: int) -> bool:
        """Whether a peer's request waits or is in the actor's hands, unanswered. Any thread."""
        while True:
            try:
                items: list[Any] = [self._record, *self._ordinary]
            except RuntimeError:  # somebody put or took meanwhile
                continue
            asked = [i for i in items if i.__class__ is list and len(i) > LANE_RECORD]
            return any(i[4] == corr and i[0].session.peer == peer for i in asked)

    def _expect(self, reply: Any) -> None:
        if isinstance(reply, AskFuture):
            reply.target = self.address or None

    def _make_room(self) -> None:
        overflow = self.spec.overflow
        if overflow is Overflow.DROP_OLDEST:
            self._drop_to(self._max - 1)
            return
        # An actor that waits for room in its own mailbox waits for itself.
        if overflow is Overflow.BLOCK and waiting.current_actor() is not self:
            with self._room:
                self._room.wait_for(self._wants_room, self.spec.block_timeout_s)
        if not self._has_room():
            raise MailboxFull(self.name, len(self._ordinary), 0)

    def _wants_room(self) -> bool:
        # Said before the look: who makes room after it finds that somebody waits.
        self.blocked = True
        return self._has_room()

    def _has_room(self) -> bool:
        return self._is_closed or len(self._ordinary) < self._max

    def let_in(self) -> None:
        """Let held senders go on, when there is room for many. In the actor's thread.

        Once: until they run, which may be many messages later, there is nothing more to say.
        """
        if len(self._ordinary) <= self._low:
            with self._room:
                self.blocked = False
                self._room.notify_all()

    def _drop_to(self, count: int) -> None:
        while len(self._ordinary) > count or (
            self._bytes > self.spec.max_bytes and len(self._ordinary) > 1
        ):
            try:
                item = self._ordinary.popleft()
            except IndexError:
                return
            self.dropped += 1
            if item.__class__ is list:
                self._count_bytes(-item[1])
            full = MailboxFull(self.name, self._max, 0)
            self._refuse(item, "dropped", full)

    def _count_bytes(self, size_bytes: int) -> None:
        """The bytes of other processes' messages; only a mailbox that drops has to know them."""
        with self._room:
            self._bytes += size_bytes

    def _refuse_rest(self) -> None:
        """Answer all that nobody will take out."""
        while self.control or self._ordinary:
            try:
                item = (self.control or self._ordinary).popleft()
            except IndexError:
                return
            dead = ActorDeadError(f"{self.owner} stopped before handling the message")
            self._refuse(item, "stopped", dead)

    def _refuse(self, item: Any, reason: str, error: Exception) -> None:
        message, size_bytes = _message(item), 0
        if item.__class__ is list:
            port, size_bytes = item[0], item[1]
            port.give_back(size_bytes)
            reply = port.reply(item[4], item[5]) if len(item) > LANE_RECORD else None
        else:
            reply = item.reply_to if item.__class__ is Envelope else None
        if message.__class__ is ActorStop:
            if reply is not None:
                reply.set(None)
        elif reply is not None:
            reply.set_exception((type(error), error, None))
        else:
            self._dead_letters.add(self.name, message, reason, size_bytes)

    def _note_expired(self, record: list[Any]) -> None:
        self.expired += 1
        self._dead_letters.add(self.name, _message(record), "expired", record[1])


def _queue(priority: Callable[[Any], int] | None) -> deque[Any] | PriorityQueue:
    return PriorityQueue(lambda item: priority(_message(item))) if priority else deque()


def _message(item: Any) -> Any:
    """What an envelope, a record or a bare message says."""
    if item.__class__ is list:
        return item[3]
    return item.message if item.__class__ is Envelope else item
