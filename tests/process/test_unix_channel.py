"""The channel on real sockets: what goes wrong there, and what is left behind."""

# ruff: noqa: ANN401 - keyword arguments are passed on as they came.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import dataclasses
import errno
import os
import queue
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from understudy.transport import (
    AgentMessage,
    ChannelClosed,
    ConnectFailed,
    EncodeError,
    HelloRefused,
    MessageType,
    PeerEvent,
    PeerTooSlow,
    SocketInUse,
    SocketPathTooLong,
    SocketPathUnusable,
    UnixSocketChannel,
    UntrustedPeer,
)
from understudy.transport.broker import Broker
from understudy.transport.codec import decode, encode
from understudy.transport.framing import FrameReader, frame_header
from understudy.transport.hello import Hello
from understudy.transport.listener import PeerCredentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT_S = 10.0
NOBODY = 65534


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def our_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("understudy-")]


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    """After each test: no thread, no descriptor, no socket file more than before."""
    before = descriptors()
    yield
    assert our_threads() == []
    assert descriptors() - before == set()
    assert [path for path in tmp_path.rglob("*") if path.is_socket()] == []


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "bus.sock")


class Raw:
    """A peer that says exactly what the test wants, byte by byte."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(LIMIT_S)
        self.sock.connect(path)
        self._reader = FrameReader()
        self._records: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.sock.close()

    def hello(self, name: str, incarnation: int = 0) -> Self:
        self.say(Hello(name, incarnation).to_record())
        assert self.hear()["link"] == "welcome"
        return self

    def say(self, *records: dict[str, Any]) -> None:
        body = encode(records)
        self.sock.sendall(frame_header(body) + body)

    def hear(self) -> dict[str, Any]:
        """The next record; raises EOFError when there is none."""
        while not self._records:
            while (body := self._reader.next_frame()) is None:
                data = self.sock.recv(1 << 20)
                if not data:
                    raise EOFError
                self._reader.feed(data)
            self._records = decode(body)
        return self._records.pop(0)

    def hears_the_end(self) -> bool:
        try:
            self.hear()
        except (EOFError, ConnectionResetError):
            return True
        return False


def write(sender: str, receiver: str, payload: dict[str, Any] | None = None) -> AgentMessage:
    return AgentMessage.create(sender, receiver, MessageType.TASK_REQUEST, payload or {})


def take(end: UnixSocketChannel) -> AgentMessage:
    message = end.receive(LIMIT_S)
    assert message is not None, "nothing came"
    return message


def wait_until(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < until_s, "it did not come to hold"
        time.sleep(0.001)


def serve(path: str | Path, **options: Any) -> UnixSocketChannel:
    return UnixSocketChannel(path, is_server=True, **options)


def leave_stale_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(path)
        dead.listen()


# The path


def test_the_socket_of_a_dead_service_is_replaced(path: str) -> None:
    leave_stale_socket(path)
    with serve(path), UnixSocketChannel(path, name="alice"):
        pass


def test_the_socket_of_a_living_service_is_left_alone(path: str) -> None:
    with serve(path) as first:
        with pytest.raises(SocketInUse, match="stop it first"):
            serve(path)
        with UnixSocketChannel(path, name="alice") as alice:
            alice.send(write("alice", ""))
            assert take(first).sender_id == "alice"


def test_of_services_that_start_at_once_on_a_stale_socket_one_wins(path: str) -> None:
    def try_to_serve(barrier: threading.Barrier) -> UnixSocketChannel | None:
        barrier.wait(LIMIT_S)
        try:
            return serve(path)
        except SocketInUse:
            return None

    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            leave_stale_socket(path)
            barrier = threading.Barrier(4)
            tries = [pool.submit(try_to_serve, barrier) for _ in range(4)]
            winners = [end for future in tries if (end := future.result(LIMIT_S))]
            assert len(winners) == 1
            with winners[0], UnixSocketChannel(path):
                pass


def path_of_length(folder: Path, length: int) -> str:
    return str(folder / ("x" * (length - len(os.fsencode(folder)) - 1)))


def test_a_path_of_107_bytes_is_served_and_of_108_refused(tmp_path: Path) -> None:
    with serve(path_of_length(tmp_path, 107)) as server, UnixSocketChannel(server.socket_path):
        pass
    too_long = path_of_length(tmp_path, 108)
    for is_server in (True, False):
        with pytest.raises(SocketPathTooLong) as caught:
            UnixSocketChannel(too_long, is_server)
        assert (caught.value.length_bytes, caught.value.limit_bytes) == (108, 107)


def test_the_length_of_a_path_is_counted_in_bytes(tmp_path: Path) -> None:
    with pytest.raises(SocketPathTooLong):
        serve(tmp_path / ("é" * 60))


def test_a_file_at_the_path_is_not_touched(path: str) -> None:
    Path(path).write_text("precious", "utf-8")
    with pytest.raises(SocketPathUnusable, match="not a socket"):
        serve(path)
    assert Path(path).read_text("utf-8") == "precious"


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SocketPathUnusable, match="choose another socket path"):
        serve(tmp_path / "file" / "bus.sock")


def test_folder_and_socket_are_closed_to_others_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with serve(tmp_path / "run" / "bus.sock") as server:
            modes = [stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "run").glob("*")]
            assert modes == [0o600]
            assert stat.S_IMODE(Path(server.socket_path).parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_closing_leaves_the_socket_of_a_successor(path: str) -> None:
    first = serve(path)
    Path(path).unlink()
    with serve(path):
        first.close()
        assert Path(path).is_socket()
        UnixSocketChannel(path).close()


def test_closing_after_the_path_was_removed_is_fine(path: str) -> None:
    with serve(path):
        Path(path).unlink()


# Getting in


def test_nobody_at_the_path_is_told(path: str) -> None:
    with pytest.raises(ConnectFailed, match="no service listens there"):
        UnixSocketChannel(path)
    leave_stale_socket(path)
    with pytest.raises(ConnectFailed, match="no service listens there"):
        UnixSocketChannel(path)
    Path(path).unlink()


@pytest.mark.parametrize(("backlog", "message"), [(8, "does not answer"), (0, "takes no conn")])
def test_a_service_that_hangs_is_told_in_time(path: str, backlog: int, message: str) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hung,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waits_before_us,
    ):
        hung.bind(path)
        hung.listen(backlog)
        waits_before_us.connect(path)
        with pytest.raises(ConnectFailed, match=message):
            UnixSocketChannel(path, connect_timeout_s=0.05)
    Path(path).unlink()


def test_something_else_that_listens_there_is_told(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other, ThreadPoolExecutor(1) as pool:
        other.bind(path)
        other.listen()
        client = pool.submit(UnixSocketChannel, path)
        conn, _ = other.accept()
        with conn:
            conn.sendall(b"HTTP/1.1 400 Bad Request\r\n")
            with pytest.raises(ConnectFailed, match="no understudy service"):
                client.result(LIMIT_S)
    Path(path).unlink()


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"link": "hello", "version": 99, "name": "x", "incarnation": 0}, "version"),
        ({"link": "hello", "version": 1, "name": 5, "incarnation": 0}, "bad_hello"),
        ({"link": "hello", "version": 1, "name": "x", "incarnation": -1}, "bad_hello"),
        ({"message_id": "m"}, "bad_hello"),
    ],
)
def test_a_bad_first_word_is_answered_with_the_reason(
    path: str, record: dict[str, Any], kind: str
) -> None:
    with serve(path) as server, Raw(path) as raw:
        raw.say(record)
        assert raw.hear()["kind"] == kind
        assert raw.hears_the_end()
        assert server.stats.refused_hellos == 1


def test_bytes_that_are_no_protocol_at_all_end_that_connection_only(path: str) -> None:
    with serve(path), Raw(path) as raw, UnixSocketChannel(path, name="alice") as alice:
        raw.sock.sendall(b"\x00\x00\x00\x03abc")
        assert raw.hear()["kind"] == "bad_hello"
        assert raw.hears_the_end()
        alice.send(write("alice", "alice"))
        take(alice)


def test_a_client_that_says_nothing_is_sent_away(path: str) -> None:
    with serve(path, connect_timeout_s=0.05) as server, Raw(path) as raw:
        assert raw.hear()["reason"] == "no hello came in time"
        assert raw.hears_the_end()
        assert server.peers() == {}


def test_a_service_without_descriptors_left_takes_the_connection_later(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(path) as server:
        assert isinstance(server._end, Broker)
        listener = server._end._listener
        accept, failures = listener.accept, [1, 2]

        def fail_twice() -> socket.socket:
            if failures:
                raise OSError(errno.EMFILE, f"Too many open files {failures.pop()}")
            return accept()

        monkeypatch.setattr(listener, "accept", fail_twice)
        with UnixSocketChannel(path, name="alice"):
            assert server.peers() == {"alice": 0}


# Who is it


def test_the_same_user_and_root_are_trusted_and_nobody_else() -> None:
    PeerCredentials(1, 1000, 1000).check(1000)
    PeerCredentials(1, 0, 0).check(1000)
    with pytest.raises(UntrustedPeer, match="user 1001"):
        PeerCredentials(1, 1001, 1000).check(1000)


def test_the_kernel_says_who_is_at_the_other_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert PeerCredentials.of(ours) == PeerCredentials(os.getpid(), os.getuid(), os.getgid())


CONNECT_AS = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
s.connect(sys.argv[1])
sys.stdout.buffer.write(s.recv(4096))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_refused_even_where_the_path_lets_it_in(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    path = tmp_path / "bus.sock"
    with serve(path) as server:
        path.chmod(0o666)
        ran = subprocess.run(
            [sys.executable, "-c", CONNECT_AS, str(path), str(NOBODY)],
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert b"untrusted" in ran.stdout, ran.stderr
        assert server.stats.refused_hellos == 1


# Frames


def test_half_a_frame_is_discarded_when_its_sender_ends(path: str) -> None:
    with serve(path) as server, UnixSocketChannel(path, name="alice") as alice:
        with Raw(path).hello("bob") as raw:
            whole = encode([write("bob", "", {"n": 1}).to_wire()])
            raw.sock.sendall(frame_header(whole) + whole + frame_header(whole) + whole[:-1])
        assert take(server).payload == {"n": 1}
        wait_until(lambda: server.stats.half_frames == 1)
        alice.send(write("alice", "", {"n": 2}))
        assert take(server).payload == {"n": 2}


def test_a_frame_that_trickles_in_arrives_whole(path: str) -> None:
    with serve(path) as server, Raw(path).hello("bob") as raw:
        body = encode([write("bob", "", {"n": 1}).to_wire()])
        for byte in frame_header(body) + body:
            raw.sock.sendall(bytes([byte]))
        assert take(server).payload == {"n": 1}


def test_an_oversize_frame_ends_that_connection_only_and_its_sender_is_told(path: str) -> None:
    with (
        serve(path, max_frame_bytes=10_000) as server,
        UnixSocketChannel(path, name="alice") as alice,
        Raw(path).hello("bob") as raw,
    ):
        raw.say(write("bob", "", {"n": 1}).to_wire())
        raw.sock.sendall((10_001).to_bytes(4, "big"))
        error = raw.hear()
        assert (error["message_type"], error["payload"]["kind"]) == ("error", "frame_too_large")
        assert raw.hears_the_end()
        assert take(server).payload == {"n": 1}
        assert (server.stats.oversize_frames, server.stats.half_frames) == (1, 0)
        alice.send(write("alice", "alice"))
        take(alice)


def test_a_client_that_gets_an_oversize_frame_closes_with_the_reason(path: str) -> None:
    with serve(path) as server, UnixSocketChannel(path, name="a", max_frame_bytes=9_999) as alice:
        server.send(write("orchestrator", "a", {"x": "x" * 10_000}))
        with pytest.raises(ChannelClosed, match="over the limit of 9999"):
            alice.receive(LIMIT_S)
        assert take(server).payload["kind"] == "frame_too_large"


def test_a_frame_that_cannot_be_decoded_is_an_error_and_the_connection_lives(path: str) -> None:
    with serve(path) as server, Raw(path).hello("bob") as raw:
        raw.sock.sendall(b"\x00\x00\x00\x01\xc1")
        assert raw.hear()["payload"]["kind"] == "malformed"
        raw.say({"no": "message"}, write("bob", "", {"n": 1}).to_wire())
        assert take(server).payload == {"n": 1}
        assert server.stats.dropped_malformed == 2


def test_what_this_version_does_not_know_is_skipped_or_passed_on(path: str) -> None:
    with serve(path), Raw(path).hello("bob") as bob, Raw(path).hello("carol", 7) as carol:
        wire = write("carol", "bob").to_wire()
        carol.say({"link": "credit", "messages": 5}, wire | {"colour": "red"})
        assert bob.hear() == wire | {"colour": "red", "incarnation": 7}


def test_what_can_be_read_but_not_written_again_is_an_error_for_its_sender_only(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode_all_but(records: list[dict[str, Any]]) -> bytes:
        if records[0].get("payload") == {"n": "too deep"}:
            raise EncodeError("nested too deep")
        return encode(records)

    monkeypatch.setattr("understudy.transport.switch.encode", encode_all_but)
    with (
        serve(path) as server,
        UnixSocketChannel(path, name="alice") as alice,
        UnixSocketChannel(path, name="bob") as bob,
    ):
        request = write("bob", "alice", {"n": "too deep"})
        bob.send(request)
        error = take(bob)
        assert (error.correlation_id, error.payload["kind"]) == (request.message_id, "malformed")
        assert server.stats.dropped_malformed == 1
        bob.send(write("bob", "alice", {"n": 1}))
        assert take(alice).payload == {"n": 1}


def test_a_large_message_crosses_in_many_pieces(path: str) -> None:
    blob = os.urandom(8 << 20)
    with (
        serve(path),
        UnixSocketChannel(path, name="alice") as alice,
        UnixSocketChannel(path, name="bob") as bob,
    ):
        alice.send(write("alice", "bob", {"blob": blob}))
        assert take(bob).payload["blob"] == blob


# Ends that do not read


def fill(send: Callable[[int], None]) -> int:
    """Send until it raises `PeerTooSlow`; how many were taken."""
    for number in range(10_000):
        try:
            send(number)
        except PeerTooSlow:
            return number
    pytest.fail("memory grows without a bound")


def test_a_slow_reader_costs_its_sender_a_deadline_and_the_others_nothing(path: str) -> None:
    blob = "x" * (1 << 20)
    with (
        serve(path, send_timeout_s=0.05) as server,
        Raw(path).hello("slow") as slow,
        UnixSocketChannel(path, name="alice") as alice,
        UnixSocketChannel(path, name="bob") as bob,
    ):
        taken = fill(lambda n: server.send(write("orchestrator", "slow", {"n": n, "x": blob})))
        request = write("alice", "slow", {"x": blob})
        alice.send(request)
        alice.send(write("alice", "bob", {"n": 1}))
        error = take(alice)
        assert (error.correlation_id, error.payload["kind"]) == (request.message_id, "overloaded")
        assert take(bob).payload == {"n": 1}
        assert server.stats.dropped_slow_peer == 1
        assert [slow.hear()["payload"]["n"] for _ in range(taken)] == list(range(taken))
        server.send(write("orchestrator", "slow", {"n": "again"}))
        assert slow.hear()["payload"]["n"] == "again"


def test_a_broadcast_skips_a_slow_reader(path: str) -> None:
    blob = "x" * (1 << 20)
    with (
        serve(path, send_timeout_s=0.01) as server,
        Raw(path).hello("slow"),
        UnixSocketChannel(path, name="bob") as bob,
    ):
        fill(lambda _: server.send(write("orchestrator", "slow", {"x": blob})))
        server.send(write("orchestrator", "broadcast", {"x": blob}))
        assert take(bob).receiver_id == "broadcast"
        assert server.stats.dropped_slow_peer == 1


def test_a_subscriber_that_stops_reading_slows_nobody_and_is_told_what_it_missed(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    blob = "x" * (1 << 20)
    with (
        serve(path) as server,
        Raw(path).hello("slow") as slow,
        UnixSocketChannel(path, name="alice") as alice,
        UnixSocketChannel(path, name="bob") as bob,
    ):
        taken = 40  # 16 MiB and the socket's buffer have room for less
        longest_s = 0.0
        for number in range(taken):
            start_s = time.monotonic()
            alice.send(write("alice", "broadcast", {"n": number, "x": blob}))
            assert take(bob).payload["n"] == number
            longest_s = max(longest_s, time.monotonic() - start_s)
            assert take(server).payload["n"] == number
        assert longest_s < 4.0  # 5 ms on a quiet machine; a held sender would wait for 5 s
        missed = server.stats.dropped_slow_peer
        assert 0 < missed < taken
        letters = server.dead_letters.letters()
        assert {(letter.target, letter.reason) for letter in letters} == {("slow", "slow")}
        heard = [slow.hear()["payload"]["n"] for _ in range(taken - missed)]
        assert heard == list(range(taken - missed))
        alice.send(write("alice", "broadcast", {"n": "again"}))
        told = slow.hear()
        assert (told["message_type"], told["payload"]["kind"]) == ("error", "missed")
        assert told["payload"]["count"] == missed
        assert slow.hear()["payload"]["n"] == "again"
    assert len([r for r in caplog.records if "dead letter" in r.message]) <= 10


def test_a_client_of_a_hung_server_gets_an_error_and_goes_on_when_it_wakes(path: str) -> None:
    blocked, go_on = threading.Event(), threading.Event()

    def hang(event: PeerEvent) -> None:
        if event.name == "hang":
            blocked.set()
            assert go_on.wait(LIMIT_S)

    blob = "x" * (1 << 20)
    with (
        serve(path, on_peer=hang) as server,
        UnixSocketChannel(path, name="alice", send_timeout_s=0.05) as alice,
        UnixSocketChannel(path, name="hang"),
    ):
        assert blocked.wait(LIMIT_S)
        taken = fill(lambda n: alice.send(write("alice", "", {"n": n, "x": blob})))
        go_on.set()
        assert [take(server).payload["n"] for _ in range(taken)] == list(range(taken))


def test_closing_writes_out_what_a_reader_still_takes(path: str) -> None:
    server = serve(path)
    # However slow the reader.
    server._end._limits = dataclasses.replace(server._end._limits, flush_s=LIMIT_S)
    with Raw(path).hello("bob") as bob, ThreadPoolExecutor(1) as pool:
        for number in range(8):
            server.send(write("orchestrator", "bob", {"n": number, "x": "x" * (1 << 20)}))
        heard = pool.submit(lambda: [bob.hear()["payload"]["n"] for _ in range(8)])
        server.close()
        assert heard.result(LIMIT_S) == list(range(8))


def test_closing_does_not_wait_long_for_an_end_that_does_not_read(path: str) -> None:
    server = serve(path)
    with Raw(path).hello("slow"):
        server.send(write("orchestrator", "slow", {"x": "x" * (1 << 20)}))
        start_s = time.monotonic()
        server.close()
        assert time.monotonic() - start_s < 3.0


# Incarnations and deaths


class HeldBroker:
    """A server whose thread stands still while `with` lasts.

    What is then sent to it is ready at once, and the kernel reports the connections in the order
    in which they became ready.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_held, self._go_on = threading.Event(), threading.Event()
        self.server = serve(path, on_peer=self._hold)

    def _hold(self, event: PeerEvent) -> None:
        if event.name == "gate":
            self._is_held.set()
            assert self._go_on.wait(LIMIT_S)

    def __enter__(self) -> Self:
        self._gate = UnixSocketChannel(self._path, name="gate")
        assert self._is_held.wait(LIMIT_S)
        return self

    def __exit__(self, *args: object) -> None:
        self._go_on.set()
        self._gate.close()


def test_what_a_replaced_incarnation_had_sent_is_dropped_and_counted(path: str) -> None:
    broker = HeldBroker(path)
    with broker.server as server, Raw(path).hello("alice", 1) as old, Raw(path) as new:
        with broker:
            new.say(Hello("alice", 2).to_record())
            old.say(*(write("alice", "", {"n": number}).to_wire() for number in range(3)))
        assert new.hear()["link"] == "welcome"
        assert old.hear() == {
            "link": "farewell",
            "kind": "replaced",
            "reason": "incarnation 2 took over",
        }
        new.say(write("alice", "", {"n": "new"}).to_wire())
        assert take(server).payload == {"n": "new"}
        assert server.stats.dropped_stale == 3


def test_a_client_that_comes_back_before_its_end_was_read_is_taken(path: str) -> None:
    broker = HeldBroker(path)
    with broker.server as server, Raw(path).hello("alice", 1) as old, Raw(path) as new:
        with broker:
            new.say(Hello("alice", 1).to_record())
            old.say(write("alice", "", {"n": "last"}).to_wire())
            old.sock.close()
        assert new.hear()["link"] == "welcome"
        assert take(server).payload == {"n": "last"}
        assert server.stats.dropped_stale == 0


CLIENT = """
import sys
from understudy.transport import UnixSocketChannel
channel = UnixSocketChannel(sys.argv[1], name="child", incarnation=1)
print("in", flush=True)
channel.receive()
"""

SERVER = """
import sys
from understudy.transport import UnixSocketChannel
channel = UnixSocketChannel(sys.argv[1], is_server=True)
print("in", flush=True)
channel.receive()
"""


class Child:
    """A Python program in a process of its own that says "in" when it is."""

    def __init__(self, program: str, path: str) -> None:
        command = [sys.executable, "-c", program, path]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"in\n"
        return self

    def __exit__(self, *args: object) -> None:
        self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(LIMIT_S)


def test_a_killed_peer_is_noticed_and_its_successor_taken(path: str) -> None:
    events: queue.SimpleQueue[PeerEvent] = queue.SimpleQueue()
    with serve(path, on_peer=events.put) as server, Child(CLIENT, path) as child:
        assert events.get(timeout=LIMIT_S) == PeerEvent("connected", "child", 1)
        child.kill()
        assert events.get(timeout=LIMIT_S) == PeerEvent("disconnected", "child", 1)
        with UnixSocketChannel(path, name="child", incarnation=2):
            assert server.peers() == {"child": 2}


def longest_tell(alice: UnixSocketChannel, bob: UnixSocketChannel, count: int, blob: str) -> float:
    """Broadcast and wait for it at another subscriber, again and again; the longest time."""
    longest_s = 0.0
    for number in range(count):
        start_s = time.monotonic()
        alice.send(write("alice", "broadcast", {"n": number, "x": blob}))
        while (heard := take(bob)).message_type is MessageType.ERROR:
            pass
        assert heard.payload["n"] == number
        longest_s = max(longest_s, time.monotonic() - start_s)
    return longest_s


def test_a_subscriber_whose_process_is_stopped_slows_nobody(path: str) -> None:
    events: queue.SimpleQueue[PeerEvent] = queue.SimpleQueue()
    with (
        serve(path, on_peer=events.put) as server,
        Child(CLIENT, path) as child,
        UnixSocketChannel(path, name="alice") as alice,
        UnixSocketChannel(path, name="bob") as bob,
    ):
        assert events.get(timeout=LIMIT_S).name == "child"
        child.process.send_signal(signal.SIGSTOP)
        # A held sender would wait for 5 s.
        assert longest_tell(alice, bob, 40, "x" * (1 << 20)) < 4.0
        assert server.stats.dropped_slow_peer > 0
        assert "child" in server.peers()


def test_a_subscriber_whose_inbox_is_full_slows_nobody(path: str) -> None:
    with (
        serve(path) as server,
        UnixSocketChannel(path, name="full", max_inbox_messages=2) as full,
        UnixSocketChannel(path, name="alice") as alice,
        UnixSocketChannel(path, name="bob") as bob,
    ):
        assert longest_tell(alice, bob, 200, "") < 4.0
        wait_until(lambda: full.stats.dropped_inbox_full == 198)
        assert server.stats.dropped_slow_peer == 0
        assert [take(full).payload["n"] for _ in range(2)] == [0, 1]


def test_the_clients_of_a_killed_server_are_told_and_its_socket_replaced(path: str) -> None:
    with Child(SERVER, path) as child, UnixSocketChannel(path, name="alice") as alice:
        child.kill()
        with pytest.raises(ChannelClosed, match="the server is gone"):
            alice.receive(LIMIT_S)
        with pytest.raises(ChannelClosed):
            alice.send(write("alice", ""))
        with serve(path), UnixSocketChannel(path, name="alice"):
            pass


# Callbacks and threads


def test_a_callback_that_raises_does_not_end_the_bus(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_event: PeerEvent) -> None:
        raise RuntimeError("the caller's mistake")

    with serve(path, on_peer=fail), UnixSocketChannel(path, name="alice") as alice:
        alice.send(write("alice", "alice"))
        take(alice)
    assert "the caller's mistake" in caplog.text


def test_a_callback_may_send_and_close(path: str) -> None:
    held: list[UnixSocketChannel] = []
    closed = threading.Event()

    def answer_and_close(event: PeerEvent) -> None:
        held[0].send(write("orchestrator", event.name, {"n": 1}))
        held[0].close()
        closed.set()

    held.append(serve(path, on_peer=answer_and_close))
    with UnixSocketChannel(path, name="alice") as alice:
        assert closed.wait(LIMIT_S)
        assert take(alice).payload == {"n": 1}
        with pytest.raises(ChannelClosed):
            alice.receive(LIMIT_S)
    held[0].close()


def test_a_machine_without_threads_left_is_told_and_nothing_stays(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with serve(path) as server:
        monkeypatch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            UnixSocketChannel(path, name="alice")
        with pytest.raises(RuntimeError):
            serve(path + "2")
        monkeypatch.undo()
        wait_until(lambda: server.peers() == {})


def test_each_end_has_one_thread_however_many_peers(path: str) -> None:
    with serve(path):
        raws = [Raw(path).hello(f"peer{number}") for number in range(10)]
        assert our_threads() == ["understudy-broker-orchestrator"]
        for raw in raws:
            raw.sock.close()


def test_a_refused_client_leaves_nothing(path: str) -> None:
    with serve(path), UnixSocketChannel(path, name="alice"):
        before = len(descriptors())
        for _ in range(5):
            with pytest.raises(HelloRefused):
                UnixSocketChannel(path, name="alice")
        wait_until(lambda: len(descriptors()) == before)
