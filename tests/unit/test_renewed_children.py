"""A child that is ended and started again because somebody asked: what its supervisor tells."""

from __future__ import annotations

import random

import pytest

from understudy.supervision import (
    Backoff,
    ChildSpec,
    ExitReason,
    Strategy,
    SupervisorSpec,
    UnknownChild,
)
from understudy.supervision.core import SupervisorCore
from understudy.supervision.intensity import RestartWindow
from understudy.supervision.signals import (
    Begin,
    ChildExited,
    ChildReady,
    Renew,
    Shutdown,
    Start,
    Stop,
    StopChild,
    Tell,
    Tick,
)

ORDERLY = ExitReason("shutdown", 0)
CRASH = ExitReason("crash", 1)


class Pair:
    """A supervisor of `a` and `b`, both ready, that bears no restart at all."""

    def __init__(
        self, strategy: Strategy = Strategy.ONE_FOR_ONE, *, intensity: int = 0, wait_s: float = 9.0
    ) -> None:
        backoff = Backoff(min_s=wait_s, max_s=wait_s, jitter=0.0)
        children = tuple(ChildSpec(name, "some.where:main", backoff=backoff) for name in "ab")
        spec = SupervisorSpec("top", strategy, intensity, 60.0, children)
        self.core = SupervisorCore(spec, random.Random(1))  # noqa: S311 - no secret
        self.now, self.told = 100.0, list[str]()
        for happened in (Begin(), ChildReady("a", 1, {}), ChildReady("b", 1, {})):
            self.do(happened)
        self.told.clear()

    def do(self, happened: object) -> list[str]:
        done: list[str] = []
        for command in self.core.handle(happened, self.now):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            match command:
                case Start(spec, incarnation):
                    done.append(f"start {spec.id}{incarnation}")
                case Stop(child_id):
                    done.append(f"stop {child_id}")
                case Tell(event):
                    self.told.append(f"{event.kind} {event.child_id}")
                case _:
                    done.append(type(command).__name__)
        return done

    def waits_s(self) -> list[float | None]:
        return [child.next_start_s for child in self.core.status(self.now)]


@pytest.mark.parametrize("strategy", Strategy)
def test_it_ends_in_good_order_and_starts_at_once_alone_and_is_not_counted(
    strategy: Strategy,
) -> None:
    pair = Pair(strategy)
    assert pair.do(Renew("a")) == ["stop a"]
    assert pair.do(ChildExited("a", 1, ORDERLY)) == ["start a2"]
    assert pair.told == ["exited a", "restarting a", "starting a"]
    assert pair.core.restarts_in_window(pair.now) == 0


def test_one_that_waits_for_its_backoff_starts_now() -> None:
    pair = Pair(intensity=1)
    assert pair.do(ChildExited("a", 1, CRASH)) == []
    assert pair.waits_s() == [9.0, None]
    pair.now += 2.5
    assert pair.waits_s() == [6.5, None]
    assert pair.do(Renew("a")) == ["start a2"]
    assert pair.waits_s() == [None, None]


def test_its_earlier_failures_are_forgotten() -> None:
    pair = Pair(intensity=2)
    pair.do(ChildExited("a", 1, CRASH))
    pair.do(Renew("a"))
    assert [child.failures for child in pair.core.status()] == [0, 0]


def test_one_that_was_stopped_or_failed_for_good_starts_again() -> None:
    pair = Pair()
    pair.do(StopChild("a"))
    pair.do(ChildExited("a", 1, ORDERLY))
    pair.do(ChildExited("b", 1, ExitReason("permanent", 70)))
    assert pair.do(Renew("a")) == ["start a2"]
    assert pair.do(Renew("b")) == ["start b2"]


def test_a_start_that_fails_afterwards_counts_like_any_other() -> None:
    pair = Pair(intensity=1)
    pair.do(Renew("a"))
    pair.do(ChildExited("a", 1, ORDERLY))
    pair.do(ChildExited("a", 2, CRASH))
    assert pair.core.restarts_in_window(pair.now) == 1
    pair.now += 9.0
    assert pair.do(Tick()) == ["start a3"]


def test_one_that_is_about_to_be_stopped_with_its_siblings_comes_back_with_them() -> None:
    pair = Pair(Strategy.ONE_FOR_ALL, intensity=1)
    assert pair.do(ChildExited("a", 1, CRASH)) == ["stop b"]
    assert pair.do(Renew("b")) == []
    assert pair.do(ChildExited("b", 1, ORDERLY)) == []
    pair.now += 9.0
    assert pair.do(Tick()) == ["start a2"]
    assert pair.do(ChildReady("a", 2, {})) == ["start b2"]


def test_while_all_are_being_stopped_it_changes_nothing() -> None:
    pair = Pair()
    assert pair.do(Shutdown()) == ["stop b"]
    assert pair.do(Renew("b")) == []
    assert pair.do(ChildExited("b", 1, ORDERLY)) == ["stop a"]


def test_an_unknown_child_is_an_error() -> None:
    with pytest.raises(UnknownChild):
        Pair().do(Renew("c"))


def test_the_window_counts_what_still_counts() -> None:
    window = RestartWindow(3, 5.0)
    for now in (1.0, 2.0, 6.0):
        window.add(now)
    assert [window.count(now) for now in (6.0, 6.5, 11.0, 11.5)] == [3, 2, 1, 0]
