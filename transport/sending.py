"""The sending half of one node's end of its link to another; and who waits for room on it.

No I/O here: `_transmit` is given by the kind of link.
"""

from __future__ import annotations

import contextlib
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any

from . import failures, wire
from .errors import EncodeError, FrameTooLarge, MailboxFull, PeerTooSlow
from .outlet import LinkClosed, Outlet, Room, SessionOwner

if TYPE_CHECKING:
    from collections.abc import Callable

    from .future import AskFuture
    from .waiter import Waiter

_HELD_S = 0.02
"""A sender that waits for room says so each time: what was used may not be given back yet."""
_PACK_HEAD = wire.HEAD.pack
UNSAYABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""What a codec raises at what it cannot write."""


class Sending:
    """What a link's end sends. `post` and what calls it may be called from any thread.

    Attributes:
        peer: the other node's name; "" until it is known.
        incarnation: of the other node; 0 until it is known.
        is_dialled: whether this end made the link.
        closed: why it ended; "" while it lives.
        clogged: so much waits to be sent that senders must wait.
    """

    def __init__(self, owner: SessionOwner, peer: str = "") -> None:
        self.peer = peer
        self.is_dialled = bool(peer)
        self.incarnation = 0
        self.closed = ""
        self.clogged = False
        self.greeted = False
        self.since_s = owner.clock()
        self.owner = owner
        self.lock = allocate_lock()
        self.pending: dict[int, AskFuture] = {}
        self.outlets: dict[str, Outlet] = {}
        self.codec = owner.new_codec()
        self._encode = self.codec.encode
        self._traffic = owner.traffic
        self.out: list[bytes] = []
        self._out_bytes = 0
        self._last_s = 0.0
        self._clock = owner.clock
        self._limit = owner.limits.max_frame_bytes - wire.HEAD_BYTES
        self._flush_bytes = owner.limits.flush_bytes
        self._cold_s = owner.limits.cold_s
        self._rooms: list[Waiter] = []

    # Sending.

    def post(self, record: tuple[Any, ...], *, now: bool = False) -> int:
        """Put a record on its way; its size.

        It goes out at once if the link was quiet, if enough waits already, or if `now`; else
        with the next flush: at the end of a turn, before any wait, or by the service thread.

        Raises:
            LinkClosed: the link has ended.
            EncodeError, FrameTooLarge: it cannot be said.
        """
        with self.lock:
            if self.closed:
                raise LinkClosed(self.peer, self.closed)
            try:
                data = self._encode(record)
            except UNSAYABLE as error:
                raise EncodeError(str(error) or type(error).__name__) from error
            size_bytes = len(data)
            if size_bytes >= self._flush_bytes:
                self._check_size(data)
            elif now and not self.out:
                # One record by itself, for which somebody waits: no list, no joining.
                self._traffic.sent += 1
                self._transmit_one(
                    _PACK_HEAD(size_bytes + wire.HEAD_BYTES, wire.ARRAY_32, 1) + data
                )
                return size_bytes
            return self._add(data, now=now)

    def post_ask(self, record: tuple[Any, ...], future: AskFuture | None) -> None:
        """Put a request on its way that uses up no room in a mailbox. See `post`."""
        with self.lock:
            if self.closed:
                raise LinkClosed(self.peer, self.closed)
            data = wire.encode(self.codec, record, self._limit)
            if future is not None:
                self.pending[future.corr] = future
            self._add(data, now=True)

    def post_to(
        self,
        outlet: Outlet,
        record: tuple[Any, ...],
        future: AskFuture | None = None,
        *,
        now: bool = False,
    ) -> None:
        """Put a message for an actor on its way, using up room in its mailbox. See `post`."""
        with self.lock:
            if self.closed:
                raise LinkClosed(self.peer, self.closed)
            # As `post`, in place: every message passes here.
            try:
                data = self._encode(record)
            except UNSAYABLE as error:
                raise EncodeError(str(error) or type(error).__name__) from error
            size_bytes = len(data)
            if size_bytes >= self._flush_bytes:
                self._check_size(data)
            if future is not None:
                self.pending[future.corr] = future
            outlet.room -= 1
            outlet.room_bytes -= size_bytes
            if now and not self.out and size_bytes < self._flush_bytes:
                self._traffic.sent += 1
                self._transmit_one(
                    _PACK_HEAD(size_bytes + wire.HEAD_BYTES, wire.ARRAY_32, 1) + data
                )
            else:
                self._add(data, now=now)

    def _check_size(self, data: bytes) -> None:
        if len(data) > self._limit:
            raise FrameTooLarge(len(data), self._limit)

    def _add(self, data: bytes, *, now: bool) -> int:
        out = self.out
        size_bytes = len(data)
        if out and size_bytes >= self._flush_bytes:
            # A message of that size travels in a frame of its own, and is not copied again.
            self._send_out()
            out = self.out
        out.append(data)
        self._out_bytes += size_bytes
        if self._out_bytes < self._flush_bytes and not now:
            now_s = self._clock()
            is_cold = now_s - self._last_s >= self._cold_s
            self._last_s = now_s
            if not is_cold:
                if len(out) == 1:  # with the first, all are flushed
                    self.owner.nudge()
                return size_bytes
        self._send_out()
        return size_bytes

    def _send_out(self) -> None:
        out = self.out
        if out:
            total = self._out_bytes
            self.out = []
            self._out_bytes = 0
            self._traffic.sent += len(out)
            head = wire.frame_head(len(out), total)
            out.insert(0, head)
            self._transmit(out, total + len(head))

    def flush(self) -> None:
        """Send what waits. Never blocks: what the system does not take waits on."""
        if self.out:
            with self.lock:
                if not self.closed:
                    self._send_out()

    def _transmit(self, parts: list[bytes], total: int) -> None:
        """Send a frame, or keep what the system does not take. The lock is held."""
        raise NotImplementedError

    def _transmit_one(self, frame: bytes) -> None:
        """The same with a frame in one piece."""
        self._transmit([frame], len(frame))

    def make_way(self, outlet: Outlet, name: str, until_s: float, block_s: float) -> None:
        """Wait until the link and the actor's mailbox have room, or either is over.

        Raises:
            MailboxFull: the actor did not make room in time.
            PeerTooSlow: the other node did not read in time.
        """

        def is_free() -> bool:
            has_room = outlet.has_room and not self.clogged
            return has_room or outlet.is_over or bool(self.closed)

        started_s = self._clock()
        until_s = min(until_s, started_s + block_s)
        while not self._wait_for_room(is_free, min(until_s, self._clock() + _HELD_S)):
            now_s = self._clock()
            if now_s < until_s and self.owner.may_wait():
                self._say_held(outlet)
            elif self.clogged:
                raise PeerTooSlow(self.peer, self._backlog_bytes(), now_s - started_s)
            else:
                raise MailboxFull(name, *outlet.used())

    def _say_held(self, outlet: Outlet) -> None:
        """Ask for room that was used and is not yet given back."""
        if not outlet.has_room:
            with contextlib.suppress(LinkClosed):
                self.post((wire.HELD, outlet.actor_id), now=True)

    def _wait_for_room(self, is_free: Callable[[], bool], until_s: float) -> bool:
        if is_free():
            return True
        if not self.owner.may_wait():
            return False
        room = Room(is_free)
        self._rooms.append(room)
        try:
            return self.owner.parking.wait(room, until_s)
        finally:
            self._rooms.remove(room)

    def made_room(self) -> None:
        """Wake the senders that wait."""
        for room in tuple(self._rooms):
            room.wake()

    def _backlog_bytes(self) -> int:
        return self._out_bytes

    # Answering.

    def answer(self, record: tuple[Any, ...], until_s: float, *, now: bool = False) -> None:
        """Send an answer. An asker that does not read does not hold its actor longer than that.

        Raises:
            EncodeError, FrameTooLarge: the answer cannot be said.
        """
        if self.clogged and not self._may_answer(until_s):
            self.owner.traffic.answers_dropped += 1
            return
        try:
            self.post(record, now=now)
        except LinkClosed:
            self.owner.traffic.answers_dropped += 1

    def _may_answer(self, until_s: float) -> bool:
        limit_s = min(until_s, self._clock() + self.owner.limits.send_timeout_s)
        return self._wait_for_room(lambda: not self.clogged, limit_s)

    def answer_error(self, corr: int, error: BaseException, until_s: float) -> None:
        """Send an exception as the answer."""
        described = failures.to_wire(error, self.is_data)
        self.answer((wire.ERROR, corr, described), until_s)

    def is_data(self, value: object) -> bool:
        """Whether a value has a form on the wire."""
        try:
            with self.lock:
                self._encode(value)
        except Exception:  # noqa: BLE001 - whatever its parts raise, there is no form then
            return False
        return True
