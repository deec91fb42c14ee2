# pyright: reportPrivateUsage=false
"""Requests that wait: whose time is over, and what looking for that costs."""

from __future__ import annotations

import pytest

from understudy.transport import AgentMessage, MessageType
from understudy.transport.memory import MemoryChannel
from understudy.transport.pending import Pending, PendingRequests
from understudy.transport.protocol import Agent2AgentProtocol
from understudy.transport.times import Times

MANY = 2_000


class CountedTime(float):
    """Counts how often it is compared."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        CountedTime.compared += 1
        return float(self) < float(other)

    def __le__(self, other: float) -> bool:
        CountedTime.compared += 1
        return float(self) <= float(other)

    def __gt__(self, other: float) -> bool:
        CountedTime.compared += 1
        return float(self) > float(other)

    __eq__ = float.__eq__
    __hash__ = float.__hash__


def pending(until_s: float | None, again_s: float | None = None, retries: int = 0) -> Pending:
    request = AgentMessage.create("alice", "bob", MessageType.TASK_REQUEST, {})
    return Pending(request, lambda _answer: None, until_s, again_s, 1.0, retries)


def test_those_whose_time_is_over_are_taken_once_and_the_first_to_end_first() -> None:
    requests = PendingRequests()
    waiting = [pending(3.0), pending(1.0), pending(None), pending(2.0), pending(9.0)]
    for one in waiting:
        requests.add(one)
    assert requests.next_limit_s() == 1.0
    assert requests.take_expired(3.0) == [waiting[1], waiting[3], waiting[0]]
    assert requests.take_expired(3.0) == []
    assert requests.was_answered(waiting[0].request.message_id)
    assert requests.next_limit_s() == 9.0
    assert requests.take_all() == [waiting[2], waiting[4]]
    assert requests.next_limit_s() is None


def test_one_that_was_answered_has_no_time_any_more() -> None:
    requests = PendingRequests()
    answered, left, unsent = pending(1.0, 0.5, 1), pending(2.0), pending(0.1)
    for one in (answered, left, unsent):
        requests.add(one)
    assert requests.take(answered.request.message_id) is answered
    assert requests.forget(unsent.request.message_id)
    assert requests.next_limit_s() == 2.0
    assert requests.take_due(1.0) == []
    assert requests.take_expired(5.0) == [left]


def test_one_that_is_sent_again_is_due_at_its_pauses_until_no_retry_is_left() -> None:
    requests = PendingRequests()
    one = pending(10.0, 1.0, 2)
    requests.add(one)
    due_at: list[int] = []
    for now_s in range(10):
        due_at += [now_s] * len(requests.take_due(float(now_s)))
    assert due_at == [1, 2]
    assert requests.next_limit_s() == 10.0


def test_what_many_that_wait_cost_grows_with_their_number_alone() -> None:
    requests = PendingRequests()
    waiting = [pending(CountedTime(10.0 + i * 7_919 % MANY)) for i in range(MANY)]
    for one in waiting:
        requests.add(one)
    CountedTime.compared = 0
    for one in waiting:
        requests.take_expired(1.0)
        requests.take_due(1.0)
        requests.next_limit_s()
        requests.take(one.request.message_id)
    # A look at each of them at each message would be two million.
    assert CountedTime.compared < 50 * MANY
    assert len(requests) == 0


def test_what_was_answered_is_not_kept_for_its_time() -> None:
    times = Times()
    for number in range(MANY):
        times.set(str(number), 1e9)
        times.drop(str(number))
    assert len(times._heap) < 100


def test_a_time_that_is_no_number_is_refused() -> None:
    with MemoryChannel() as bus:
        protocol = Agent2AgentProtocol("orchestrator", bus)
        with pytest.raises(ValueError, match="timeout_s"):
            protocol.send_task_request("bob", {}, timeout_s=float("nan"))
