"""What is fuzzed, and what must hold of any bytes: the same for hypothesis and for a fuzzer.

Each target takes bytes. It raises when a promise is broken, and nothing else.
"""

# pyright: reportPrivateUsage=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownLambdaType=false
# What is fuzzed is anything.
from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, ClassVar

import msgpack

from understudy.transport import (
    ChannelStats,
    DecodeError,
    FrameTooLarge,
    Mailbox,
    MailboxActor,
    MailboxSpec,
    reading,
    wire,
)
from understudy.transport.codec import decode
from understudy.transport.errors import HelloRefused
from understudy.transport.framing import FrameReader
from understudy.transport.hello import Farewell, Hello
from understudy.transport.intake import Intake
from understudy.transport.node_base import NodeBase
from understudy.transport.session import Session
from understudy.transport.stats import Recorder
from understudy.transport.switch import Switch

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.transport import AgentMessage
    from understudy.transport.waiter import Waiter

LIMIT_BYTES = 1_000
ACTOR = "c"
_HELLO = [wire.HELLO, wire.VERSION, "peer", 1, {}]
_FAR_S = 4e9


class Dough:
    """Turns bytes into records: nearly right ones, so that what lies behind the checks is met."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def number(self, below: int) -> int:
        """The next choice."""
        self._at += 1
        return self._data[self._at - 1] % below if self._at <= len(self._data) else 0

    def records(self) -> list[Any]:
        """All that the bytes give."""
        found: list[Any] = []
        while self and len(found) < 50:
            found.append(self._record())
        return found

    def _record(self) -> Any:
        kind = self.number(16)
        if kind >= 14:
            return self.value()
        fields = [kind, *(self._field() for _ in range(self.number(8)))]
        return dict(enumerate(fields)) if self.number(16) == 15 else fields

    def _field(self) -> Any:
        likely = [
            ACTOR,
            0,
            1,
            5,
            "peer",
            4e9,
            [],
            {},
            [["got"]],
            [["add"], [1], {}],
            "understudy.x",
        ]
        choice = self.number(len(likely) + 3)
        return likely[choice] if choice < len(likely) else self.value()

    def value(self, depth: int = 0) -> Any:
        """Any data."""
        plain = [None, True, False, 0, -1, 2**63, 1.5, float("nan"), "", "c", "\x00", b"\x00\x01"]
        choice = self.number(len(plain) + (4 if depth < 3 else 1))
        if choice < len(plain):
            return plain[choice]
        if choice == len(plain):
            return self._address()
        if choice == len(plain) + 1:
            return msgpack.ExtType(self.number(128), bytes([self.number(256)]))
        if choice == len(plain) + 2:
            return [self.value(depth + 1) for _ in range(self.number(5))]
        keys = [self.value(3) for _ in range(self.number(4))]
        return {key: self.value(depth + 1) for key in keys if not isinstance(key, float)}

    def _address(self) -> msgpack.ExtType:
        classes = ["x:Y", ":", "a", "typing:io", "os:path.x", "pykka:ThreadingActor", "x:\x00"]
        fields = [
            ["fuzz", "peer", "", "../x"][self.number(4)],
            ["c", "", "d"][self.number(3)],
            self.number(3) - 1,
            classes[self.number(len(classes))],
            "urn:x",
            self.number(3) - 1,
            100,
            1.0,
        ]
        return msgpack.ExtType(wire.EXT_REF, msgpack.packb(fields[: 9 - self.number(3)]))


def fuzz_framer(data: bytes) -> None:
    """Both framers find the frames that are there, in any split, and keep no more than they may."""
    if not data:
        return
    step, stream = data[0] % 90 + 1, data[1:]
    expected, is_over = _frames(stream)
    buffer, reader = wire.FrameBuffer(LIMIT_BYTES, size=64), FrameReader(LIMIT_BYTES)
    assert _push(buffer, stream, step) == (expected, is_over)
    found: list[bytes] = []
    try:
        for start in range(0, len(stream), step):
            reader.feed(stream[start : start + step])
            while (body := reader.next_frame()) is not None:
                found.append(body)
    except FrameTooLarge:
        assert is_over
    assert found == expected


def _push(buffer: wire.FrameBuffer, stream: bytes, step: int) -> tuple[list[bytes], bool]:
    found: list[bytes] = []
    at = 0
    try:
        while at < len(stream):
            space = buffer.space()
            assert len(space) > 0
            part = stream[at : at + min(step, len(space))]
            space[: len(part)] = part
            at += len(part)
            found += [bytes(body) for body in buffer.advance(len(part))]
            if buffer.oversize_bytes:
                return found, True
    except FrameTooLarge:
        return found, True
    assert buffer.pending_bytes <= LIMIT_BYTES + 4
    return found, False


def _frames(stream: bytes) -> tuple[list[bytes], bool]:
    """The frames of a stream, found in the simplest way."""
    found: list[bytes] = []
    while len(stream) >= 4:
        (size,) = struct.unpack(">I", stream[:4])
        if size > LIMIT_BYTES:
            return found, True
        if len(stream) < 4 + size:
            break
        found.append(stream[4 : 4 + size])
        stream = stream[4 + size :]
    return found, False


def fuzz_codecs(data: bytes) -> None:
    """Any bytes are an array of records or a `DecodeError`, and what was read can be written."""
    for name in ("msgspec", "msgpack"):
        codec = wire.make_codec(name, _ext, msgpack.ExtType)
        try:
            records = reading.decode(codec, data)
        except DecodeError:
            continue
        assert isinstance(records, list)
    try:
        decode(data)
    except DecodeError:
        return


def _ext(thing: object) -> tuple[int, bytes] | None:
    return (thing.code, thing.data) if isinstance(thing, msgpack.ExtType) else None


class Taker(MailboxActor):
    """An actor whose mailbox is read by the target itself, in its own thread."""

    mailbox = MailboxSpec(max_messages=1_000)
    latest: ClassVar[Taker]

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def _start_actor_loop(self) -> None:
        """No thread."""
        Taker.latest = self

    def add(self, number: int) -> int:
        """Something to call."""
        return number

    def on_receive(self, message: Any) -> Any:
        """Keep it."""
        self.got.append(message)
        return message


class HeardSession(Session):
    """A link's end that sends into nothing."""

    def _transmit(self, parts: list[bytes], total: int) -> None:
        assert sum(map(len, parts)) == total


class Dry(Exception):
    """What was left in the mailbox was too late: who reads it would wait now."""


class QuietNode(NodeBase):
    """A node without threads and without peers."""

    @property
    def realm(self) -> object:
        return self

    def wait(self, waiter: Waiter, until_s: float | None) -> bool:
        assert until_s is None
        if not waiter.ready():
            raise Dry
        return True

    def nudge(self) -> None:
        """Nothing is flushed by itself."""

    def may_wait(self) -> bool:
        return False

    def call_soon(self, call: Callable[[], None]) -> None:
        self._calls.append(call)

    def close(self) -> None:
        self._is_closed = True

    def _close_io(self, session: Session) -> None:
        """There is none."""

    def _hosting_changed(self) -> None:
        """Nobody cares."""

    def _dial(self, peer: str) -> Session:
        raise ConnectionRefusedError(111, f"no {peer} here")

    def run_calls(self) -> None:
        """What waits for the service thread."""
        self._run_calls()


def fuzz_link(data: bytes) -> None:
    """Any body is taken or ends the link; the actor gets what was said to it, and nothing else."""
    with_hello = not data[:1] or data[0] % 8 != 7
    for name in ("msgspec", "msgpack"):
        _Link(name).play(data[1:], with_hello=with_hello)


def fuzz_records(data: bytes) -> None:
    """As `fuzz_link`, with bytes that say which records there are."""
    fuzz_link(b"\x00" + _pack(Dough(data).records()))


def _pack(records: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(records, strict_types=True)
    return packed


class _Link:
    """One end of a link, an actor behind it, and what came of both."""

    def __init__(self, codec: wire.CodecName) -> None:
        self.node = QuietNode("fuzz", codec=codec, register_refs=False)
        ref = Taker.start()
        self.actor = Taker.latest
        self.node.host(ref, actor_id=ACTOR)
        self.session = HeardSession(self.node)
        self.node._all_sessions.add(self.session)

    def play(self, body: bytes, *, with_hello: bool) -> None:
        try:
            self._play(body, with_hello=with_hello)
        finally:
            self.actor._stop()

    def _play(self, body: bytes, *, with_hello: bool) -> None:
        if with_hello:
            self.session.take(_pack([_HELLO]))
        expected = _told(body) if with_hello else None
        try:
            self.session.take(body)
        except DecodeError:
            expected = []
        self.node.run_calls()
        self.node._sweep()
        self._drain()
        if expected is not None and not self.session.closed:
            assert _same(self.actor.got, expected), (self.actor.got, expected)
        if not self.session.greeted:
            assert self.actor.got == []
        elif not self.session.closed:
            self.session.take(_pack([[wire.TELL, ACTOR, 0, "after"]]))
            self._drain()
            assert self.actor.got[-1] == "after"

    def _drain(self) -> None:
        inbox: Any = self.actor.actor_inbox
        while inbox.ready():
            try:
                envelope = inbox.get()
            except Dry:
                return
            message, reply = envelope.message, envelope.reply_to
            if isinstance(message, str | int | float | list | dict | bytes | None):
                self.actor.got.append(message)
            if reply is not None:
                reply.set(None)


def _told(body: bytes) -> list[Any] | None:
    """What the actor must get of a body, found by reading it again; None when that says nothing."""
    try:
        records: Any = msgpack.unpackb(body, strict_map_key=False, ext_hook=lambda *_: msgpack)
    except Exception:  # noqa: BLE001 - whatever it is, the other reader has its say
        return None
    if not isinstance(records, list) or "module" in repr(records):
        return None
    return [record[3] for record in records if _is_plain(record)]


def _is_plain(record: Any) -> bool:
    if not isinstance(record, list) or len(record) < 4 or record[1] != ACTOR or record[2]:
        return False
    if record[0] == wire.TELL:
        return True
    is_ask = record[0] == wire.ASK and len(record) > 5
    if not is_ask or not isinstance(record[4], int) or not isinstance(record[5], float):
        return False
    is_live = not record[5] < _FAR_S - 1
    return is_live and (len(record) < 7 or isinstance(record[6], list))


def _same(got: list[Any], expected: list[Any]) -> bool:
    """Equal as data, nan included."""
    return repr(got) == repr(expected)


class _Nowhere:
    """A way to a peer that takes all."""

    def send(self, body: bytes, timeout_s: float) -> None:
        assert timeout_s == 0
        assert decode(body)


def fuzz_bus(data: bytes) -> None:
    """The server of the bus takes any records of a client, and says nothing it cannot say."""
    stats = Recorder(ChannelStats)
    inbox: Mailbox[AgentMessage] = Mailbox("fuzz", max_messages=100)
    switch: Switch[_Nowhere] = Switch(Intake("orchestrator", inbox, stats), stats)
    peer = switch.registry.admit("peer", 1, _Nowhere(), lambda _name: None)[0]
    switch.registry.admit("other", 1, _Nowhere(), lambda _name: None)
    try:
        records = decode(data)
    except DecodeError:
        return
    for record in records:
        Farewell.from_record(record)
        try:
            Hello.from_record(record)
        except HelloRefused:
            switch.take(peer, record, len(data))


def fuzz_bus_records(data: bytes) -> None:
    """As `fuzz_bus`, with bytes that say which records there are."""
    dough = Dough(data)
    names = ["message_id", "sender_id", "receiver_id", "message_type", "payload", "timestamp",
             "correlation_id", "deadline", "incarnation", "chain", "link", "types"]  # fmt: skip
    likely: dict[str, Any] = {
        "message_id": "m", "sender_id": "peer", "receiver_id": "other", "timestamp": 1.0,
        "message_type": "status_update", "payload": {}, "correlation_id": None,
    }  # fmt: skip
    records: list[dict[str, Any]] = []
    while dough and len(records) < 20:
        record = dict(likely)
        for _ in range(dough.number(4)):
            name = names[dough.number(len(names))]
            record[name] = ["broadcast", "", dough.value()][dough.number(3)]
        records.append(record)
    fuzz_bus(_pack(records))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "framer": fuzz_framer,
    "codecs": fuzz_codecs,
    "link": fuzz_link,
    "records": fuzz_records,
    "bus": fuzz_bus,
    "bus_records": fuzz_bus_records,
}
