"""Messages that are told within a process are taken out in a row; nothing else may change by it."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

import pykka
import pytest

from understudy import Actor, MailboxSpec
from understudy.transport import DEAD_LETTERS
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


def held(actor_class: type[Ear] = Ear) -> tuple[pykka.ActorRef[Ear], Ear]:
    """One that is at its first message."""
    ref = actor_class.start()
    actor = ref._actor_weakref()
    assert actor is not None
    ref.tell({"say": "wait"})
    assert actor.arrived.wait(LIMIT_S)
    return ref, actor


def heard(ref: pykka.ActorRef[Ear], actor: Ear) -> list[Any]:
    """What it hears once it is let through."""
    actor.open.set()
    ref.ask("last", timeout=LIMIT_S)
    ref.stop(timeout=LIMIT_S)
    return actor.heard[1:-1]


def test_what_is_told_and_asked_in_turn_comes_in_order() -> None:
    ref, actor = held()
    sent: list[Any] = [{"n": 0}, [1], {"n": 2}, "3", {"n": 4}, {"n": 5}]
    for number, message in enumerate(sent):
        if number % 2:
            ref.ask(message, block=False)
        else:
            ref.tell(message)
    assert heard(ref, actor) == sent


def test_an_answer_does_not_wait_for_what_was_told_behind_it() -> None:
    ref, actor = held()
    future = ref.ask({"n": 1}, block=False)
    ref.tell({"say": "fail"})
    actor.open.set()
    assert future.get(timeout=LIMIT_S) == {"n": 1}
    assert actor.actor_stopped.wait(LIMIT_S)


def test_a_control_message_goes_in_between() -> None:
    ref, actor = held()
    sent = [{"n": 1}, {"say": "control"}, {"n": 2}]
    for message in sent:
        ref.tell(message)
    assert heard(ref, actor) == [*sent[:2], "control", sent[2]]


def test_one_that_fails_ends_the_actor_and_the_rest_are_dead_letters() -> None:
    before = DEAD_LETTERS.counts().get("stopped", 0)
    ref, actor = held()
    for message in ({"n": 1}, {"say": "fail"}, {"n": 2}, {"n": 3}):
        ref.tell(message)
    actor.open.set()
    assert actor.actor_stopped.wait(LIMIT_S)
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("late", timeout=LIMIT_S)
    assert actor.heard == [{"say": "wait"}, {"n": 1}]
    # The actor's thread empties its mailbox after it has said that it is stopped.
    ends = time.monotonic() + LIMIT_S
    while (count := DEAD_LETTERS.counts()["stopped"]) < before + 2 and time.monotonic() < ends:
        time.sleep(0.01)
    assert count == before + 2


def test_a_stop_ends_the_row() -> None:
    ref, actor = held()
    for number in range(100):
        ref.tell({"n": number})
    stopped = ref.stop(block=False)
    actor.open.set()
    assert stopped.get(timeout=LIMIT_S)
    assert actor.heard == [{"say": "wait"}]


def test_an_actor_may_change_how_it_hears_in_the_row() -> None:
    ref, actor = held()
    for message in ({"say": "become"}, {"say": "fail"}):
        ref.tell(message)
    actor.open.set()
    ref.ask({"n": 1}, timeout=LIMIT_S)
    ref.stop(timeout=LIMIT_S)
    assert actor.heard[1:] == [{"say": "become"}, {"say": "fail"}, {"n": 1}]


def test_the_order_of_priorities_holds() -> None:
    ref, actor = held(Urgent)
    for rank in (3, 1, 2):
        ref.tell({"rank": rank})
    actor.open.set()
    ref.ask({"rank": 9}, timeout=LIMIT_S)
    ref.stop(timeout=LIMIT_S)
    assert [message["rank"] for message in actor.heard[1:]] == [1, 2, 3, 9]


def test_the_oldest_still_make_room() -> None:
    ref, actor = held(Forgetful)
    for number in range(10):
        ref.tell({"n": number})
    # The question needs a place as well.
    assert heard(ref, actor) == [{"n": 8}, {"n": 9}]


def test_held_senders_go_on_and_lose_nothing() -> None:
    ref, actor = held(Small)
    box: Any = actor.actor_inbox
    for number in range(64):
        ref.tell({"n": number})
    sender = threading.Thread(target=ref.tell, args=({"n": 64},), name="held")
    sender.start()
    while not box.blocked:
        sender.join(0.001)
    actor.open.set()
    sender.join(LIMIT_S)
    assert heard(ref, actor) == [{"n": number} for number in range(65)]
