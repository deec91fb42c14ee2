"""What an end is called, and what it may not be told; on sockets and in memory."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from fakes.bus import LIMIT_S, Bus, End

from understudy.transport import (
    BROADCAST,
    Agent2AgentProtocol,
    AgentMessage,
    ChannelClosed,
    HelloRefused,
    MalformedMessage,
    MessageType,
    SocketPathUnusable,
    UnixSocketChannel,
)

if TYPE_CHECKING:
    from pathlib import Path


def write(receiver: Any = "orchestrator", **fields: Any) -> AgentMessage:  # noqa: ANN401 - anything
    kind = fields.pop("kind", MessageType.STATUS_UPDATE)
    return AgentMessage.create("alice", receiver, kind, fields.pop("payload", {}), **fields)


def take(end: End) -> AgentMessage:
    message = end.receive(LIMIT_S)
    assert message is not None, "nothing came"
    return message


# -- names ----------------------------------------------------------------------------------------


def test_an_agent_on_a_channel_without_a_name_is_reached_by_its_id(bus: Bus) -> None:
    agents = [Agent2AgentProtocol(name, bus.client()) for name in ("agent_000", "agent_001")]
    server = Agent2AgentProtocol("orchestrator", bus.server)
    asker, asked = agents

    def answer(by: Agent2AgentProtocol, request: AgentMessage) -> None:
        by.send_task_response(request, {"by": by.agent_id})

    for answering in (asked, server):
        answering.register_handler(MessageType.TASK_REQUEST, partial(answer, answering))
        answers: list[AgentMessage] = []
        asker.send_task_request(answering.agent_id, {}, answers.append, timeout_s=LIMIT_S)
        while not answers:
            answering.process_messages(0.01)
            asker.process_messages(0.01)
        assert answers[0].payload == {"by": answering.agent_id}
    assert sorted(bus.server.peers()) == ["agent_000", "agent_001"]


def test_a_claimed_name_takes_the_place_of_the_given_one(bus: Bus) -> None:
    end = bus.client(incarnation=3)
    given = end.name
    assert bus.next_event() == ("connected", given, 3)
    end.subscribe([MessageType.COORDINATION])
    end.claim_name("alice")
    assert end.name == "alice"
    assert bus.next_event() == ("disconnected", given, 3)
    assert bus.next_event() == ("connected", "alice", 3)
    assert bus.server.peers() == {"alice": 3}
    for kind in (MessageType.STATUS_UPDATE, MessageType.COORDINATION):
        bus.server.send(write(BROADCAST, kind=kind))
    bus.server.send(write("alice", payload={"last": True}))
    assert take(end).message_type is MessageType.COORDINATION
    assert take(end).payload == {"last": True}
    end.close()
    assert bus.next_event() == ("disconnected", "alice", 3)


def test_a_name_that_is_somebody_elses_cannot_be_claimed(bus: Bus) -> None:
    bus.client("alice")
    for taken in ("alice", "orchestrator", BROADCAST):
        with pytest.raises(HelloRefused):
            Agent2AgentProtocol(taken, bus.client())
    assert "alice" in bus.server.peers()


def test_a_protocol_does_not_go_by_another_name_than_its_channel(bus: Bus) -> None:
    for channel in (bus.client("alice"), bus.server):
        with pytest.raises(ValueError, match="with name='bob'"):
            Agent2AgentProtocol("bob", channel)
    assert bus.server.peers() == {"alice": 0}


def test_a_name_is_not_claimed_over_a_connection_that_is_closed(bus: Bus) -> None:
    end = bus.client()
    end.close()
    with pytest.raises(ChannelClosed):
        end.claim_name("alice")


def test_two_that_claim_each_others_names_both_get_an_answer(tmp_path: Path) -> None:
    with UnixSocketChannel(tmp_path / "bus.sock", is_server=True) as server:
        ends = [UnixSocketChannel(tmp_path / "bus.sock") for _ in range(2)]
        names = [end.name for end in ends]
        refused: list[HelloRefused] = []

        def claim(end: UnixSocketChannel, name: str) -> None:
            try:
                end.claim_name(name)
            except HelloRefused as error:
                refused.append(error)

        threads = [
            threading.Thread(target=claim, args=pair)
            for pair in zip(ends, reversed(names), strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive()
        # The first to be refused is gone, so the second may have its name.
        assert 1 <= len(refused) <= 2
        assert server.is_running
        for end in ends:
            end.close()


# -- what is refused at once ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (write(payload=None), "payload"),
        (write(payload=[1]), "payload"),
        (write(5), "receiver_id"),
        (write(kind="status_update"), "message_type"),
    ],
    ids=["no payload", "a list", "a number for a name", "a word for a type"],
)
def test_a_message_that_its_receiver_would_drop_is_not_sent(
    bus: Bus, message: AgentMessage, field: str
) -> None:
    for end in (bus.client("alice"), bus.server):
        with pytest.raises(MalformedMessage, match=field):
            end.send(message)
    assert bus.server.stats.dropped_malformed == 0


def test_what_is_no_message_is_not_sent(bus: Bus) -> None:
    no_message: Any = {"a": 1}
    for end in (bus.client("alice"), bus.server):
        with pytest.raises(TypeError, match="an AgentMessage, not dict"):
            end.send(no_message)


@pytest.mark.parametrize(
    "types", [["status_update"], "status_update", MessageType.HEARTBEAT, [None]], ids=repr
)
def test_only_types_of_messages_are_subscribed_to(bus: Bus, types: Any) -> None:  # noqa: ANN401 - anything
    for end in (bus.client("alice"), bus.server):
        with pytest.raises(TypeError, match="a list of MessageTypes"):
            end.subscribe(types)


@pytest.mark.parametrize("is_server", [False, True])
def test_a_path_with_a_nul_is_none(is_server: bool) -> None:
    with pytest.raises(SocketPathUnusable, match="no NUL"):
        UnixSocketChannel("/tmp/a\0b", is_server)
