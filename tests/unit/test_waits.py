# ruff: noqa: S311 - made-up histories

from __future__ import annotations

import os
import random

import pytest

from understudy.supervision.waits import HUMAN, Wait, WaitGraph

HISTORIES = int(os.environ.get("WAIT_HISTORIES", "20000"))


def ask(waiter: str, *targets: str, since: float = 0.0, what: str = "ask") -> Wait:
    return Wait(f"{waiter}>{'+'.join(targets)}", waiter, frozenset(targets), since, what)


def graph(*waits: Wait) -> WaitGraph:
    made = WaitGraph()
    for wait in waits:
        made.add(wait)
    return made


@pytest.mark.parametrize("size", range(2, 9))
def test_a_ring_of_independent_chains_is_found_when_it_closes(size: int) -> None:
    names = [f"actor_{i}" for i in range(size)]
    waits = [ask(a, names[(i + 1) % size], since=i) for i, a in enumerate(names)]
    for order in (waits, waits[::-1], random.Random(size).sample(waits, size)):
        made = WaitGraph()
        for wait in order[:-1]:
            made.add(wait)
            assert made.find(wait.waiter) is None
        made.add(order[-1])
        found = made.find(order[-1].waiter)
        assert found is not None
        assert found.victim == waits[-1]  # the youngest
        assert {wait.waiter for wait in found.cycle} == set(names)


def test_the_ring_is_named_in_words() -> None:
    found = graph(ask("bob", "eve", since=1), ask("eve", "bob", since=2)).find("bob")
    assert found is not None
    assert found.describe() == "eve asks bob, bob asks eve"


def test_who_only_waits_for_a_ring_is_not_its_victim() -> None:
    made = graph(ask("a", "b", since=1), ask("b", "a", since=2), ask("late", "a", since=9))
    found = made.find("late")
    assert found is not None
    assert found.victim.waiter == "b"
    assert [wait.waiter for wait in found.cycle] == ["b", "a"]


def test_any_target_that_can_go_on_frees_the_waiter() -> None:
    made = graph(ask("a", "b"), ask("b", "a", "free", what="permit"))
    assert made.find("a") is None
    made.add(ask("free", "a"))
    assert made.find("a") is not None


def test_a_ring_through_a_permit_ends_at_an_ask() -> None:
    made = graph(ask("a", "b", since=1), ask("b", "a", since=5, what="permit"))
    found = made.find("b")
    assert found is not None
    assert found.victim.waiter == "a"
    assert found.describe() == "a asks b, b waits for a permit of a"


@pytest.mark.parametrize("targets", [(HUMAN,), (HUMAN, "a"), ()])
def test_a_human_or_somebody_unknown_never_blocks(targets: tuple[str, ...]) -> None:
    assert graph(ask("a", "b"), ask("b", *targets, what="human")).find("a") is None


def test_a_wait_that_is_over_opens_the_ring() -> None:
    made = graph(ask("a", "b"), ask("b", "a"))
    made.remove("b>a")
    assert made.find("a") is None
    made.add(ask("b", "a"))
    made.forget("a")
    assert made.find("b") is None
    assert len(made) == 1


def test_who_waits_for_itself_is_a_ring() -> None:
    found = graph(ask("a", "a")).find("a")
    assert found is not None
    assert found.describe() == "a asks a"


def test_histories_without_a_ring_raise_no_alarm() -> None:
    """Each actor waits only for later ones: no ring can be, whatever the order."""
    for seed in range(HISTORIES):
        rng = random.Random(seed)
        made, names = WaitGraph(), [f"a{i}" for i in range(rng.randint(2, 12))]
        open_waits: list[str] = []
        for step in range(rng.randint(2, 30)):
            if open_waits and rng.random() < 0.4:
                made.remove(open_waits.pop(rng.randrange(len(open_waits))))
                continue
            first = rng.randrange(len(names) - 1)
            targets = rng.sample(names[first + 1 :], rng.randint(1, min(3, len(names) - first - 1)))
            made.add(Wait(str(step), names[first], frozenset(targets), step))
            open_waits.append(str(step))
            assert made.find(names[first]) is None, f"seed {seed}"


def stuck_by_reduction(waits: list[Wait]) -> set[str]:
    """Who is stuck, by another way: end any wait that can be ended, until none can."""
    left = list(waits)
    while True:
        waiting = {wait.waiter for wait in left}
        ended = [w for w in left if not w.targets or w.targets - waiting]
        if not ended:
            return waiting
        left = [wait for wait in left if wait not in ended]


def test_random_graphs_agree_with_ending_what_can_be_ended() -> None:
    for seed in range(HISTORIES // 10):
        rng = random.Random(seed)
        names = [f"a{i}" for i in range(rng.randint(2, 9))]
        waits = [
            Wait(str(i), name, frozenset(rng.sample(names, rng.randint(1, 2))), i)
            for i, name in enumerate(names)
            if rng.random() < 0.8
        ]
        stuck = stuck_by_reduction(waits)
        made = graph(*waits)
        for name in names:
            found = made.find(name)
            assert (found is not None) == (name in stuck), f"seed {seed}"
            if found is not None:
                assert found.cycle[0] == found.victim
                for wait, after in zip(
                    found.cycle, [*found.cycle[1:], found.cycle[0]], strict=True
                ):
                    assert after.waiter in wait.targets, f"seed {seed}"
