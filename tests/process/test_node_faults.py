# pyright: reportPrivateUsage=false, reportUnknownLambdaType=false
# A fault test looks at what is inside; pykka types what a future holds as unknown.
"""Nodes in processes that are killed, held, cut off in mid frame, and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import msgpack
import pykka
import pytest

from understudy.transport import (
    ActorLost,
    ActorRestarted,
    Address,
    MailboxActor,
    MailboxFull,
    MailboxSpec,
    Node,
    NodeLimits,
    PeerTooSlow,
    SocketPathUnusable,
    wire,
)

TARGET = Path(__file__).parent / "node_target.py"


class Others:
    """The other processes of a test."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, name: str, incarnation: int = 1) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(TARGET), self.folder, name, str(incarnation)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(10)
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture(name="folder")
def _folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="us-", dir="/tmp")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(name="others")
def _others(folder: str) -> Iterator[Others]:
    others = Others(folder)
    yield others
    others.end()


@pytest.fixture(name="node")
def _node(folder: str, others: Others) -> Iterator[Node]:
    assert others.folder == folder
    node = Node("root", folder, limits=NodeLimits(send_timeout_s=0.5))
    yield node
    node.close()
    pykka.ActorRegistry.stop_all(timeout=5)


class Narrow(MailboxActor):
    """Has room for two messages of 600 bytes."""

    mailbox = MailboxSpec(max_bytes=1_000)


def address(name: str, *, window: int = 4096, block_s: float = 5.0) -> Address:
    urn = f"urn:test:{name}"
    return Address(name, "a", 1, "node_target:Target", urn, window, 1 << 30, block_s)


def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.001)


def hold(process: subprocess.Popen[str]) -> None:
    """Stop it, and return when none of its threads can answer any more."""
    process.send_signal(signal.SIGSTOP)
    tasks = Path(f"/proc/{process.pid}/task")
    until(lambda: all(") T " in (task / "stat").read_text() for task in tasks.iterdir()))


def test_requests_to_a_killed_process_fail_within_milliseconds(node: Node, others: Others) -> None:
    process = others.start("one")
    ref = node.ref(address("one"))
    proxy = ref.proxy()
    futures = [proxy.sleep(60), *(ref.ask(n, block=False) for n in range(100))]
    until(lambda: node.stats().sent > 100)
    process.kill()
    before = time.monotonic()
    for future in futures:
        with pytest.raises(ActorLost) as caught:
            future.get(timeout=10)
        assert caught.value.maybe_executed
    assert time.monotonic() - before < 10  # of the 60 s it sleeps; milliseconds on a quiet machine
    until(lambda: not ref.is_alive())
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(1)


def told_until_held(ref: pykka.ActorRef[Any]) -> int:
    """Tell until there is no room; how much there was."""
    for number in range(1_000_000):
        try:
            ref.tell("x" * 1000)
        except (PeerTooSlow, MailboxFull):
            return number
    pytest.fail("a gigabyte had room")


def test_a_process_that_is_held_holds_its_senders_for_a_limited_time(
    node: Node, others: Others
) -> None:
    process = others.start("one")
    ref = node.ref(address("one", window=200_000, block_s=0.5))
    assert ref.ask(0, timeout=10) == 0
    hold(process)
    before = time.monotonic()
    sent = told_until_held(ref)
    assert time.monotonic() - before < 10
    assert sent < 5_000  # the high-water mark and the kernel's buffer, not memory without end
    with pytest.raises(pykka.Timeout):
        node.call("one", "understudy.names", {"actor_id": "a"}, timeout_s=0.2)
    process.send_signal(signal.SIGCONT)
    assert ref.proxy().got_count().get(timeout=20) == sent + 1


def test_a_stop_passes_a_hundred_thousand_messages(node: Node, others: Others) -> None:
    others.start("one")
    ref = node.ref(address("one", window=200_000))
    asleep = ref.proxy().sleep(1.5)
    nap = {"nap": 0.001}
    for _ in range(100_000):
        ref.tell(nap)
    stopping = ref.stop(block=False)
    asleep.get(timeout=20)
    before = time.monotonic()
    assert stopping.get(timeout=20)
    assert time.monotonic() - before < 15  # of 100 s of naps; 50 ms on a quiet machine


class Collector(MailboxActor):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.got.append(message)
        return message


def test_processes_reach_each_other_directly_and_dial_at_the_same_moment(
    node: Node, others: Others
) -> None:
    others.start("one")
    others.start("two")
    one, two = node.ref(address("one")), node.ref(address("two"))
    for _ in range(3):
        each = [one.proxy().tell_many(two, 2_000, "1"), two.proxy().tell_many(one, 2_000, "2")]
        pykka.get_all(each, timeout=20)
        assert two.ask("end", timeout=10) == "end"
        assert one.ask("end", timeout=10) == "end"
    until(lambda: one.proxy().got_count().get(timeout=10) == 6_003)
    until(lambda: two.proxy().got_count().get(timeout=10) == 6_003)
    for ref, label in ((one, "2"), (two, "1")):
        numbers = [m[1] for m in ref.proxy().got.get(timeout=10) if m[0] == label]
        assert numbers == list(range(2_000)) * 3
    asked = [one.proxy().ask_many(two, 200)]
    assert pykka.get_all(asked, timeout=20) == [200]
    assert node.stats().received < 200  # what the two say to each other does not pass here


def test_many_processes_lose_nothing_and_each_stays_in_order(node: Node, others: Others) -> None:
    names = ["one", "two", "three"]
    for name in names:
        others.start(name)
    collector = Collector.start()
    node.host(collector, actor_id="collector")
    done = [node.ref(address(n)).proxy().tell_many(collector, 3_000, n) for n in names]
    pykka.get_all(done, timeout=30)
    actor = collector._actor_weakref()
    assert actor is not None
    until(lambda: len(actor.got) >= 9_000)
    for name in names:
        assert [n for label, n in actor.got if label == name] == list(range(3_000))
    assert len(actor.got) == 9_000


def test_requests_in_flight_at_a_restart_are_told_so_and_the_old_ref_goes_on(
    node: Node, others: Others
) -> None:
    node.will_restart = lambda peer: peer == "one"
    process = others.start("one")
    ref = node.ref(address("one"))
    future = ref.proxy().sleep(60)
    until(lambda: node.stats().sent > 2)
    process.kill()
    with pytest.raises(ActorRestarted) as caught:
        future.get(timeout=10)
    assert caught.value.maybe_executed
    assert ref.is_alive()
    process.wait(10)
    others.start("one", incarnation=2)
    node.peer_restarted("one", 2)
    assert ref.ask("again", timeout=10) == "again"
    assert ref.incarnation == 2  # type: ignore[attr-defined]


def test_an_older_incarnation_that_wakes_up_late_is_dropped_and_counted(
    node: Node, others: Others, collector: Collector
) -> None:
    node.will_restart = lambda peer: peer == "one"
    old = others.start("one")
    ref = node.ref(address("one"))
    future = ref.proxy().sleep(0)
    future.get(timeout=10)
    hold(old)
    late = ref.ask("to the old one", block=False)
    others.start("one", incarnation=2)
    node.peer_restarted("one", 2)
    with pytest.raises(ActorRestarted):
        late.get(timeout=10)
    assert ref.ask("to the new one", timeout=10) == "to the new one"
    with Raw(node) as stale:
        stale.say([wire.HELLO, wire.VERSION, "one", 1, {}], [wire.TELL, "c", 0, "stale"])
        assert stale.heard() == [wire.BYE, "stale", "incarnation 2 was here already"]
    until(lambda: node.stats().stale == 2)  # the link and the message
    assert collector.got == []


class Raw:
    """A connection that says what a test wants said."""

    def __init__(self, node: Node, name: str = "") -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(f"{node.folder}/{node.name}.sock")
        self._begin(name)

    @classmethod
    def of(cls, connected: socket.socket) -> Raw:
        """One on a connection that came."""
        raw = cls.__new__(cls)
        raw.socket = connected
        raw.socket.settimeout(10)
        return raw

    def _begin(self, name: str) -> None:
        if name:
            self.say([wire.HELLO, wire.VERSION, name, 1, {}])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_args: object) -> None:
        self.socket.close()

    def say(self, *records: list[Any]) -> None:
        body = msgpack.packb(list(records))
        self.socket.sendall(struct.pack(">I", len(body)) + body)

    def heard(self) -> list[Any]:
        """The first record of the next frame."""
        (size,) = struct.unpack(">I", self._exactly(4))
        first: list[Any] = msgpack.unpackb(self._exactly(size))[0]
        return first

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self.socket.recv(size - len(data))
            assert chunk, "the connection ended"
            data += chunk
        return data

    def ended(self) -> bool:
        return self.socket.recv(1) == b""


@pytest.fixture(name="collector")
def _collector(node: Node) -> Collector:
    ref = Collector.start()
    node.host(ref, actor_id="c")
    actor = ref._actor_weakref()
    assert actor is not None
    return actor


def test_half_a_frame_is_dropped_and_counted(node: Node, collector: Collector) -> None:
    with Raw(node, "raw") as raw:
        raw.say([wire.TELL, "c", 0, "whole"])
        body = msgpack.packb([[wire.TELL, "c", 0, "half"]])
        raw.socket.sendall(struct.pack(">I", len(body)) + body[:-1])
        until(lambda: collector.got)
    until(lambda: node.stats().half_frames == 1)
    assert collector.got == ["whole"]


def test_bytes_that_trickle_in_one_by_one_are_understood(node: Node, collector: Collector) -> None:
    with Raw(node, "raw") as raw:
        body = msgpack.packb([[wire.TELL, "c", 0, "a"], [wire.TELL, "c", 0, "b"]])
        for byte in struct.pack(">I", len(body)) + body:
            raw.socket.sendall(bytes([byte]))
        until(lambda: len(collector.got) == 2)
    assert collector.got == ["a", "b"]


@pytest.mark.parametrize("is_alone", [False, True], ids=["in a frame", "alone"])
@pytest.mark.parametrize(
    "record",
    [[], [wire.TELL], [wire.TELL, ["x"], 0, 1], [wire.TELL, "c", 77, 1], [wire.TELL, "c", 1, 5],
     [wire.ASK, "c", 0, 1], [wire.ASK, "c", 0, 1, 5, "soon"], [wire.ASK, "c", 0, 1, 5, 1e9, 3],
     [wire.ASK, "c", 1, [["got"], 3, 4], 5, 1e9], [wire.CREDIT], [wire.CAST], [wire.DOWN], 7, "x",
     [wire.CALL, "v", {}, 5, "soon"], {"a": 1}],
    ids=str,
)  # fmt: skip
def test_a_malformed_record_is_counted_and_its_neighbours_arrive(
    node: Node, collector: Collector, record: Any, is_alone: bool
) -> None:
    records = [[wire.TELL, "c", 0, "before"], record, [wire.TELL, "c", 0, "after"]]
    with Raw(node, "raw") as raw:
        for frame in [[one] for one in records] if is_alone else [records]:
            raw.say(*frame)
        until(lambda: len(collector.got) == 2)
    assert collector.got == ["before", "after"]
    assert node.stats().malformed == 1


def test_an_answer_that_nobody_waits_for_is_counted(node: Node, collector: Collector) -> None:
    with Raw(node, "raw") as raw:
        raw.say([wire.REPLY, 5, "alone"])
        raw.say([wire.REPLY, 6, "among others"], [wire.TELL, "c", 0, "after"])
        until(lambda: collector.got == ["after"])
    assert node.stats().late == 2


def test_a_message_alone_gives_back_the_bytes_of_its_frame(node: Node) -> None:
    narrow = Narrow.start()
    node.host(narrow, actor_id="n")
    message = [wire.TELL, "n", 0, "x" * 600]
    size_bytes = len(msgpack.packb([message]))
    with Raw(node, "raw") as raw:
        assert raw.heard()[0] == wire.HELLO
        raw.say(message)
        assert raw.heard() == [wire.CREDIT, "n", 1, size_bytes]


def test_a_whole_frame_over_the_limit_ends_the_connection(folder: str) -> None:
    node = Node("small", folder, limits=NodeLimits(max_frame_bytes=9_999))
    ref = Collector.start()
    node.host(ref, actor_id="c")
    with Raw(node, "raw") as raw:
        assert raw.heard()[0] == wire.HELLO
        raw.say([wire.TELL, "c", 0, "x" * 10_000])
        assert raw.ended()
    until(lambda: node.stats().oversize_frames == 1)
    assert ref.proxy().got.get(timeout=5) == []
    node.close()
    ref.stop()


def test_kinds_and_fields_of_a_later_version_are_skipped(node: Node, collector: Collector) -> None:
    with Raw(node, "raw") as raw:
        later = [wire.TELL, "c", 0, "with more", {"new": 1}, 2, 3]
        raw.say([99, "what"], later, [wire.ASK, "c", 0, "asked", 5, time.monotonic() + 9, [], 1])
        assert raw.heard()[0] == wire.HELLO
        assert raw.heard() == [wire.REPLY, 5, "asked"]
    assert collector.got == ["with more", "asked"]
    assert node.stats().unknown == 1


@pytest.mark.parametrize(
    "first", [b"\xff\xff\xff\xff", struct.pack(">I", 3) + b"\xc1\xc1\xc1",
              struct.pack(">I", 4) + b"\x91\x92\x00\x01"],
)  # fmt: skip
def test_a_stranger_that_does_not_speak_the_protocol_is_cut_off(node: Node, first: bytes) -> None:
    stranger = socket.socket(socket.AF_UNIX)
    stranger.settimeout(10)
    stranger.connect(f"{node.folder}/{node.name}.sock")
    stranger.sendall(first)
    assert stranger.recv(100) == b""
    stranger.close()
    assert node.stats().malformed + node.stats().oversize_frames == 1


def test_another_version_is_refused_with_a_reason(node: Node) -> None:
    with Raw(node) as stranger:
        stranger.say([wire.HELLO, wire.VERSION + 1, "raw", 1, {}])
        assert stranger.heard()[:2] == [wire.BYE, "version"]
        assert stranger.ended()


def test_a_client_that_says_nothing_is_cut_off_in_time(folder: str) -> None:
    node = Node("root", folder, limits=NodeLimits(connect_timeout_s=0.1))
    silent = socket.socket(socket.AF_UNIX)
    silent.settimeout(10)
    silent.connect(f"{folder}/root.sock")
    assert silent.recv(1) == b""
    silent.close()
    node.close()


def test_a_folder_that_is_open_to_others_is_refused(folder: str) -> None:
    Path(folder).chmod(0o750)
    with pytest.raises(SocketPathUnusable, match="chmod 700"):
        Node("root", folder)


def test_the_sockets_are_for_their_owner_alone_and_go_with_the_node(folder: str) -> None:
    node = Node("root", f"{folder}/deeper")
    path = Path(folder) / "deeper" / "root.sock"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    node.close()
    assert not path.exists()


def test_a_connection_that_comes_while_a_node_closes_is_closed_too(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node("closing", folder)
    accepted: list[socket.socket] = []
    arrived, is_closing = threading.Event(), threading.Event()
    accept, stop = node._listener.accept, node._poller.stop

    def accept_slowly() -> socket.socket:
        accepted.append(accept())
        arrived.set()
        assert is_closing.wait(10)
        return accepted[0]

    def stop_then() -> None:
        is_closing.set()
        stop()

    monkeypatch.setattr(node._listener, "accept", accept_slowly)
    monkeypatch.setattr(node._poller, "stop", stop_then)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        stranger.connect(f"{folder}/closing.sock")
        assert arrived.wait(10)
        node.close()
        assert accepted[0].fileno() == -1


def test_a_link_that_was_just_dialled_outlives_a_hello_from_the_same_peer(node: Node) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{node.folder}/raw.sock")
        listener.listen()
        asked = node.ref(address("raw")).ask("x", block=False, timeout=10)
        with Raw(node, "raw") as other, Raw.of(listener.accept()[0]) as dialled:
            assert other.heard()[0] == wire.HELLO
            assert dialled.heard()[0] == wire.HELLO
            request = dialled.heard()
            assert request[:4] == [wire.ASK, "a", 0, "x"]
            dialled.say([wire.HELLO, wire.VERSION, "raw", 1, {}], [wire.REPLY, request[4], "y"])
            assert asked.get(timeout=10) == "y"
