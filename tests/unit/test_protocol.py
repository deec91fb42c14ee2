from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from understudy.transport import (
    Agent2AgentProtocol,
    AgentMessage,
    ChannelClosed,
    EncodeError,
    MemoryChannel,
    MessageType,
    PeerUnknown,
    ProtocolStats,
)
from understudy.transport.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT_S = 10.0
Answers = list[AgentMessage]


class Clock:
    """A time that a test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Pair:
    """Two agents on a bus in memory: alice asks, bob answers."""

    def __init__(self) -> None:
        self.epoch, self.monotonic = Clock(1_000.0), Clock(5.0)
        self.bus = MemoryChannel()
        self.alice_channel = MemoryChannel(self.bus, name="alice")
        self.bob_channel = MemoryChannel(self.bus, name="bob", incarnation=2)
        self.alice = self.protocol("alice", self.alice_channel)
        self.bob = self.protocol("bob", self.bob_channel, incarnation=2)

    def protocol(
        self, name: str, channel: MemoryChannel, incarnation: int = 0, retry_count: int = 0
    ) -> Agent2AgentProtocol:
        return Agent2AgentProtocol(
            name,
            channel,
            incarnation=incarnation,
            retry_count=retry_count,
            clock=self.epoch,
            monotonic=self.monotonic,
        )

    def pass_time(self, seconds: float) -> None:
        self.epoch.now += seconds
        self.monotonic.now += seconds

    def run(self) -> None:
        """Let both handle what is there."""
        while self.bob.process_messages(0.0) or self.alice.process_messages(0.0):
            pass

    def let_bob(self, handle: Callable[[AgentMessage], None]) -> None:
        self.bob.register_handler(MessageType.TASK_REQUEST, handle)

    def let_bob_answer(self, result: dict[str, Any]) -> None:
        self.let_bob(lambda request: self.bob.send_task_response(request, result))


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.bus.close()


def kinds(answers: Answers) -> list[str]:
    return [answer.payload.get("kind", "") for answer in answers]


def test_a_request_gets_its_response_by_callback(pair: Pair) -> None:
    answers: Answers = []
    pair.let_bob_answer({"done": True})
    request_id = pair.alice.send_task_request("bob", {"what": "it"}, answers.append)
    assert pair.alice.pending == 1
    pair.run()
    assert [answer.payload for answer in answers] == [{"done": True}]
    assert answers[0].correlation_id == request_id
    assert answers[0].message_type is MessageType.TASK_RESPONSE
    assert answers[0].incarnation == 2
    assert pair.alice.pending == 0


def test_a_handler_gets_the_request_with_its_deadline(pair: Pair) -> None:
    requests: Answers = []
    pair.let_bob(requests.append)
    pair.alice.send_task_request("bob", {"n": 1}, timeout_s=30.0)
    pair.alice.send_task_request("bob", {"n": 2})
    pair.run()
    assert [request.deadline for request in requests] == [1_030.0, None]
    assert [request.payload for request in requests] == [{"n": 1}, {"n": 2}]


def test_an_answer_carries_the_task_and_trace_of_its_request(pair: Pair) -> None:
    request = AgentMessage.create(
        "alice",
        "bob",
        MessageType.TASK_REQUEST,
        {},
        task_id="t",
        context_id="c",
        traceparent="00-ab-cd-01",
    )
    pair.bob.send_task_response(request, {})
    answer = pair.alice_channel.receive(0.0)
    assert answer is not None
    assert (answer.task_id, answer.context_id, answer.traceparent) == ("t", "c", "00-ab-cd-01")


def test_messages_of_other_types_go_to_their_handlers(pair: Pair) -> None:
    got: Answers = []
    pair.alice.register_handler(MessageType.STATUS_UPDATE, got.append)
    message_id = pair.bob.send("alice", MessageType.STATUS_UPDATE, {"x": 1}, correlation_id="m0")
    pair.run()
    assert [(m.message_id, m.correlation_id, m.sender_id) for m in got] == [
        (message_id, "m0", "bob")
    ]


def test_at_most_one_message_is_handled_at_a_time(pair: Pair) -> None:
    got: Answers = []
    pair.alice.register_handler(MessageType.STATUS_UPDATE, got.append)
    for _ in range(2):
        pair.bob.send("alice", MessageType.STATUS_UPDATE, {})
    assert pair.alice.process_messages(0.0)
    assert len(got) == 1
    assert pair.alice.process_messages(0.0)
    assert not pair.alice.process_messages(0.0)


def test_a_request_to_nobody_gets_the_error_by_callback(pair: Pair) -> None:
    answers: Answers = []
    pair.alice.send_task_request("zoe", {}, answers.append)
    pair.run()
    assert kinds(answers) == ["peer_unknown"]


def test_a_request_without_an_answer_times_out_once(pair: Pair) -> None:
    answers: Answers = []
    pair.let_bob(lambda _request: None)
    request_id = pair.alice.send_task_request("bob", {}, answers.append, timeout_s=2.0)
    pair.run()
    pair.pass_time(1.9)
    assert not pair.alice.process_messages(0.0)
    assert answers == []
    pair.pass_time(0.2)
    assert pair.alice.process_messages(0.0)
    assert not pair.alice.process_messages(0.0)
    assert kinds(answers) == ["timeout"]
    assert answers[0].correlation_id == request_id
    assert (answers[0].sender_id, answers[0].receiver_id) == ("bob", "alice")


def test_a_jump_of_the_wall_clock_times_nothing_out(pair: Pair) -> None:
    answers: Answers = []
    pair.let_bob(lambda _request: None)
    pair.alice.send_task_request("bob", {}, answers.append, timeout_s=2.0)
    pair.run()
    pair.epoch.now += 1e6
    assert not pair.alice.process_messages(0.0)
    assert answers == []


def test_waiting_for_a_message_ends_in_time_for_the_next_time_limit() -> None:
    with MemoryChannel() as bus, MemoryChannel(bus, name="bob"):
        protocol, answers = Agent2AgentProtocol("orchestrator", bus), Answers()
        protocol.send_task_request("bob", {}, answers.append, timeout_s=0.02)
        start_s = time.monotonic()
        assert protocol.process_messages(LIMIT_S)
        assert kinds(answers) == ["timeout"]
        assert time.monotonic() - start_s < LIMIT_S / 2


def test_a_late_answer_is_counted_and_dropped(pair: Pair) -> None:
    answers: Answers = []
    requests: Answers = []
    responses: Answers = []
    pair.alice.register_handler(MessageType.TASK_RESPONSE, responses.append)
    pair.let_bob(requests.append)
    pair.alice.send_task_request("bob", {}, answers.append, timeout_s=2.0)
    pair.run()
    pair.pass_time(3.0)
    pair.run()
    pair.bob.send_task_response(requests[0], {"too": "late"})
    pair.run()
    assert kinds(answers) == ["timeout"]
    assert responses == []
    assert pair.alice.stats == ProtocolStats(late=1)


def test_a_second_answer_is_counted_and_dropped(pair: Pair) -> None:
    answers: Answers = []

    def answer_twice(request: AgentMessage) -> None:
        pair.bob.send_task_response(request, {"n": 1})
        pair.bob.send_task_response(request, {"n": 2})

    pair.let_bob(answer_twice)
    pair.alice.send_task_request("bob", {}, answers.append)
    pair.run()
    assert [answer.payload for answer in answers] == [{"n": 1}]
    assert pair.alice.stats == ProtocolStats(late=1)


def test_an_answer_to_a_request_without_a_callback_goes_to_the_handler(pair: Pair) -> None:
    got: Answers = []
    pair.alice.register_handler(MessageType.TASK_RESPONSE, got.append)
    pair.let_bob_answer({"n": 1})
    pair.alice.send_task_request("bob", {})
    pair.run()
    assert [message.payload for message in got] == [{"n": 1}]


def test_a_request_that_comes_twice_is_handled_once(pair: Pair) -> None:
    requests: Answers = []
    pair.let_bob(requests.append)
    request = AgentMessage.create("alice", "bob", MessageType.TASK_REQUEST, {})
    pair.alice_channel.send(request)
    pair.alice_channel.send(request)
    pair.run()
    assert len(requests) == 1
    assert pair.bob.stats == ProtocolStats(duplicates=1)


def test_an_expired_request_is_not_started_and_its_sender_told(pair: Pair) -> None:
    requests: Answers = []
    pair.let_bob(requests.append)
    pair.alice.send_task_request("bob", {}, timeout_s=2.0)
    pair.pass_time(3.0)
    assert pair.bob.process_messages(0.0)
    assert requests == []
    assert pair.bob.stats == ProtocolStats(expired=1)
    reply = pair.alice_channel.receive(0.0)
    assert reply is not None
    assert (reply.payload["kind"], reply.incarnation) == ("expired", 2)


def test_a_handler_that_raises_is_logged_and_the_asker_told(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    answers: Answers = []

    def fail(_request: AgentMessage) -> None:
        raise RuntimeError("broken handler")

    pair.let_bob(fail)
    pair.alice.send_task_request("bob", {}, answers.append)
    pair.run()
    assert kinds(answers) == ["handler_failed"]
    assert pair.bob.stats == ProtocolStats(failed=1)
    assert "broken handler" in caplog.text


def test_a_callback_that_raises_is_logged_and_not_called_again(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    calls: Answers = []

    def fail(answer: AgentMessage) -> None:
        calls.append(answer)
        raise RuntimeError("broken callback")

    pair.let_bob_answer({})
    pair.alice.send_task_request("bob", {}, fail)
    pair.run()
    assert len(calls) == 1
    assert pair.alice.stats == ProtocolStats(failed=1)
    assert "broken callback" in caplog.text


def test_an_agent_that_takes_no_requests_says_so(pair: Pair) -> None:
    answers: Answers = []
    pair.alice.send_task_request("bob", {}, answers.append)
    pair.run()
    assert kinds(answers) == ["unhandled"]
    assert pair.bob.stats == ProtocolStats(unhandled=1)


def test_a_message_without_a_handler_is_counted(pair: Pair) -> None:
    pair.bob.send("alice", MessageType.STATUS_UPDATE, {})
    pair.run()
    assert pair.alice.stats == ProtocolStats(unhandled=1)


def test_what_comes_from_an_older_incarnation_is_dropped_and_counted(pair: Pair) -> None:
    got: Answers = []
    pair.alice.register_handler(MessageType.STATUS_UPDATE, got.append)
    for incarnation in (3, 2, 2, 3, 0):
        message = AgentMessage.create(
            "carol",
            "alice",
            MessageType.STATUS_UPDATE,
            {"n": incarnation},
            incarnation=incarnation,
        )
        pair.bob_channel.send(message)
    pair.run()
    assert [message.payload["n"] for message in got] == [3, 3, 0]
    assert pair.alice.stats == ProtocolStats(stale=2)


def test_closing_tells_everybody_who_waits_once(pair: Pair) -> None:
    answers: Answers = []
    for _ in range(2):
        pair.alice.send_task_request("bob", {}, answers.append)
    pair.alice.close()
    pair.alice.close()
    assert kinds(answers) == ["closed", "closed"]
    assert pair.alice_channel.is_running
    with pytest.raises(ChannelClosed):
        pair.alice.send_task_request("bob", {}, answers.append)
    assert pair.alice.pending == 0


def test_when_the_channel_closes_everybody_who_waits_is_told(pair: Pair) -> None:
    answers: Answers = []
    pair.alice.send_task_request("bob", {}, answers.append)
    pair.bus.close()
    with pytest.raises(ChannelClosed):
        pair.alice.process_messages(0.0)
    assert kinds(answers) == ["closed"]


@pytest.mark.parametrize(
    ("receiver", "task", "error"),
    [("zoe", {}, PeerUnknown), ("bob", {"x": object()}, EncodeError)],
)
def test_a_request_that_cannot_be_sent_raises_and_waits_for_nothing(
    pair: Pair, receiver: str, task: dict[str, Any], error: type[Exception]
) -> None:
    answers: Answers = []
    protocol = pair.protocol("orchestrator", pair.bus)
    with pytest.raises(error):
        protocol.send_task_request(receiver, task, answers.append)
    assert protocol.pending == 0
    protocol.close()
    assert answers == []


def test_a_request_that_fails_as_the_protocol_closes_is_told_in_one_way_only() -> None:
    class ClosedWhileSending:
        def __init__(self) -> None:
            self.protocol = Agent2AgentProtocol("alice", self)

        def send(self, message: AgentMessage) -> None:  # noqa: ARG002 - a channel's shape
            self.protocol.close()
            raise ChannelClosed("bus", "closed by another thread")

        def receive(self, timeout: float | None = None) -> None:
            """Nothing comes."""

        def close(self) -> None:
            """Nothing to close."""

    answers: Answers = []
    ClosedWhileSending().protocol.send_task_request("bob", {}, answers.append)
    assert kinds(answers) == ["closed"]


def test_a_handler_may_send_and_ask_itself(pair: Pair) -> None:
    answers: Answers = []
    pair.alice.register_handler(
        MessageType.TASK_REQUEST, lambda request: pair.alice.send_task_response(request, {"n": 1})
    )
    pair.let_bob(lambda _request: ignore(pair.bob.send_task_request("alice", {}, answers.append)))
    pair.alice.send_task_request("bob", {})
    pair.run()
    assert [answer.payload for answer in answers] == [{"n": 1}]


def ignore(_value: object) -> None:
    """A lambda's result that nobody needs."""


def test_callbacks_of_many_threads_are_each_called_once(pair: Pair) -> None:
    answers: Answers = []
    everything_came = threading.Event()

    def on_answer(answer: AgentMessage) -> None:
        answers.append(answer)
        if len(answers) == 400:
            everything_came.set()

    def pump(protocol: Agent2AgentProtocol) -> None:
        while not everything_came.is_set():
            protocol.process_messages(0.01)

    def ask() -> set[str]:
        return {pair.alice.send_task_request("bob", {}, on_answer) for _ in range(100)}

    pair.let_bob_answer({})
    with ThreadPoolExecutor(8) as pool:
        pumps = [pool.submit(pump, p) for p in (pair.alice, pair.alice, pair.bob, pair.bob)]
        asked = [future.result(LIMIT_S) for future in [pool.submit(ask) for _ in range(4)]]
        assert everything_came.wait(LIMIT_S)
        for future in pumps:
            future.result(LIMIT_S)
    assert sorted(answer.correlation_id or "" for answer in answers) == sorted(
        request_id for ids in asked for request_id in ids
    )


def test_a_window_forgets_its_oldest_member() -> None:
    window: Window[int] = Window(2)
    assert [window.add(member) for member in (1, 2, 1, 3)] == [True, True, False, True]
    assert [member in window for member in (1, 2, 3)] == [False, True, True]
