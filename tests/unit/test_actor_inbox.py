# pyright: reportPrivateUsage=false, reportUnknownLambdaType=false
# A fault test looks at what is inside; pykka types what a future holds as unknown.
from __future__ import annotations

import random
import threading
import time
from typing import Any

import pykka
import pytest

from understudy.transport import ActorInbox, DeadLetters, MailboxActor, MailboxFull, MailboxSpec
from understudy.transport.adopt import adopt
from understudy.transport.mailbox import Overflow
from understudy.transport.pykka_parts import ActorStop, Envelope


def inbox(**spec: Any) -> ActorInbox:
    return ActorInbox(MailboxSpec(**spec), dead_letters=DeadLetters())


def taken(box: ActorInbox) -> list[object]:
    return [box.get().message for _ in range(len(box))]


class Gate(MailboxActor):
    """Waits at its first message until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.arrived = threading.Event()
        self.got: list[object] = []

    def on_receive(self, message: Any) -> Any:
        if message == "wait":
            self.arrived.set()
            assert self.open.wait(10)
        if message == "exit":
            raise SystemExit(3)
        self.got.append(message)
        return message


def started(actor_class: type[Gate] = Gate) -> tuple[pykka.ActorRef[Gate], Gate]:
    ref = actor_class.start()
    actor = ref._actor_weakref()
    assert actor is not None
    return ref, actor


def test_messages_come_out_in_order() -> None:
    box = inbox()
    for number in range(100):
        box.put(Envelope(number))
    assert taken(box) == list(range(100))


@pytest.mark.parametrize(
    "message", [None, {}, "text", [1, 2, 3, 4, 5, 6, 7], (1,), Envelope("inner"), ActorStop]
)
def test_what_is_told_comes_out_as_it_is_whatever_its_class(message: object) -> None:
    box = inbox()
    box.tell(message)
    taken_out = box.get()
    assert taken_out.message is message
    assert taken_out.reply_to is None


def test_what_is_told_and_what_is_asked_keep_their_order() -> None:
    box = inbox()
    for number in range(10):
        if number % 2:
            box.tell(number)
        else:
            box.put(Envelope(number))
    assert taken(box) == list(range(10))


def test_a_stop_that_is_told_goes_out_first() -> None:
    box = inbox()
    box.tell("waits")
    stop = ActorStop()
    box.tell(stop)
    assert taken(box) == [stop, "waits"]


def test_told_messages_count_against_the_bounds_and_become_dead_letters() -> None:
    letters = DeadLetters()
    box = ActorInbox(
        MailboxSpec(max_messages=1, overflow=Overflow.DROP_OLDEST), dead_letters=letters
    )
    box.tell("old")
    box.tell("new")
    assert taken(box) == ["new"]
    assert [letter.message for letter in letters.letters()] == ["old"]
    refusing = inbox(max_messages=1, overflow=Overflow.REJECT)
    refusing.tell("first")
    with pytest.raises(MailboxFull):
        refusing.tell("second")


def test_nothing_can_be_told_to_an_actor_that_has_stopped() -> None:
    ref, _ = started()
    ref.stop()
    with pytest.raises(pykka.ActorDeadError, match="not found"):
        ref.tell("late")


def test_a_full_mailbox_refuses_at_once() -> None:
    box = inbox(max_messages=2, overflow=Overflow.REJECT)
    box.put(Envelope(1))
    box.put(Envelope(2))
    with pytest.raises(MailboxFull):
        box.put(Envelope(3))
    assert taken(box) == [1, 2]


def test_a_policy_may_be_given_by_its_word_and_no_other() -> None:
    assert MailboxSpec(overflow="reject").overflow is Overflow.REJECT  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'rejects' is not a valid Overflow"):
        MailboxSpec(overflow="rejects")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("max_messages", 1.5, TypeError),
        ("max_messages", True, TypeError),
        ("max_bytes", "1", TypeError),
        ("block_timeout_s", None, TypeError),
        ("block_timeout_s", float("nan"), ValueError),
        ("block_timeout_s", -1, ValueError),
        ("priority", 3, TypeError),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused_by_name(
    field: str, value: object, error: type[Exception]
) -> None:
    fields: dict[str, Any] = {field: value}
    with pytest.raises(error, match=f"{field} must be "):
        MailboxSpec(**fields)


def test_a_full_mailbox_holds_its_senders_until_their_time_is_over() -> None:
    box = inbox(max_messages=1, block_timeout_s=0.05)
    box.put(Envelope(1))
    before = time.monotonic()
    with pytest.raises(MailboxFull):
        box.put(Envelope(2))
    assert time.monotonic() - before >= 0.05


def test_a_held_sender_goes_on_when_there_is_room() -> None:
    box = inbox(max_messages=1, block_timeout_s=10)
    box.put(Envelope(1))
    sender = threading.Thread(target=lambda: box.put(Envelope(2)), daemon=True)
    sender.start()
    while not box.blocked:
        time.sleep(0.001)
    assert box.get().message == 1
    assert box.get().message == 2
    sender.join(5)
    assert not sender.is_alive()


def test_held_senders_are_called_once_however_long_they_take_to_come() -> None:
    box = inbox(max_messages=8)
    for number in range(8):
        box.tell(number)
    calls: list[int] = []
    box._room.notify_all = lambda: calls.append(len(box))  # type: ignore[method-assign]
    box.blocked = True
    assert taken(box) == list(range(8))
    assert calls == [7]


def test_the_oldest_make_room_and_are_counted_dead_letters() -> None:
    letters = DeadLetters()
    box = ActorInbox(
        MailboxSpec(max_messages=3, overflow=Overflow.DROP_OLDEST), dead_letters=letters
    )
    for number in range(10):
        box.put(Envelope(number))
    assert taken(box) == [7, 8, 9]
    assert box.dropped == 7
    assert letters.counts() == {"dropped": 7}


def test_the_asker_of_a_dropped_request_is_told() -> None:
    box = inbox(max_messages=1, overflow=Overflow.DROP_OLDEST)
    future = pykka.ThreadingFuture[Any]()
    box.put(Envelope(1, future))
    box.put(Envelope(2))
    with pytest.raises(MailboxFull):
        future.get(timeout=0)


def test_priority_goes_first_and_equals_stay_in_order() -> None:
    box = inbox(priority=lambda message: message[0])
    numbers = random.Random(7)  # noqa: S311 - the same each time, no secret
    messages = [(numbers.randrange(4), i) for i in range(200)]
    for message in messages:
        box.put(Envelope(message))
    assert taken(box) == sorted(messages)


def test_control_and_stop_overtake_what_waits() -> None:
    box = inbox()
    box.put(Envelope("a"))
    box.put_control(Envelope("control"))
    box.put(Envelope(ActorStop()))
    assert taken(box) == ["control", ActorStop(), "a"]


def test_a_stop_keeps_its_place_where_the_spec_says_so() -> None:
    box = inbox(stop_first=False)
    box.put(Envelope("a"))
    box.put(Envelope(ActorStop()))
    assert taken(box) == ["a", ActorStop()]


def test_an_actor_with_a_full_mailbox_does_not_wait_for_itself() -> None:
    class Selfish(MailboxActor):
        mailbox = MailboxSpec(max_messages=1, block_timeout_s=60)

        def on_receive(self, message: Any) -> Any:
            self.actor_ref.tell(1)
            try:
                self.actor_ref.tell(2)
            except MailboxFull:
                return "full"
            return message

    ref = Selfish.start()
    assert ref.ask("go", timeout=5) == "full"
    ref.stop()


class Neighbour(MailboxActor):
    """Fills the other's mailbox, then asks it, while that one does the same."""

    mailbox = MailboxSpec(max_messages=1, block_timeout_s=0.2)

    def on_receive(self, message: Any) -> Any:
        if message == "hello":
            return "answered"
        other, both = message
        both.wait(5)
        other.tell("hello")
        both.wait(5)
        try:
            return other.ask("hello", timeout=5)
        except MailboxFull:
            return "full"


def test_two_that_ask_each_other_over_full_mailboxes_do_not_wait_for_ever() -> None:
    one, two = Neighbour.start(), Neighbour.start()
    both = threading.Barrier(2)
    futures = [one.ask((two, both), block=False), two.ask((one, both), block=False)]
    answers = [future.get(timeout=10) for future in futures]
    # Once the first has given up, there may be room for the other.
    assert "full" in answers
    assert set(answers) <= {"full", "answered"}
    one.stop()
    two.stop()


def test_a_request_that_ends_in_a_base_exception_is_answered() -> None:
    other, _ = started()
    ref, _ = started()
    with pytest.raises(pykka.ActorDeadError, match="SystemExit"):
        ref.ask("exit", timeout=5)
    assert ref.actor_stopped.wait(5)
    assert other.actor_stopped.wait(5)  # pykka stops all others then


def test_a_future_that_somebody_else_set_does_not_kill_the_actor() -> None:
    ref, actor = started()
    first = ref.ask("wait", block=False)
    assert actor.arrived.wait(5)
    first.set("early")
    actor.open.set()
    assert first.get(timeout=5) == "early"
    assert ref.ask("next", timeout=5) == "next"
    ref.stop()


def test_what_is_put_after_the_last_look_is_answered() -> None:
    ref, actor = started()
    ref.stop()
    box = actor.actor_inbox
    assert isinstance(box, ActorInbox)
    while not box._is_closed:
        time.sleep(0.001)
    late = pykka.ThreadingFuture[Any]()
    box.put(Envelope("late", late))
    with pytest.raises(pykka.ActorDeadError):
        late.get(timeout=1)
    stop = pykka.ThreadingFuture[Any]()
    box.put(Envelope(ActorStop(), stop))
    assert stop.get(timeout=1) is None


def test_a_stop_is_served_before_a_hundred_thousand_messages() -> None:
    class Roomy(Gate):
        mailbox = MailboxSpec(max_messages=200_000)

    ref, actor = started(Roomy)
    ref.tell("wait")
    assert actor.arrived.wait(5)
    for number in range(100_000):
        ref.tell(number)
    stopping = ref.stop(block=False)
    actor.open.set()
    assert stopping.get(timeout=5)
    assert actor.got == ["wait"]


class Plain(pykka.ThreadingActor):
    use_daemon_thread = True

    def __init__(self) -> None:
        super().__init__()
        self.got: list[object] = []

    def on_receive(self, message: Any) -> Any:
        self.got.append(message)
        return message


def test_a_plain_actor_that_runs_gets_our_mailbox_and_loses_nothing() -> None:
    ref = Plain.start()
    old: Any = ref.actor_inbox
    assert hasattr(old, "mutex")
    sent = threading.Event()

    def send() -> None:
        for number in range(5_000):
            old.put(Envelope(number))  # as one who has hold of the old mailbox does
            if number == 1_000:
                sent.set()

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    assert sent.wait(5)
    box = adopt(ref)
    sender.join(5)
    assert ref.actor_inbox is box
    assert ref.ask("last", timeout=5) == "last"
    actor = ref._actor_weakref()
    assert actor is not None
    assert actor.got == [*range(5_000), "last"]
    assert ref.stop(timeout=5)
    assert not ref.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("gone")


def test_many_senders_lose_nothing_and_each_stays_in_order() -> None:
    ref, actor = started()

    def send(sender: int) -> None:
        for number in range(2_000):
            ref.tell((sender, number))

    senders = [threading.Thread(target=send, args=(n,), daemon=True) for n in range(4)]
    for thread in senders:
        thread.start()
    for thread in senders:
        thread.join(20)
    assert ref.ask("last", timeout=20) == "last"
    for sender in range(4):
        expected: list[object] = [(sender, number) for number in range(2_000)]
        assert [message for message in actor.got if message in set(expected)] == expected
    ref.stop()
