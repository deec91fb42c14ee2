"""Requests that are sent again, over both channels: run once, answered again, ended once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from understudy.transport import (
    BROADCAST,
    Agent2AgentProtocol,
    AgentMessage,
    MemoryChannel,
    MessageType,
    UnixSocketChannel,
)
from understudy.transport.answers import Answers

LIMIT_S = 10.0
End = UnixSocketChannel | MemoryChannel
MARK = {"mark": True}


class Clock:
    """A time that a test sets."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Lossy:
    """A channel that loses what a test says, and counts marks; the rest of it is the other's."""

    end: End
    loses: Callable[[AgentMessage], bool] = lambda _message: False
    sent: list[AgentMessage] = field(default_factory=list[AgentMessage])
    marks: int = 0

    def send(self, message: AgentMessage) -> None:
        self.sent.append(message)
        if not self.loses(message):
            self.end.send(message)

    def receive(self, timeout: float | None = None) -> AgentMessage | None:
        message = self.end.receive(timeout)
        if message is None or message.payload != MARK:
            return message
        self.marks += 1
        return None

    def close(self) -> None:
        self.end.close()


class Pair:
    """Alice asks, up to three times; bob answers."""

    def __init__(self, make: Callable[[End | None, str], End]) -> None:
        self.clock = Clock()
        self.server = make(None, "orchestrator")
        self.alice_end = Lossy(make(self.server, "alice"))
        self.bob_end = Lossy(make(self.server, "bob"))
        self.alice = self.protocol("alice", self.alice_end)
        self.bob = self.protocol("bob", self.bob_end)
        self.answers: list[AgentMessage] = []
        self.ran: list[AgentMessage] = []

    def protocol(self, name: str, end: Lossy) -> Agent2AgentProtocol:
        return Agent2AgentProtocol(name, end, retry_count=2, clock=self.clock, monotonic=self.clock)

    def let_bob_answer(self) -> None:
        def answer(request: AgentMessage) -> None:
            self.ran.append(request)
            self.bob.send_task_response(request, {"n": len(self.ran)})

        self.bob.register_handler(MessageType.TASK_REQUEST, answer)

    def ask(self, receiver: str = "bob") -> str:
        task = {"x": [1]}
        asked = self.alice.send_task_request(receiver, task, self.answers.append, timeout_s=3.0)
        task["x"].append(2)
        return asked

    def run(self) -> None:
        """Let both handle all that comes: until a mark goes to bob and back, and nothing else."""
        is_busy = True
        while is_busy:
            to_bob = self.handle_until_mark(self.alice_end, self.bob_end)
            # Only now: before it comes what the server answered to alice.
            to_alice = self.handle_until_mark(self.bob_end, self.alice_end)
            is_busy = to_bob or to_alice

    def handle_until_mark(self, sender: Lossy, receiver: Lossy) -> bool:
        """Send a mark, which comes after all that was sent; say whether there was any of that."""
        names = ("alice", "bob") if sender is self.alice_end else ("bob", "alice")
        sender.end.send(AgentMessage.create(*names, MessageType.STATUS_UPDATE, MARK))
        marks, ends = receiver.marks, time.monotonic() + LIMIT_S
        is_busy = False
        while receiver.marks == marks:
            assert time.monotonic() < ends, "the mark did not come"
            is_busy |= self.bob.process_messages(0.02) | self.alice.process_messages(0.02)
        return is_busy

    def close(self) -> None:
        for end in (self.alice_end, self.bob_end, self.server):
            end.close()


@pytest.fixture(params=["sockets", "memory"], name="pair")
def _pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    def make(server: End | None, name: str) -> End:
        if request.param == "sockets":
            return UnixSocketChannel(tmp_path / "bus.sock", server is None, name=name)
        assert server is None or isinstance(server, MemoryChannel)
        return MemoryChannel(server, name=name)

    made = Pair(make)
    yield made
    made.close()


def kinds(answers: list[AgentMessage]) -> list[str]:
    return [answer.payload.get("kind", "") for answer in answers]


def test_a_request_that_was_lost_is_sent_again_as_the_same_message(pair: Pair) -> None:
    pair.alice_end.loses = lambda _message: len(pair.alice_end.sent) == 1
    pair.let_bob_answer()
    asked = pair.ask()
    pair.run()
    assert pair.answers == []
    pair.clock.now += 1.0
    pair.run()
    assert [a.payload for a in pair.answers] == [{"n": 1}]
    assert [m.message_id for m in pair.alice_end.sent] == [asked, asked]
    assert [m.payload for m in pair.ran] == [{"x": [1]}]
    assert pair.alice.stats.retried == 1
    pair.clock.now += 1.0
    pair.run()
    assert len(pair.alice_end.sent) == 2


def test_a_lost_answer_is_sent_again_and_the_request_runs_once(pair: Pair) -> None:
    pair.bob_end.loses = lambda _message: len(pair.bob_end.sent) == 1
    pair.let_bob_answer()
    pair.ask()
    pair.run()
    pair.clock.now += 1.0
    pair.run()
    assert [a.payload for a in pair.answers] == [{"n": 1}]
    assert len(pair.ran) == 1
    assert (pair.bob.stats.duplicates, pair.bob.stats.answered_again) == (1, 1)


def test_a_refusal_that_was_lost_is_sent_again(pair: Pair) -> None:
    pair.bob_end.loses = lambda _message: len(pair.bob_end.sent) == 1
    pair.ask()
    pair.run()
    pair.clock.now += 1.0
    pair.run()
    assert kinds(pair.answers) == ["unhandled"]
    assert pair.bob.stats.unhandled == 1


def test_a_request_whose_every_try_is_lost_times_out_once(pair: Pair) -> None:
    pair.alice_end.loses = lambda _message: True
    pair.ask()
    for _ in range(5):
        pair.clock.now += 1.0
        pair.run()
    assert kinds(pair.answers) == ["timeout"]
    assert len(pair.alice_end.sent) == 3
    assert pair.alice.pending == 0


def test_an_answer_that_comes_while_the_request_still_runs_is_not_doubled(pair: Pair) -> None:
    pair.bob.register_handler(MessageType.TASK_REQUEST, pair.ran.append)
    pair.ask()
    pair.run()
    pair.clock.now += 1.0
    pair.run()
    assert pair.bob.stats.duplicates == 1
    pair.bob.send_task_response(pair.ran[0], {"n": 1})
    pair.run()
    assert [a.payload for a in pair.answers] == [{"n": 1}]


def test_a_receiver_that_is_not_there_yet_is_asked_again_and_told_of_at_the_last(
    pair: Pair,
) -> None:
    pair.ask("zoe")
    for _ in range(2):
        pair.run()
        assert pair.answers == []
        pair.clock.now += 1.0
    pair.run()
    assert kinds(pair.answers) == ["peer_unknown"]


def test_a_broadcast_does_not_come_back_to_its_sender(pair: Pair) -> None:
    heard: dict[str, list[AgentMessage]] = {"alice": [], "bob": []}
    pair.alice.register_handler(MessageType.STATUS_UPDATE, heard["alice"].append)
    pair.bob.register_handler(MessageType.STATUS_UPDATE, heard["bob"].append)
    pair.alice.send(BROADCAST, MessageType.STATUS_UPDATE, {"x": 1})
    pair.run()
    assert {name: len(messages) for name, messages in heard.items()} == {"alice": 0, "bob": 1}


def test_ids_of_requests_made_within_a_millisecond_differ(pair: Pair) -> None:
    assert len({pair.ask() for _ in range(500)}) == 500


def write(number: int, size: int = 0) -> tuple[AgentMessage, AgentMessage]:
    request = AgentMessage.create("alice", "bob", MessageType.TASK_REQUEST, {"n": number})
    payload = {"x": "x" * size}
    answer = AgentMessage.create(
        "bob", "alice", MessageType.TASK_RESPONSE, payload, correlation_id=request.message_id
    )
    return request, answer


def test_the_memory_of_answers_is_bounded_by_number_and_bytes() -> None:
    memory = Answers(requests=3, limit_bytes=250)
    pairs = [write(number, 80) for number in range(4)]
    for request, answer in pairs:
        assert memory.begin(request)
        memory.keep(answer)
    held = [memory.of(request) is not None for request, _ in pairs]
    assert held == [False, False, True, True]
    assert not memory.begin(pairs[1][0])  # its answer is gone, but it is not run again
    assert memory.begin(pairs[0][0])


def test_an_answer_to_nothing_that_came_is_not_kept() -> None:
    memory = Answers()
    request, answer = write(1)
    memory.keep(answer)
    assert memory.begin(request)
    assert memory.of(request) is None
