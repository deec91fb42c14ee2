"""What every channel must do. Each test runs on sockets and in memory."""

# ruff: noqa: ANN401 - keyword arguments are passed on as they came.
from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from fakes.bus import LIMIT_S, MAX_FRAME_BYTES, Bus, End

from understudy.transport import (
    BROADCAST,
    AgentMessage,
    ChannelClosed,
    EncodeError,
    FrameTooLarge,
    HelloRefused,
    MessageType,
    PeerUnknown,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def write(
    sender: str,
    receiver: str,
    kind: MessageType = MessageType.TASK_REQUEST,
    payload: dict[str, Any] | None = None,
    **fields: Any,
) -> AgentMessage:
    return AgentMessage.create(sender, receiver, kind, payload or {}, **fields)


def take(end: End) -> AgentMessage:
    message = end.receive(LIMIT_S)
    assert message is not None, "nothing came"
    return message


def wait_until(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < until_s, "it did not come to hold"
        time.sleep(0.001)


def has_received(end: End, count: int) -> bool:
    return end.stats.received == count


class FromTheFuture(AgentMessage):
    """A message of a type that is invented later."""

    def to_wire(self) -> dict[str, Any]:
        return {**super().to_wire(), "message_type": "telepathy"}


def test_a_message_reaches_the_named_peer_with_every_field(bus: Bus) -> None:
    alice, bob = bus.client("alice"), bus.client("bob")
    message = write(
        "alice",
        "bob",
        payload={"deep": [{"x": None, "raw": b"\x00\xff", "é": 1.5}]},
        correlation_id="m0",
        deadline=9e9,
        incarnation=4,
        chain=("carol", "alice"),
        task_id="t",
        context_id="c",
        traceparent="00-ab-cd-01",
    )
    alice.send(message)
    assert take(bob) == message


@pytest.mark.parametrize("receiver", ["orchestrator", ""])
def test_a_client_reaches_the_server_by_its_name_or_by_none(bus: Bus, receiver: str) -> None:
    bus.client("alice").send(write("alice", receiver))
    assert take(bus.server).sender_id == "alice"


def test_the_server_reaches_a_client_and_itself(bus: Bus) -> None:
    alice = bus.client("alice")
    bus.server.send(write("orchestrator", "alice"))
    bus.server.send(write("orchestrator", "orchestrator"))
    assert take(alice).sender_id == "orchestrator"
    assert take(bus.server).sender_id == "orchestrator"


def test_a_client_can_write_to_itself(bus: Bus) -> None:
    alice = bus.client("alice")
    alice.send(write("alice", "alice"))
    assert take(alice).receiver_id == "alice"


def test_the_server_is_told_at_once_that_a_peer_is_unknown(bus: Bus) -> None:
    bus.client("alice")
    with pytest.raises(PeerUnknown) as caught:
        bus.server.send(write("orchestrator", "zoe"))
    assert (caught.value.name, caught.value.known) == ("zoe", ("alice",))


def test_a_client_gets_an_error_back_for_an_unknown_peer(bus: Bus) -> None:
    alice = bus.client("alice")
    request = write("alice", "zoe", task_id="t")
    alice.send(request)
    error = take(alice)
    assert error.message_type is MessageType.ERROR
    assert error.correlation_id == request.message_id
    assert (error.payload["kind"], error.payload["receiver_id"]) == ("peer_unknown", "zoe")
    assert bus.server.stats.dropped_unknown_peer == 1


def test_an_error_for_an_unknown_peer_is_dropped_without_an_echo(bus: Bus) -> None:
    alice = bus.client("alice")
    alice.send(write("alice", "zoe", MessageType.ERROR))
    alice.send(write("alice", "alice"))
    assert take(alice).message_type is MessageType.TASK_REQUEST
    assert bus.server.stats.dropped_unknown_peer == 1


def test_a_broadcast_of_a_client_reaches_all_others_and_the_server(bus: Bus) -> None:
    alice, bob, carol = (bus.client(name) for name in ("alice", "bob", "carol"))
    alice.send(write("alice", BROADCAST, payload={"to": "all"}))
    alice.send(write("alice", "alice", payload={"to": "me"}))
    assert [take(end).payload for end in (bob, carol, bus.server)] == [{"to": "all"}] * 3
    assert take(alice).payload == {"to": "me"}


def test_a_broadcast_of_the_server_reaches_every_client(bus: Bus) -> None:
    ends = [bus.client(name) for name in ("alice", "bob")]
    bus.server.send(write("orchestrator", BROADCAST))
    assert [take(end).receiver_id for end in ends] == [BROADCAST] * 2
    assert bus.server.receive(0.0) is None


def test_a_subscriber_gets_broadcasts_of_its_types_and_all_that_is_said_to_it(bus: Bus) -> None:
    alice, bob, carol = (bus.client(name) for name in ("alice", "bob", "carol"))
    bob.subscribe([MessageType.STATUS_UPDATE])
    bob.send(write("bob", "bob"))  # what it says is dealt with in order
    assert take(bob).payload == {}
    for number, kind in enumerate((MessageType.TASK_REQUEST, MessageType.STATUS_UPDATE)):
        alice.send(write("alice", BROADCAST, kind, {"n": number}))
        bus.server.send(write("orchestrator", BROADCAST, kind, {"n": number + 10}))
    alice.send(write("alice", "bob", payload={"n": "by name"}))
    assert {take(bob).payload["n"] for _ in range(3)} == {1, 11, "by name"}
    assert bob.receive(0.0) is None
    assert [take(carol).payload["n"] for _ in range(4)]
    bob.subscribe(None)
    bob.send(write("bob", "bob", payload={"n": "back"}))
    assert take(bob).payload == {"n": "back"}
    alice.send(write("alice", BROADCAST, payload={"n": 5}))
    assert take(bob).payload == {"n": 5}


def test_a_subscription_ends_with_its_connection(bus: Bus) -> None:
    bus.client("bob", 1).subscribe([])
    bob = bus.client("bob", 2)
    bus.server.send(write("orchestrator", BROADCAST))
    assert take(bob).receiver_id == BROADCAST


def test_a_server_can_choose_its_broadcasts_too(bus: Bus) -> None:
    alice = bus.client("alice")
    bus.server.subscribe([MessageType.ERROR])
    alice.send(write("alice", BROADCAST))
    alice.send(write("alice", "", payload={"n": 1}))
    assert take(bus.server).payload == {"n": 1}


def test_what_nobody_took_is_a_dead_letter_of_the_server(bus: Bus) -> None:
    alice = bus.client("alice")
    request = write("alice", "zoe", payload={"n": 1})
    alice.send(request)
    take(alice)
    (letter,) = bus.server.dead_letters.letters()
    assert (letter.target, letter.reason) == ("zoe", "unknown")
    assert letter.message.payload == {"n": 1}
    zoe = bus.client("zoe")
    assert bus.server.dead_letters.replay(lambda kept: bus.server.send(kept.message)) == 1
    assert take(zoe).message_id == request.message_id
    assert bus.server.dead_letters.counts() == {"unknown": 1}
    assert len(bus.server.dead_letters) == 0


def test_messages_of_one_sender_arrive_in_order_and_once(bus: Bus) -> None:
    receiver = bus.client("receiver")
    senders = [bus.client(f"s{number}") for number in range(3)]

    def send_all(end: End) -> None:
        for number in range(200):
            end.send(write(end.name, "receiver", payload={"n": number}))

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(send_all, end) for end in senders]
        got = [take(receiver) for _ in range(600)]
        for future in running:
            future.result(LIMIT_S)
    for end in senders:
        assert [m.payload["n"] for m in got if m.sender_id == end.name] == list(range(200))
    assert receiver.receive(0.0) is None


def test_control_messages_come_first(bus: Bus) -> None:
    alice, bob = bus.client("alice"), bus.client("bob")
    alice.send(write("alice", "bob", payload={"n": 1}))
    alice.send(write("alice", "bob", MessageType.COORDINATION, {"command": "stop"}))
    alice.send(write("alice", "bob", MessageType.HEARTBEAT))
    wait_until(lambda: bob.stats.received == 3)
    kinds = [take(bob).message_type for _ in range(3)]
    assert kinds == [MessageType.COORDINATION, MessageType.HEARTBEAT, MessageType.TASK_REQUEST]


def test_a_payload_may_be_changed_once_it_was_sent(bus: Bus) -> None:
    alice, bob = bus.client("alice"), bus.client("bob")
    payload = {"list": [1]}
    alice.send(write("alice", "bob", payload=payload))
    payload["list"].append(2)
    bus.server.send(write("orchestrator", "orchestrator", payload=payload))
    payload["list"].append(3)
    assert take(bob).payload == {"list": [1]}
    assert take(bus.server).payload == {"list": [1, 2]}


def test_a_payload_without_a_form_on_the_wire_is_refused_and_nothing_breaks(bus: Bus) -> None:
    alice = bus.client("alice")
    for end in (alice, bus.server):
        with pytest.raises(EncodeError):
            end.send(write(end.name, "alice", payload={"x": object()}))
    alice.send(write("alice", "alice"))
    take(alice)


def test_a_message_over_the_limit_is_refused_by_send_and_nothing_breaks(bus: Bus) -> None:
    alice = bus.client("alice")
    for end in (alice, bus.server):
        with pytest.raises(FrameTooLarge):
            end.send(write(end.name, "alice", payload={"x": "x" * MAX_FRAME_BYTES}))
    alice.send(write("alice", "alice", payload={"x": "x" * (MAX_FRAME_BYTES - 1000)}))
    take(alice)


def test_a_message_of_an_unknown_type_is_counted_and_dropped(bus: Bus) -> None:
    alice = bus.client("alice")
    strange = FromTheFuture("m", "alice", "", MessageType.ERROR, {}, 0.0)
    alice.send(strange)
    alice.send(write("alice", "", payload={"n": 2}))
    assert take(bus.server).payload == {"n": 2}
    assert bus.server.stats.dropped_unknown_type == 1


def test_a_full_inbox_sends_an_error_back_and_still_takes_control(bus: Bus) -> None:
    alice, bob = bus.client("alice"), bus.client("bob", max_inbox_messages=2)
    requests = [write("alice", "bob", payload={"n": number}) for number in range(3)]
    for request in requests:
        alice.send(request)
    error = take(alice)
    assert error.correlation_id == requests[2].message_id
    assert error.payload["kind"] == "overloaded"
    assert error.sender_id == "bob"
    assert bob.stats.dropped_inbox_full == 1
    alice.send(write("alice", "bob", MessageType.COORDINATION, {"command": "stop"}))
    wait_until(lambda: bob.stats.received == 3)
    assert take(bob).payload == {"command": "stop"}
    assert [take(bob).payload["n"] for _ in range(2)] == [0, 1]


def test_receive_gives_none_when_the_time_is_over(bus: Bus) -> None:
    assert bus.server.receive(0.0) is None
    assert bus.client("alice").receive(0.01) is None


def test_a_closed_end_neither_sends_nor_receives(bus: Bus) -> None:
    alice = bus.client("alice")
    for end in (alice, bus.server):
        assert end.is_running
        end.close()
        end.close()
        assert not end.is_running
        with pytest.raises(ChannelClosed):
            end.send(write(end.name, "alice"))
        with pytest.raises(ChannelClosed):
            end.receive(LIMIT_S)


def test_what_was_not_received_is_forgotten_when_an_end_closes(bus: Bus) -> None:
    alice = bus.client("alice")
    alice.send(write("alice", BROADCAST))
    bus.server.send(write("orchestrator", "alice"))
    for end in (alice, bus.server):
        wait_until(partial(has_received, end, 1))
        end.close()
        with pytest.raises(ChannelClosed):
            end.receive(0.0)


@pytest.mark.parametrize("which", ["client", "server"])
def test_closing_wakes_a_receiver_that_waits(bus: Bus, which: str) -> None:
    end = bus.server if which == "server" else bus.client("alice")
    started = threading.Event()

    def receive() -> AgentMessage | None:
        started.set()
        return end.receive(LIMIT_S)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(receive)
        assert started.wait(LIMIT_S)
        end.close()
        with pytest.raises(ChannelClosed):
            waiting.result(LIMIT_S)


def test_a_client_receives_what_came_before_its_server_went(bus: Bus) -> None:
    alice = bus.client("alice")
    for number in range(3):
        bus.server.send(write("orchestrator", "alice", payload={"n": number}))
    bus.server.close()
    assert [take(alice).payload["n"] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ChannelClosed, match="the server is gone"):
        alice.receive(LIMIT_S)
    assert not alice.is_running
    with pytest.raises(ChannelClosed):
        alice.send(write("alice", ""))


def test_the_server_knows_its_peers_by_name_and_incarnation(bus: Bus) -> None:
    bus.client("alice", 3)
    bus.client("bob")
    assert bus.server.peers() == {"alice": 3, "bob": 0}
    assert bus.server.name == "orchestrator"
    bus.server.close()
    assert bus.server.peers() == {}


def test_clients_without_a_name_get_unique_ones_and_can_be_written_to(bus: Bus) -> None:
    first, second = bus.client(), bus.client()
    assert first.name != second.name
    bus.server.send(write("orchestrator", first.name, payload={"n": 1}))
    assert take(first).payload == {"n": 1}


def test_the_server_is_told_who_comes_and_goes(bus: Bus) -> None:
    alice = bus.client("alice", 1)
    assert bus.next_event() == ("connected", "alice", 1)
    alice.close()
    assert bus.next_event() == ("disconnected", "alice", 1)
    assert bus.server.peers() == {}


def test_a_newer_incarnation_takes_the_place_of_the_older(bus: Bus) -> None:
    old = bus.client("alice", 1)
    new = bus.client("alice", 2)
    assert [bus.next_event() for _ in range(3)] == [
        ("connected", "alice", 1),
        ("disconnected", "alice", 1),
        ("connected", "alice", 2),
    ]
    bus.server.send(write("orchestrator", "alice"))
    assert take(new).receiver_id == "alice"
    with pytest.raises(ChannelClosed, match="incarnation 2 took over"):
        old.receive(LIMIT_S)
    assert bus.server.peers() == {"alice": 2}


@pytest.mark.parametrize(
    ("incarnation", "kind"), [(1, "stale_incarnation"), (2, "name_taken")], ids=["older", "equal"]
)
def test_an_incarnation_that_is_not_newer_is_refused(bus: Bus, incarnation: int, kind: str) -> None:
    alice = bus.client("alice", 2)
    with pytest.raises(HelloRefused) as caught:
        bus.client("alice", incarnation)
    assert caught.value.kind == kind
    bus.server.send(write("orchestrator", "alice"))
    assert take(alice).receiver_id == "alice"


def test_a_client_that_closed_can_come_back_as_the_same(bus: Bus) -> None:
    for _ in range(20):
        bus.client("alice", 1).close()
        bus.client("bob").close()


@pytest.mark.parametrize("name", ["orchestrator", BROADCAST, ""])
def test_a_reserved_name_is_refused(bus: Bus, name: str) -> None:
    with pytest.raises(HelloRefused, match="name_reserved"):
        bus.client(name)


def test_a_message_carries_the_incarnation_of_its_senders_connection(bus: Bus) -> None:
    alice, bob = bus.client("alice", 5), bus.client("bob")
    alice.send(write("alice", BROADCAST))
    assert [take(end).incarnation for end in (bob, bus.server)] == [5, 5]


def test_a_message_of_an_older_incarnation_is_dropped_and_counted(bus: Bus) -> None:
    alice = bus.client("alice", 5)
    alice.send(write("alice", "", incarnation=4))
    alice.send(write("alice", "", incarnation=5))
    assert take(bus.server).incarnation == 5
    assert bus.server.stats.dropped_stale == 1


def test_a_channel_closes_at_the_end_of_its_with_block(bus: Bus) -> None:
    with bus.client("alice") as alice:
        assert alice.is_running
    assert not alice.is_running
