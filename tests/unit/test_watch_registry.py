from __future__ import annotations

import random

from understudy.supervision.events import ExitReason
from understudy.supervision.watch import Death, WatchRegistry


def death(target: str, incarnation: int = 1) -> Death:
    return Death(target, incarnation, ExitReason("killed", signal=9))


def test_each_watch_is_told_once_in_the_order_of_the_watches() -> None:
    registry = WatchRegistry()
    for watcher in ("b", "a", "b"):
        assert registry.watch(watcher, "n/x") is None
    assert registry.died(death("n/x")) == ["b", "a"]
    assert registry.died(death("n/x")) == []


def test_watching_the_dead_says_how_it_ended_and_watches_nothing() -> None:
    registry = WatchRegistry()
    registry.died(death("n/x", 3))
    assert registry.watch("a", "n/x") == death("n/x", 3)
    assert not registry.is_watched("n/x")


def test_a_new_incarnation_makes_the_old_death_forgotten() -> None:
    registry = WatchRegistry()
    registry.died(death("n/x", 1))
    registry.started("n/x")
    assert registry.watch("a", "n/x") is None
    assert registry.died(death("n/x", 2)) == ["a"]


def test_who_does_not_watch_any_more_is_not_told() -> None:
    registry = WatchRegistry()
    registry.watch("a", "n/x")
    registry.watch("b", "n/x")
    registry.unwatch("a", "n/x")
    registry.unwatch("a", "n/unknown")
    assert registry.died(death("n/x")) == ["b"]


def test_the_watched_actors_of_a_node_are_known() -> None:
    registry = WatchRegistry()
    registry.watch("a", "n/x")
    registry.watch("a", "m/y")
    assert registry.watched("n") == ["n/x"]
    assert registry.is_watched("m/y")


def test_the_watches_of_a_process_that_is_gone_are_forgotten() -> None:
    registry = WatchRegistry()
    for watcher in ("n:1", "n.2:1", "n:2"):
        registry.watch(watcher, "m/x")
    registry.watch("n:3", "m/y")
    registry.forget("n")
    assert registry.died(death("m/x")) == ["n.2:1"]
    assert not registry.is_watched("m/y")


def test_only_so_many_deaths_are_remembered() -> None:
    registry = WatchRegistry(remembered=2)
    for name in ("n/1", "n/2", "n/3"):
        registry.died(death(name))
    assert registry.watch("a", "n/1") is None
    assert registry.watch("a", "n/3") is not None


def test_a_death_travels_as_data() -> None:
    one = Death("n/x", 4, ExitReason("permanent", 70, None, "no key", "auth"))
    assert Death.from_wire(one.to_wire()) == one


def test_random_histories_tell_each_watch_exactly_once() -> None:
    for seed in range(500):
        rng = random.Random(seed)  # noqa: S311 - made-up histories
        registry = WatchRegistry()
        living: dict[str, int] = dict.fromkeys(("n/1", "n/2", "m/3"), 1)
        dead: set[str] = set()
        owed: set[tuple[str, str]] = set()
        for _ in range(40):
            watcher, target = rng.choice("abc"), rng.choice(list(living))
            match rng.choice(["watch", "watch", "unwatch", "die", "start"]):
                case "watch":
                    told = registry.watch(watcher, target)
                    assert (told is not None) == (target in dead), f"seed {seed}"
                    if told is None:
                        owed.add((watcher, target))
                case "unwatch":
                    registry.unwatch(watcher, target)
                    owed.discard((watcher, target))
                case "die" if target not in dead:
                    told_now = registry.died(death(target, living[target]))
                    assert {(w, target) for w in told_now} == {o for o in owed if o[1] == target}
                    assert len(told_now) == len(set(told_now)), f"seed {seed}"
                    owed = {o for o in owed if o[1] != target}
                    dead.add(target)
                case "start" if target in dead:
                    registry.started(target)
                    dead.discard(target)
                    living[target] += 1
                case _:
                    pass
