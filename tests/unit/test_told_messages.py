"""Messages that are told are taken out in a row; nothing else may change by it."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pykka
import pytest

from understudy import Actor, MailboxSpec
from understudy.transport import DEAD_LETTERS, MemoryHub, MemoryNode
from understudy.transport.mailbox import Overflow
from understudy.transport.pykka_parts import Envelope

LIMIT_S = 10


class Ear(Actor):
    """Notes what it hears; waits at its first message until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Event()
        self.open = threading.Event()
        self.heard: list[Any] = []

    def on_receive(self, message: Any) -> Any:  # noqa: ANN401 - pykka's signature
        if message == {"say": "wait"}:
            self.arrived.set()
            assert self.open.wait(LIMIT_S)
        if message == {"say": "fail"}:
            raise ValueError("as told")
        if message == {"say": "become"}:
            self.on_receive = self.heard.append  # type: ignore[method-assign, assignment]
        if message == {"say": "control"}:
            self.actor_inbox.put_control(Envelope("control"))  # type: ignore[attr-defined]
        self.heard.append(message)
        return message


class Urgent(Ear):
    mailbox: ClassVar[MailboxSpec] = MailboxSpec(priority=lambda message: message.get("rank", 0))


class Forgetful(Ear):
    mailbox: ClassVar[MailboxSpec] = MailboxSpec(max_messages=3, overflow=Overflow.DROP_OLDEST)


class Small(Ear):
    mailbox: ClassVar[MailboxSpec] = MailboxSpec(max_messages=64, block_timeout_s=LIMIT_S)


class Narrow(Ear):
    """With room for a few messages of another node at a time."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(max_messages=8, block_timeout_s=LIMIT_S)


class Light(Ear):
    """With room for a few bytes of them."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(max_bytes=64, block_timeout_s=LIMIT_S)


Ref = pykka.ActorRef[Ear]
Held = Callable[..., tuple[Ref, Ear]]


@pytest.fixture(params=["this process", "another node"], name="held")
def _held(request: pytest.FixtureRequest) -> Iterator[Held]:
    """Starts one that is at its first message; the ref is that of a sender here, or elsewhere."""
    hub = MemoryHub()
    here, there = MemoryNode("here", hub), MemoryNode("there", hub)

    def start(actor_class: type[Ear] = Ear) -> tuple[Ref, Ear]:
        ref = actor_class.start()
        actor = ref._actor_weakref()
        assert actor is not None
        if request.param == "another node":
            ref = here.ref(there.host(ref))
        ref.tell({"say": "wait"})
        assert actor.arrived.wait(LIMIT_S)
        return ref, actor

    yield start
    here.close()
    there.close()


def until(condition: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < ends_s, "it did not come about"
        time.sleep(0.001)


def let_through(actor: Ear, waiting: int) -> None:
    """Let it through once so many messages wait."""
    box: Any = actor.actor_inbox
    until(lambda: len(box) >= waiting)
    actor.open.set()


def heard(ref: Ref, actor: Ear, waiting: int) -> list[Any]:
    """What it hears once it is let through."""
    let_through(actor, waiting)
    ref.ask("last", timeout=LIMIT_S)
    ref.stop(timeout=LIMIT_S)
    return actor.heard[1:-1]


def test_what_is_told_and_asked_in_turn_comes_in_order(held: Held) -> None:
    ref, actor = held()
    sent: list[Any] = [{"n": 0}, [1], {"n": 2}, "3", {"n": 4}, {"n": 5}]
    for number, message in enumerate(sent):
        if number % 2:
            ref.ask(message, block=False)
        else:
            ref.tell(message)
    assert heard(ref, actor, len(sent)) == sent


def test_an_answer_does_not_wait_for_what_was_told_behind_it(held: Held) -> None:
    ref, actor = held()
    future = ref.ask({"n": 1}, block=False)
    ref.tell({"say": "fail"})
    let_through(actor, 2)
    assert future.get(timeout=LIMIT_S) == {"n": 1}
    assert actor.actor_stopped.wait(LIMIT_S)


def test_a_control_message_goes_in_between(held: Held) -> None:
    ref, actor = held()
    sent = [{"n": 1}, {"say": "control"}, {"n": 2}]
    for message in sent:
        ref.tell(message)
    assert heard(ref, actor, 3) == [*sent[:2], "control", sent[2]]


def test_one_that_fails_ends_the_actor_and_the_rest_are_dead_letters(held: Held) -> None:
    ref, actor = held()
    before = DEAD_LETTERS.counts().get("stopped", 0)
    for message in ({"n": 1}, {"say": "fail"}, {"n": 2}, {"n": 3}):
        ref.tell(message)
    let_through(actor, 4)
    assert actor.actor_stopped.wait(LIMIT_S)
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("late", timeout=LIMIT_S)
    assert actor.heard == [{"say": "wait"}, {"n": 1}]
    # The actor's thread empties its mailbox after it has said that it is stopped.
    until(lambda: DEAD_LETTERS.counts().get("stopped", 0) == before + 2)


def test_a_stop_ends_the_row(held: Held) -> None:
    ref, actor = held()
    for number in range(100):
        ref.tell({"n": number})
    stopped = ref.stop(block=False)
    let_through(actor, 101)
    assert stopped.get(timeout=LIMIT_S)
    assert actor.heard == [{"say": "wait"}]


def test_an_actor_may_change_how_it_hears_in_the_row(held: Held) -> None:
    ref, actor = held()
    for message in ({"say": "become"}, {"say": "fail"}):
        ref.tell(message)
    let_through(actor, 2)
    ref.ask({"n": 1}, timeout=LIMIT_S)
    ref.stop(timeout=LIMIT_S)
    assert actor.heard[1:] == [{"say": "become"}, {"say": "fail"}, {"n": 1}]


def test_the_order_of_priorities_holds(held: Held) -> None:
    ref, actor = held(Urgent)
    for rank in (3, 1, 2):
        ref.tell({"rank": rank})
    let_through(actor, 3)
    ref.ask({"rank": 9}, timeout=LIMIT_S)
    ref.stop(timeout=LIMIT_S)
    assert [message["rank"] for message in actor.heard[1:]] == [1, 2, 3, 9]


def test_the_oldest_still_make_room(held: Held) -> None:
    ref, actor = held(Forgetful)
    for number in range(10):
        ref.tell({"n": number})
    last = ref.ask("last", block=False)
    box: Any = actor.actor_inbox
    # The question needs a place as well.
    until(lambda: box.dropped >= 8)
    let_through(actor, 3)
    assert last.get(timeout=LIMIT_S) == "last"
    assert actor.heard[1:] == [{"n": 8}, {"n": 9}, "last"]
    ref.stop(timeout=LIMIT_S)


def test_held_senders_go_on_and_lose_nothing() -> None:
    ref: pykka.ActorRef[Any] = Small.start()
    actor = ref._actor_weakref()
    assert actor is not None
    ref.tell({"say": "wait"})
    assert actor.arrived.wait(LIMIT_S)
    box: Any = actor.actor_inbox
    for number in range(64):
        ref.tell({"n": number})
    sender = threading.Thread(target=ref.tell, args=({"n": 64},), name="held")
    sender.start()
    until(lambda: box.blocked)
    actor.open.set()
    sender.join(LIMIT_S)
    assert heard(ref, actor, 0) == [{"n": number} for number in range(65)]


@pytest.mark.parametrize("actor_class", [Narrow, Light])
def test_a_sender_elsewhere_is_given_room_for_what_was_taken_in_the_row(
    actor_class: type[Ear],
) -> None:
    hub = MemoryHub()
    here, there = MemoryNode("here", hub), MemoryNode("there", hub)
    ref = here.ref(there.host(actor_class.start()))
    for number in range(200):
        ref.tell({"n": number})
    assert ref.ask({"say": "all"}, timeout=LIMIT_S) == {"say": "all"}
    ref.stop(timeout=LIMIT_S)
    here.close()
    there.close()
