"""One node's end of its link to another: what is sent, what is awaited, and who gets what came."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from . import failures, reading, wire
from .errors import DecodeError
from .ports import ActorPort, check_lane
from .pykka_parts import ActorStop, Envelope
from .sending import Sending

if TYPE_CHECKING:
    from collections.abc import Callable

    from .outlet import SessionOwner
    from .remote import RemoteRef

_log = logging.getLogger(__name__)

_HELLO_FIELDS = 4
_TELL_FIELDS = 4


class Session(Sending):
    """One end of a link. It receives in the one thread that reads at the moment."""

    def __init__(self, owner: SessionOwner, peer: str = "") -> None:
        super().__init__(owner, peer)
        self._ports: dict[str, ActorPort] = {}
        self._decode = self.codec.decode

    def take(self, body: bytes | bytearray | memoryview) -> None:
        """Deal with a frame.

        Raises:
            DecodeError: it is not what the protocol says; the link is of no more use.
        """
        records: Any
        try:
            records = self._decode(body)
        except reading.FAULTS:
            records = None
        if records.__class__ is not list:
            # The other reader may take it; else it says what is wrong.
            records = reading.decode(self.codec, body)
        if self.closed or not self.greeted:
            records = self._open(records)
        if len(records) != 1:
            self._take_many(records, len(body))
            return
        # As `_take_many`, in place: what comes alone is waited for, as a rule, and a call costs.
        self._traffic.received += 1
        record = records[0]
        try:
            kind = record[0]
            if kind == wire.REPLY:
                future = self.pending.pop(record[1], None)
                if future is not None:
                    future.set(record[2])
                else:
                    self._traffic.late += 1
            elif kind == wire.TELL or kind == wire.ASK:  # noqa: PLR1714 - the hot path
                port = self._ports.get(record[1]) or self._open_port(record)
                if port is not None:
                    check_lane(record)
                    record[0] = port
                    record[1] = len(body)
                    port.inbox.extend([record])
            else:
                self._take_other(kind, record)
        except (LookupError, TypeError, ValueError, DecodeError) as error:
            self._note_malformed(error)

    def _take_many(self, records: list[Any], size_bytes: int) -> None:
        self._traffic.received += len(records)
        share = size_bytes // (len(records) or 1)
        ports = self._ports
        touched: list[ActorPort] = []
        rest = iter(records)
        for record in rest:
            try:
                kind = record[0]
                if kind == wire.TELL or kind == wire.ASK:  # noqa: PLR1714 - the hot path
                    port = ports.get(record[1]) or self._open_port(record)
                    if port is not None:
                        # The look at a plain tell, in place: all others have theirs in a call.
                        if (
                            record.__class__ is not list
                            or record[2]
                            or kind == wire.ASK
                            or len(record) != _TELL_FIELDS
                        ):
                            check_lane(record)
                        record[0] = port
                        record[1] = share
                        if not port.box:
                            touched.append(port)
                        port.box.append(record)
                elif kind == wire.REPLY:
                    self._take_reply(record[1], record[2])
                elif not self._take_other(kind, record):
                    self.owner.traffic.stale += sum(1 for _ in rest)
                    return
            except (LookupError, TypeError, ValueError, DecodeError) as error:
                self._note_malformed(error)
        for port in touched:
            port.deliver()

    def _take_reply(self, corr: Any, value: Any) -> None:
        future = self.pending.pop(corr, None)
        if future is not None:
            future.set(value)
        else:
            self._traffic.late += 1

    def _note_malformed(self, error: Exception) -> None:
        self.owner.traffic.malformed += 1
        _log.warning("a record of node %r is malformed: %r", self.peer, error)

    def _open(self, records: list[Any]) -> list[Any]:
        """See that the first word is a hello; what a link that has ended says is dropped."""
        if self.closed:
            self.owner.traffic.stale += len(records)
            return []
        first = records[0] if records else None
        if not isinstance(first, list) or first[:1] not in ([wire.HELLO], [wire.BYE]):
            raise DecodeError("the first record must be a hello")
        if len(cast("list[object]", first)) < (_HELLO_FIELDS if first[0] == wire.HELLO else 3):
            raise DecodeError("the hello lacks something")
        return records

    def _take_other(self, kind: int, record: list[Any]) -> bool:
        """Deal with what is no message and no answer; False when the link ended over it."""
        if record.__class__ is not list:
            raise DecodeError("a record is no array")
        if kind == wire.ERROR:
            future = self.pending.pop(record[1], None)
            if future is None:
                self.owner.traffic.late += 1
            else:
                future.fail(failures.from_wire(record[2]))
        elif kind == wire.CREDIT:
            self._take_credit(record[1], record[2], record[3])
        elif kind == wire.STOP:
            self._take_stop(record)
        elif kind == wire.HELD:
            self._take_held(record[1])
        elif kind is reading.UNREADABLE:
            self._take_unreadable(*record[1:])
        else:
            self.owner.take_control(self, record)
        return not self.closed

    def _take_credit(self, actor_id: str, count: Any, size_bytes: Any) -> None:
        outlet = self.outlets.get(actor_id)
        if not (isinstance(count, int) and isinstance(size_bytes, int)):
            raise DecodeError("a credit is no number")
        if outlet is not None:
            with self.lock:
                outlet.give(count, size_bytes)
            self.made_room()

    def _take_held(self, actor_id: str) -> None:
        port = self._ports.get(actor_id)
        if port is not None:
            port.deliver()
            port.inbox.settle_soon(port)

    def _take_unreadable(self, fields: list[Any], size_bytes: int, why: str) -> None:
        """Tell who waits for it, or because of it, and give its room back."""
        self._traffic.malformed += 1
        _log.warning("a record of node %r cannot be read: %s", self.peer, why)
        error = DecodeError(why)
        match fields:
            case [wire.TELL | wire.ASK, str(actor_id), _, _, *rest]:
                port = self._ports.get(actor_id) or self._open_port(fields)
                if port is not None:
                    port.give_back(size_bytes)
                    self._refuse(rest, error)
            case [wire.CALL, _, _, *rest]:
                self._refuse(rest, error)
            case [wire.REPLY | wire.ERROR, int(corr), *_] if corr in self.pending:
                self.pending.pop(corr).fail(error)
            case _:
                pass

    def _refuse(self, rest: list[Any], error: DecodeError) -> None:
        """Answer a request of which the number and the deadline could be read."""
        match rest:
            case [int(corr), float(deadline_s), *_]:
                self.answer_error(corr, error, deadline_s)
            case _:
                pass

    def _take_stop(self, record: list[Any]) -> None:
        port = self._ports.get(record[1]) or self._open_port(record)
        if port is None:
            return
        corr, deadline_s = record[2], record[3]
        if not (isinstance(corr, int) and isinstance(deadline_s, float)):
            raise DecodeError("a stop has no number or no deadline")
        port.deliver()
        reply: Any = port.reply(corr, deadline_s) if corr else None
        port.inbox.put_stop(Envelope(ActorStop(), reply))

    def _open_port(self, record: list[Any]) -> ActorPort | None:
        """Where an actor's messages go in; None when there is no such actor, and that is said."""
        kind, actor_id = record[0], record[1]
        hosted = self.owner.hosting.find(actor_id)
        if hosted is not None:
            port = ActorPort(self, hosted)
            self._ports[actor_id] = port
            return port
        self.owner.hosting.refuse(self, record)
        if kind == wire.ASK:
            error = self.owner.hosting.dead_error(actor_id)
            self.answer_error(record[4], error, record[5])
        elif kind == wire.STOP and record[2]:
            self.answer_error(record[2], self.owner.hosting.dead_error(actor_id), record[3])
        return None

    def read_rest(self) -> None:
        """Take what has come already and was not read. In the thread that reads."""

    def close_ports(self, actor_id: str) -> None:
        """Look the actor up anew with its next message."""
        self._ports.pop(actor_id, None)

    def end(self, reason: str, error: Callable[[RemoteRef | None], Exception]) -> bool:
        """The link is over: fail what is awaited, wake who waits. False when it was already.

        Args:
            reason: why.
            error: what an asker of this actor gets.
        """
        with self.lock:
            if self.closed:
                return False
            self.closed = reason
            pending, self.pending = self.pending, {}
        for future in pending.values():
            future.fail(error(future.ref))
        self.made_room()
        return True
