# pyright: reportPrivateUsage=false
from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from understudy.transport import Mailbox, MailboxClosed, MailboxFull, Overflow

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

LIMIT_S = 10.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


def drain(mailbox: Mailbox[str]) -> list[str]:
    taken: list[str] = []
    while (message := mailbox.get(0.0)) is not None:
        taken.append(message)
    return taken


def wait_for_a_waiter(condition: threading.Condition) -> None:
    """Until a thread waits on it: there is no event for that in the standard library."""
    until_s = time.monotonic() + LIMIT_S
    while not condition._waiters:  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        assert time.monotonic() < until_s, "nobody waits"
        time.sleep(0.001)


def test_messages_come_out_in_the_order_they_went_in() -> None:
    mailbox: Mailbox[str] = Mailbox()
    for message in "abc":
        mailbox.put(message)
    assert drain(mailbox) == ["a", "b", "c"]


def test_control_comes_out_first_and_in_order() -> None:
    mailbox: Mailbox[str] = Mailbox()
    mailbox.put("a")
    mailbox.put("stop", control=True)
    mailbox.put("b")
    mailbox.put("ping", control=True)
    assert drain(mailbox) == ["stop", "ping", "a", "b"]


def test_a_full_mailbox_rejects_and_says_how_full_it_is() -> None:
    mailbox: Mailbox[str] = Mailbox("bob's", max_messages=2)
    mailbox.put("a", size_bytes=10)
    mailbox.put("b", size_bytes=10)
    with pytest.raises(MailboxFull) as caught:
        mailbox.put("c", size_bytes=10)
    assert (caught.value.mailbox, caught.value.messages, caught.value.size_bytes) == (
        "bob's",
        2,
        20,
    )
    assert drain(mailbox) == ["a", "b"]


def test_a_full_mailbox_still_takes_control() -> None:
    mailbox: Mailbox[str] = Mailbox(
        max_messages=1, overflow=Overflow.BLOCK, block_timeout_s=LIMIT_S
    )
    mailbox.put("a")
    mailbox.put("stop", control=True)
    assert mailbox.get(0.0) == "stop"


def test_the_control_lane_is_bounded_too() -> None:
    mailbox: Mailbox[str] = Mailbox(max_control=1)
    mailbox.put("stop", control=True)
    with pytest.raises(MailboxFull):
        mailbox.put("ping", control=True)
    mailbox.put("a")


def test_bytes_are_bounded_and_given_back() -> None:
    mailbox: Mailbox[str] = Mailbox(max_bytes=100)
    mailbox.put("a", size_bytes=60)
    with pytest.raises(MailboxFull):
        mailbox.put("b", size_bytes=60)
    assert mailbox.get(0.0) == "a"
    mailbox.put("b", size_bytes=60)
    assert mailbox.size_bytes == 60


def test_one_message_over_the_limit_is_taken_when_it_is_alone() -> None:
    mailbox: Mailbox[str] = Mailbox(max_bytes=100)
    mailbox.put("huge", size_bytes=1000)
    with pytest.raises(MailboxFull):
        mailbox.put("a", size_bytes=1)
    assert drain(mailbox) == ["huge"]


def test_drop_oldest_makes_room_and_counts() -> None:
    mailbox: Mailbox[str] = Mailbox(max_messages=2, max_bytes=100, overflow=Overflow.DROP_OLDEST)
    for message in "abc":
        mailbox.put(message, size_bytes=10)
    mailbox.put("big", size_bytes=95)
    assert mailbox.dropped == 3
    assert drain(mailbox) == ["big"]


def test_drop_oldest_never_drops_control() -> None:
    mailbox: Mailbox[str] = Mailbox(max_messages=1, overflow=Overflow.DROP_OLDEST)
    mailbox.put("stop", control=True)
    mailbox.put("a")
    mailbox.put("b")
    assert drain(mailbox) == ["stop", "b"]


def test_a_blocked_sender_goes_on_when_there_is_room(pool: ThreadPoolExecutor) -> None:
    mailbox: Mailbox[str] = Mailbox(
        max_messages=1, overflow=Overflow.BLOCK, block_timeout_s=LIMIT_S
    )
    mailbox.put("a")
    blocked = pool.submit(mailbox.put, "b")
    wait_for_a_waiter(mailbox._emptied)
    assert mailbox.get(0.0) == "a"
    blocked.result(LIMIT_S)
    assert drain(mailbox) == ["b"]


def test_room_for_a_small_message_wakes_its_sender_though_a_large_one_waits_first(
    pool: ThreadPoolExecutor,
) -> None:
    mailbox: Mailbox[str] = Mailbox(max_bytes=100, overflow=Overflow.BLOCK, block_timeout_s=LIMIT_S)
    mailbox.put("a", size_bytes=50)
    mailbox.put("b", size_bytes=50)
    large = pool.submit(mailbox.put, "large", size_bytes=90)
    wait_for_a_waiter(mailbox._emptied)
    small = pool.submit(mailbox.put, "small", size_bytes=40)
    assert mailbox.get(0.0) == "a"
    small.result(LIMIT_S)
    assert drain(mailbox)[:2] == ["b", "small"]
    large.result(LIMIT_S)


def test_a_blocked_sender_gives_up_at_its_deadline() -> None:
    mailbox: Mailbox[str] = Mailbox(max_messages=1, overflow=Overflow.BLOCK, block_timeout_s=0.01)
    mailbox.put("a")
    with pytest.raises(MailboxFull):
        mailbox.put("b")


def test_a_receiver_waits_for_a_message(pool: ThreadPoolExecutor) -> None:
    mailbox: Mailbox[str] = Mailbox()
    waiting = pool.submit(mailbox.get, LIMIT_S)
    wait_for_a_waiter(mailbox._filled)
    mailbox.put("a")
    assert waiting.result(LIMIT_S) == "a"


def test_an_empty_mailbox_gives_none_when_the_time_is_over() -> None:
    assert Mailbox[str]().get(0.0) is None
    assert Mailbox[str]().get(0.01) is None


def test_a_closed_mailbox_gives_out_what_it_has_then_raises() -> None:
    mailbox: Mailbox[str] = Mailbox()
    mailbox.put("a")
    mailbox.close()
    with pytest.raises(MailboxClosed):
        mailbox.put("b")
    with pytest.raises(MailboxClosed):
        mailbox.put("stop", control=True)
    assert mailbox.get() == "a"
    with pytest.raises(MailboxClosed):
        mailbox.get()


def test_a_mailbox_closed_with_discard_is_empty() -> None:
    mailbox: Mailbox[str] = Mailbox()
    mailbox.put("a", size_bytes=5)
    mailbox.close(discard=True)
    assert (len(mailbox), mailbox.size_bytes) == (0, 0)
    with pytest.raises(MailboxClosed):
        mailbox.get()


def test_closing_wakes_everybody_who_waits(pool: ThreadPoolExecutor) -> None:
    empty: Mailbox[str] = Mailbox()
    full: Mailbox[str] = Mailbox(max_messages=1, overflow=Overflow.BLOCK, block_timeout_s=LIMIT_S)
    full.put("a")
    receivers = [pool.submit(empty.get) for _ in range(2)]
    sender = pool.submit(full.put, "b")
    wait_for_a_waiter(empty._filled)
    wait_for_a_waiter(full._emptied)
    empty.close()
    full.close()
    for receiver in receivers:
        with pytest.raises(MailboxClosed):
            receiver.result(LIMIT_S)
    with pytest.raises(MailboxClosed):
        sender.result(LIMIT_S)


def test_a_mailbox_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Mailbox[str](max_messages=0)


def test_nothing_is_lost_or_doubled_between_threads(pool: ThreadPoolExecutor) -> None:
    mailbox: Mailbox[str] = Mailbox(
        max_messages=5, overflow=Overflow.BLOCK, block_timeout_s=LIMIT_S
    )

    def send(name: str) -> None:
        for number in range(200):
            mailbox.put(f"{name}{number}")

    senders = [pool.submit(send, name) for name in "abc"]
    got = [mailbox.get(LIMIT_S) for _ in range(600)]
    for sender in senders:
        sender.result(LIMIT_S)
    for name in "abc":
        own = [message for message in got if message and message.startswith(name)]
        assert own == [f"{name}{number}" for number in range(200)]
    assert len(mailbox) == 0
