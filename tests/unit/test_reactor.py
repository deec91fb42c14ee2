from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from understudy.supervision.reactor import Reactor

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 10.0


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    reactor.start()
    yield reactor
    reactor.close()


def test_calls_come_in_order_in_the_reactors_thread(reactor: Reactor) -> None:
    seen: list[tuple[int, str]] = []
    done = threading.Event()

    def note(number: int) -> None:
        seen.append((number, threading.current_thread().name))

    for number in range(3):
        reactor.call_soon(partial(note, number))
    reactor.call_soon(done.set)
    assert done.wait(LIMIT_S)
    assert seen == [(number, "understudy-reactor") for number in range(3)]


def test_timers_come_by_their_time_and_a_cancelled_one_never(reactor: Reactor) -> None:
    seen: list[str] = []
    done = threading.Event()
    reactor.call_later(1.2, done.set)
    reactor.call_later(0.9, lambda: seen.append("late"))
    reactor.call_later(0.6, lambda: seen.append("cancelled")).cancel()
    reactor.call_later(0.3, lambda: seen.append("early"))
    assert done.wait(LIMIT_S)
    assert seen == ["early", "late"]


def test_a_descriptor_is_watched_until_it_is_removed(reactor: Reactor) -> None:
    reader, writer = os.pipe()
    seen = threading.Semaphore(0)

    def read() -> None:
        os.read(reader, 1)
        seen.release()

    reactor.call_soon(lambda: reactor.add_reader(reader, read))
    for _ in range(2):
        os.write(writer, b"x")
        assert seen.acquire(timeout=LIMIT_S)
    removed = threading.Event()
    reactor.call_soon(lambda: reactor.remove_reader(reader))
    reactor.call_soon(lambda: reactor.remove_reader(reader))
    reactor.call_soon(removed.set)
    assert removed.wait(LIMIT_S)
    os.write(writer, b"x")
    assert not seen.acquire(timeout=0.05)
    os.close(reader)
    os.close(writer)


def test_a_callback_that_fails_is_logged_and_the_others_go_on(
    reactor: Reactor, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("a bad callback")

    done = threading.Event()
    reactor.call_soon(fail)
    reactor.call_soon(done.set)
    assert done.wait(LIMIT_S)
    assert "a bad callback" in caplog.text


def test_after_close_nothing_is_called(reactor: Reactor) -> None:
    reactor.close()
    reactor.close()
    called = threading.Event()
    reactor.call_soon(called.set)
    reactor.call_later(0, called.set)
    assert not called.wait(0.05)
