"""What `status` tells of messages that never came to the root."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from understudy.actors.bus_losses import BusLosses
from understudy.transport import (
    Agent2AgentProtocol,
    AgentMessage,
    MessageType,
    UnixSocketChannel,
)

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 10.0


def said(incarnation: int, receiver: str = "") -> AgentMessage:
    """Something that alice says, or said before she was started anew."""
    return AgentMessage.create(
        "alice", receiver, MessageType.STATUS_UPDATE, {}, incarnation=incarnation
    )


def test_messages_of_ended_incarnations_count_wherever_they_were_dropped(tmp_path: Path) -> None:
    path = str(tmp_path / "bus.sock")
    got: list[int] = []
    with (
        UnixSocketChannel(path, is_server=True, name="orchestrator") as server,
        UnixSocketChannel(path, name="alice", incarnation=5) as alice,
        UnixSocketChannel(path, name="bob") as bob,
        closing(Agent2AgentProtocol("orchestrator", server)) as protocol,
    ):
        protocol.register_handler(
            MessageType.STATUS_UPDATE, lambda message: got.append(message.incarnation)
        )
        alice.send(said(4))  # the bus knows that hers is the fifth
        alice.send(said(5))
        while not got:
            assert protocol.process_messages(LIMIT_S)
        bob.send(said(3))  # what another passes on of her, the protocol compares
        bob.send(said(5))
        while len(got) < 2:
            assert protocol.process_messages(LIMIT_S)
        bob.send(said(5, receiver="nobody"))
        bob.receive(LIMIT_S)  # the answer to that
        status = BusLosses(server, protocol).added_to({"stale_messages": 7, "queued": 0})
    assert got == [5, 5]
    assert status == {"stale_messages": 7 + 2, "queued": 0, "dead_letters": {"unknown": 1}}
