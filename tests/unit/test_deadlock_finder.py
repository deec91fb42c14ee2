"""The root's search, against processes that are only played: what they know is up to the test."""

# ruff: noqa: S311 - made-up histories

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from understudy.supervision.deadlocks import DeadlockFinder

NAMES = "abcd"
HISTORIES = int(os.environ.get("WAIT_HISTORIES", "1000"))


class World:
    """Actors `n/n`, one a node; which of their asks really last, and what was said about it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.timers: list[Any] = []
        self.finder = DeadlockFinder(
            lambda node, payload: self.sent.append((node, payload)),
            lambda _delay_s, call: self.timers.append(call),
        )
        self.lasting: set[tuple[str, int]] = set()
        self.in_flight: set[tuple[str, int]] = set()
        self.serial = 0

    def ask(self, waiter: str, target: str, what: str = "ask") -> int:
        self.serial += 1
        self.lasting.add((waiter, self.serial))
        record = {
            "corr": self.serial,
            "waiter": f"{waiter}/{waiter}",
            "targets": [f"{target}/{target}"],
            "since": float(self.serial),
            "what": what,
        }
        self.finder.wait(waiter, record)
        return self.serial

    def answer_questions(self) -> list[tuple[str, int]]:
        """Let every process answer as things are; which asks were ended."""
        ended: list[tuple[str, int]] = []
        while self.sent:
            node, payload = self.sent.pop(0)
            if payload["op"] == "fail":
                ended.append((node, payload["corr"]))
                continue
            waiting = all((node, corr) in self.lasting for corr in payload["waiting"])
            held = all(
                (peer, corr) in self.lasting and (peer, corr) not in self.in_flight
                for peer, corr, _ in payload["held"]
            )
            self.finder.confirmed(node, payload["round"], is_so=waiting and held)
        return ended

    def run_timers(self) -> None:
        timers, self.timers = self.timers, []
        for call in timers:
            call()


def test_a_ring_that_all_confirm_ends_at_its_youngest_ask() -> None:
    world = World()
    world.ask("a", "b")
    youngest = world.ask("b", "a")
    assert world.answer_questions() == [("b", youngest)]
    assert world.finder.found == 1


def test_a_ring_that_was_over_when_it_was_found_ends_nothing() -> None:
    world = World()
    first = world.ask("a", "b")
    world.lasting.discard(("a", first))  # answered; its end is still on the way to the root
    world.ask("b", "a")
    assert world.answer_questions() == []
    world.finder.unwait("a", first)
    world.run_timers()
    assert world.answer_questions() == []
    assert world.finder.found == 0


def test_an_answer_on_its_way_is_no_deadlock() -> None:
    """`b` has answered `a` and asks it now: `a` still waits, for what is in the socket already."""
    world = World()
    first = world.ask("a", "b")
    world.in_flight.add(("a", first))
    world.ask("b", "a")
    assert world.answer_questions() == []
    world.lasting.discard(("a", first))
    world.finder.unwait("a", first)
    world.run_timers()
    assert world.answer_questions() == []


def test_a_request_on_its_way_is_asked_about_again() -> None:
    world = World()
    first = world.ask("a", "b")
    world.in_flight.add(("a", first))
    youngest = world.ask("b", "a")
    assert world.answer_questions() == []
    world.in_flight.clear()
    world.run_timers()
    assert world.answer_questions() == [("b", youngest)]


def test_a_process_that_is_lost_confirms_nothing() -> None:
    world = World()
    world.ask("a", "b")
    world.ask("b", "a")
    world.sent.clear()
    world.finder.lost("a")
    world.finder.lost("b")
    world.finder.forget("a/a")
    world.run_timers()
    assert world.answer_questions() == []
    assert len(world.finder) == 1


class History:
    """A made-up history, in which words to the root come late."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.world = World()
        self.waits: dict[str, tuple[int, str]] = {}
        self.late: list[tuple[str, int]] = []

    def begin_ask(self) -> None:
        free = [name for name in NAMES if name not in self.waits]
        if free:
            waiter = self.rng.choice(free)
            target = self.rng.choice([name for name in NAMES if name != waiter])
            self.waits[waiter] = (self.world.ask(waiter, target), target)

    def answer_one(self) -> None:
        waiters = [w for w, (_, target) in self.waits.items() if target not in self.waits]
        if waiters:
            self.end(self.rng.choice(waiters))

    def end(self, waiter: str) -> None:
        corr, _ = self.waits.pop(waiter)
        self.world.lasting.discard((waiter, corr))
        self.late.append((waiter, corr))

    def hear_late_words(self, share: float) -> None:
        while self.late and self.rng.random() < share:
            self.world.finder.unwait(*self.late.pop(self.rng.randrange(len(self.late))))

    def search(self) -> None:
        self.world.run_timers()
        for waiter, corr in self.world.answer_questions():
            assert self.waits[waiter][0] == corr, f"seed {self.seed}"
            assert is_stuck(waiter, self.waits), f"seed {self.seed}"
            self.end(waiter)

    def play(self) -> None:
        steps = [self.begin_ask, self.answer_one, lambda: self.hear_late_words(0.5), self.search]
        for _ in range(100):
            self.rng.choice(steps)()


def test_in_random_histories_only_true_rings_are_ended_and_all_of_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("CRITICAL", logger="understudy")
    for seed in range(HISTORIES):
        history = History(seed)
        history.play()
        history.hear_late_words(1.1)
        for _ in NAMES:
            history.search()
        stuck = [name for name in history.waits if is_stuck(name, history.waits)]
        assert stuck == [], f"seed {seed}"


def is_stuck(name: str, waits: dict[str, tuple[int, str]]) -> bool:
    """Whether following the asks from here comes back to somebody."""
    seen: set[str] = set()
    while name in waits:
        if name in seen:
            return True
        seen.add(name)
        name = waits[name][1]
    return False
