# pyright: reportPrivateUsage=false
# A fault test looks at what is inside.
"""A link that ends while its processes live is made again; what hinders a dial passes."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import pykka
import pytest
from fakes.system_actors import Worker

from understudy.supervision.system import ActorSystem
from understudy.transport import (
    ActorLost,
    Address,
    MailboxActor,
    Node,
    PeerUnreachable,
    RemoteRef,
    wire,
)

LIMIT_S = 10.0


class Echo(MailboxActor):
    def on_receive(self, message: Any) -> Any:
        return message


@pytest.fixture(name="folder")
def _folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="us-", dir="/tmp")
    yield folder
    pykka.ActorRegistry.stop_all(timeout=5)
    shutil.rmtree(folder)


@pytest.fixture(name="here")
def _here(folder: str) -> Iterator[Node]:
    node = Node("here", folder)
    yield node
    node.close()


@pytest.fixture(name="there")
def _there(folder: str) -> Iterator[Node]:
    node = Node("there", folder)
    yield node
    node.close()


@pytest.fixture(name="listener")
def _listener(folder: str) -> Iterator[socket.socket]:
    """A peer called "raw" that is no node."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/raw.sock")
        listener.listen(0)
        listener.settimeout(LIMIT_S)
        yield listener


def raw_ref(node: Node) -> RemoteRef:
    ref = node.ref(Address("raw", "a", 1, "x:Y", "urn:raw", 10, 10_000, 1.0))
    assert isinstance(ref, RemoteRef)
    return ref


def say(connected: socket.socket, *records: list[Any]) -> None:
    body = msgpack.packb(list(records))
    connected.sendall(struct.pack(">I", len(body)) + body)


def until(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.001)


def cut(node: Node) -> None:
    """End the links of a node from outside, as far as both ends can tell."""
    for session in node._live_sessions():
        session._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]


def test_an_actor_whose_link_was_cut_is_reached_by_the_same_ref() -> None:
    with ActorSystem("cuts", preload=["fakes.system_actors"]) as system:
        far = system.spawn(Worker, process=True, name="far")
        downs: list[object] = []
        system.watch(far, downs.append)
        assert far.ask("first", timeout=LIMIT_S) == "first"
        for _ in range(3):
            asleep = far.proxy().sleep(0.3)
            cut(system.node)  # type: ignore[arg-type]
            with pytest.raises(ActorLost) as caught:
                asleep.get(timeout=LIMIT_S)
            assert caught.value.maybe_executed
            assert far.is_alive()
        assert far.ask("again", timeout=LIMIT_S) == "again"
        assert system.find("far") is far
        assert downs == []


def test_a_link_that_nobody_uses_is_made_again_by_itself(here: Node, there: Node) -> None:
    ref = here.ref(there.host(Echo.start()))
    assert ref.ask("x", timeout=LIMIT_S) == "x"
    before = here._live_sessions()
    cut(here)
    until(lambda: before[0].closed and here.peers())
    assert ref.is_alive()


def test_the_end_of_a_link_is_seen_though_only_the_service_thread_reads(
    here: Node, there: Node
) -> None:
    ref = here.ref(there.host(Echo.start()))
    assert ref.ask("x", timeout=LIMIT_S) == "x"
    # It waits long for the next traffic, and reads that for whoever asked.
    until(lambda: not here._poller._is_ticking and here._poller._holder)
    assert ref.ask("y", timeout=LIMIT_S) == "y"
    (session,) = here._live_sessions()
    cut(here)
    until(lambda: session.closed)


def test_a_peer_that_ends_each_link_is_not_dialled_for_ever(
    here: Node, listener: socket.socket
) -> None:
    ref = raw_ref(here)
    future = ref.ask("x", block=False, timeout=LIMIT_S)
    for _ in range(4):
        connected, _ = listener.accept()
        connected.close()
    with pytest.raises(ActorLost):
        future.get(timeout=LIMIT_S)
    listener.settimeout(0.2)
    with pytest.raises(TimeoutError):
        listener.accept()
    assert ref.is_alive()
    listener.settimeout(LIMIT_S)
    future = ref.ask("y", block=False, timeout=LIMIT_S)  # the next use is another try
    with listener.accept()[0] as connected:
        say(connected, [wire.HELLO, wire.VERSION, "raw", 1, {}], [wire.REPLY, future.corr, "z"])
        assert future.get(timeout=LIMIT_S) == "z"


def test_a_peer_that_has_not_said_hello_yet_hears_one_first(here: Node) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(LIMIT_S)
        raw.connect(f"{here.folder}/here.sock")
        until(here._live_sessions)
        ref = Echo.start()
        here.host(ref, actor_id="a")
        ref.stop()
        say(raw, [wire.HELLO, wire.VERSION, "raw", 1, {}])
        assert msgpack.unpackb(raw.recv(1_000)[4:])[0][0] == wire.HELLO


def test_refs_to_a_peer_that_refuses_this_node_are_dead(
    here: Node, listener: socket.socket
) -> None:
    ref = raw_ref(here)
    future = ref.ask("x", block=False, timeout=LIMIT_S)
    with listener.accept()[0] as connected:
        say(connected, [wire.BYE, "stale", "incarnation 2 was here already"])
        with pytest.raises(ActorLost):
            future.get(timeout=LIMIT_S)
    assert not ref.is_alive()


@contextmanager
def _no_descriptor_left() -> Generator[None]:
    free = os.dup(0)
    os.close(free)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_process_without_a_free_descriptor_takes_nobody_for_dead(here: Node, there: Node) -> None:
    ref = here.ref(there.host(Echo.start()))
    with _no_descriptor_left():
        with pytest.raises(PeerUnreachable, match="Too many open files"):
            ref.tell("x")
        with pytest.raises(PeerUnreachable, match="try again"):
            ref.ask("x", timeout=LIMIT_S)
        with pytest.raises(PeerUnreachable):
            ref.proxy()
    assert ref.is_alive()
    assert ref.ask("x", timeout=LIMIT_S) == "x"


def test_a_dial_waits_for_its_place_in_a_full_backlog(here: Node, listener: socket.socket) -> None:
    ref = raw_ref(here)
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(f"{here.folder}/raw.sock")
        with pytest.raises(PeerUnreachable):
            ref.ask("x", timeout=0.05)
        assert ref.is_alive()
        tries = threading.Event()
        dial = here._dial

        def note(peer: str) -> Any:
            try:
                return dial(peer)
            finally:
                tries.set()

        here._dial = note  # type: ignore[method-assign]
        teller = threading.Thread(target=lambda: ref.tell("y"), daemon=True)
        teller.start()
        assert tries.wait(LIMIT_S)
        assert teller.is_alive()
        listener.accept()[0].close()
        teller.join(LIMIT_S)
        assert not teller.is_alive()
        listener.accept()[0].close()
