# ruff: noqa: ANN401, S311 - fields are passed on as they are; chance for tests, not secrets

from __future__ import annotations

import random
from collections import deque
from itertools import product
from typing import TYPE_CHECKING, Any, get_args

import pytest

from understudy.supervision import (
    Backoff,
    ChildEvent,
    ChildSpec,
    DuplicateChild,
    ExitReason,
    Restart,
    Strategy,
    SupervisorSpec,
    SupervisorStopping,
    UnknownChild,
)
from understudy.supervision.core import SupervisorCore
from understudy.supervision.events import ExitKind
from understudy.supervision.signals import (
    AddChild,
    Answer,
    Begin,
    ChildExited,
    ChildReady,
    Finished,
    Shutdown,
    Start,
    Stop,
    StopChild,
    Tell,
    Tick,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from understudy.supervision.signals import Command, Input

KINDS: tuple[ExitKind, ...] = get_args(ExitKind)
CRASH = ExitReason("crash", 1, detail="boom")


def child(name: str, restart: Restart = Restart.PERMANENT, **fields: Any) -> ChildSpec:
    return ChildSpec(name, "some.where:main", restart=restart, **fields)


class World:
    """Plays the processes: each is ready at once and stops when told, unless it is held."""

    def __init__(
        self,
        children: Iterable[ChildSpec],
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        *,
        intensity: int = 3,
        period_s: float = 5.0,
        held: Iterable[str] = (),
        broken: Iterable[str] = (),
        first_incarnation: int = 1,
    ) -> None:
        spec = SupervisorSpec("top", strategy, intensity, period_s, tuple(children))
        self.core = SupervisorCore(spec, random.Random(7), first_incarnation=first_incarnation)
        self.now = 100.0
        self.log: list[str] = []
        self.events: list[ChildEvent] = []
        self.held: set[str] = set(held)
        self.broken: set[str] = set(broken)
        self.incarnations: dict[str, int] = {}
        self._happens: deque[Input] = deque()

    def begin(self) -> World:
        self.do(Begin())
        self.log.clear()
        self.events.clear()
        return self

    def do(self, happens: Input) -> None:
        self._happens.append(happens)
        while self._happens:
            for command in self.core.handle(self._happens.popleft(), self.now):
                self._play(command)

    def exits(self, name: str, reason: ExitReason = CRASH) -> None:
        self.do(ChildExited(name, self.incarnations[name], reason))

    def is_ready(self, name: str) -> None:
        self.do(ChildReady(name, self.incarnations[name], {}))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.do(Tick())

    def told(self, *kinds: str) -> list[str]:
        return [f"{e.kind} {e.child_id}" for e in self.events if e.kind in kinds or not kinds]

    def states(self) -> dict[str, str]:
        return {s.child_id: s.state.value for s in self.core.status()}

    def _play(self, command: Command) -> None:
        match command:
            case Start(spec, incarnation):
                self.log.append(f"start {spec.id}{incarnation}")
                self.incarnations[spec.id] = incarnation
                if spec.id in self.broken:
                    self._happens.append(ChildExited(spec.id, incarnation, CRASH))
                elif spec.id not in self.held:
                    self._happens.append(ChildReady(spec.id, incarnation, {}))
            case Stop(child_id):
                self.log.append(f"stop {child_id}")
                if child_id not in self.held:
                    reason = ExitReason("shutdown", 0)
                    incarnation = self.incarnations[child_id]
                    self._happens.append(ChildExited(child_id, incarnation, reason))
            case Tell(event):
                self.events.append(event)
            case Finished(gave_up):
                self.log.append("gave up" if gave_up else "finished")
            case Answer(op, child_id, result):
                self.log.append(f"{op} {child_id}: {result}")


ABC = ("a", "b", "c")

RESTARTED_WHEN: dict[Restart, set[ExitKind]] = {
    Restart.PERMANENT: {
        "normal",
        "shutdown",
        "crash",
        "killed",
        "hung",
        "start_timeout",
        "unknown",
    },
    Restart.TRANSIENT: {"crash", "killed", "hung", "start_timeout", "unknown"},
    Restart.TEMPORARY: set(),
}

STEPS_WHEN_B_FALLS: dict[Strategy, list[str]] = {
    Strategy.ONE_FOR_ONE: ["start b2"],
    Strategy.ONE_FOR_ALL: ["stop c", "stop a", "start a2", "start b2", "start c2"],
    Strategy.REST_FOR_ONE: ["stop c", "start b2", "start c2"],
    Strategy.DYNAMIC: ["start b2"],
}


@pytest.mark.parametrize(("strategy", "restart", "kind"), list(product(Strategy, Restart, KINDS)))
def test_a_child_that_ends_is_restarted_as_its_type_and_the_strategy_say(
    strategy: Strategy, restart: Restart, kind: ExitKind
) -> None:
    world = World([child(name, restart) for name in ABC], strategy).begin()
    world.exits("b", ExitReason(kind))
    restarted = kind in RESTARTED_WHEN[restart]
    assert world.log == (STEPS_WHEN_B_FALLS[strategy] if restarted else [])


@pytest.mark.parametrize(("restart", "kind"), list(product(Restart, KINDS)))
def test_each_exit_is_followed_by_what_becomes_of_the_child(
    restart: Restart, kind: ExitKind
) -> None:
    world = World([child("a", restart)]).begin()
    world.exits("a", ExitReason(kind))
    after = "stopped"
    if kind == "permanent":
        after = "gave_up"
    elif kind in RESTARTED_WHEN[restart]:
        after = "restarting"
    assert world.told()[:2] == ["exited a", f"{after} a"]
    assert [e.reason for e in world.events[:2]] == [ExitReason(kind)] * 2


def test_children_start_in_order_each_after_the_one_before_is_ready() -> None:
    world = World([child(name) for name in ABC], held=ABC)
    world.do(Begin())
    assert world.log == ["start a1"]
    world.is_ready("a")
    assert world.log == ["start a1", "start b1"]
    world.is_ready("b")
    world.is_ready("c")
    assert world.log == ["start a1", "start b1", "start c1"]
    assert set(world.states().values()) == {"ready"}


def test_shutdown_stops_in_reverse_order_each_after_the_one_before_is_gone() -> None:
    world = World([child(name) for name in ABC]).begin()
    world.held.update(ABC)
    world.do(Shutdown())
    assert world.log == ["stop c"]
    world.exits("c", ExitReason("shutdown"))
    world.exits("b", ExitReason("shutdown"))
    assert world.log == ["stop c", "stop b", "stop a"]
    world.exits("a", ExitReason("shutdown"))
    assert world.log[3:] == ["finished"]
    assert world.told("stopped") == ["stopped c", "stopped b", "stopped a", "stopped top"]


def test_a_shutdown_gets_in_while_children_are_still_starting() -> None:
    world = World([child(name) for name in ABC], held={"b"})
    world.do(Begin())
    world.held.clear()
    world.do(Shutdown())
    assert world.log == ["start a1", "start b1", "stop b", "stop a", "finished"]
    assert world.states()["c"] == "stopped"


def test_a_shutdown_gets_in_while_a_child_waits_for_its_restart() -> None:
    world = World([child("a", backoff=Backoff(min_s=10)), child("b")]).begin()
    world.exits("a")
    world.do(Shutdown())
    assert world.log == ["stop b", "finished"]
    assert world.core.next_wake is None


def test_a_second_shutdown_changes_nothing() -> None:
    world = World([child("a")]).begin()
    world.do(Shutdown())
    world.do(Shutdown())
    assert world.log == ["stop a", "finished"]


def test_a_supervisor_without_children_finishes_at_once() -> None:
    world = World([]).begin()
    world.do(Shutdown())
    assert world.log == ["finished"]


@pytest.mark.parametrize("strategy", Strategy)
def test_one_restart_more_than_the_intensity_within_the_period_ends_everything(
    strategy: Strategy,
) -> None:
    world = World([child(name) for name in ABC], strategy, intensity=2, period_s=5).begin()
    world.exits("b")
    world.exits("b")
    world.log.clear()
    world.events.clear()
    world.exits("b")
    assert world.log == ["stop c", "stop a", "gave up"]
    assert world.told("gave_up") == ["gave_up b", "gave_up top"]
    reason = world.events[-1].reason
    assert reason is not None
    assert reason.kind == "shutdown"
    assert "more than 2 restarts within 5 s" in reason.detail
    assert "boom" in reason.detail


def test_restarts_spread_over_more_than_the_period_go_on_for_ever() -> None:
    world = World([child("a")], intensity=1, period_s=5).begin()
    for _ in range(20):
        world.exits("a")
        world.now += 5.1
    assert world.log[-1] == "start a21"


def test_the_budget_is_shared_by_all_children() -> None:
    world = World([child(name) for name in ABC], intensity=2).begin()
    for name in ABC:
        world.exits(name)
    assert world.log[-1] == "gave up"


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_the_restart_of_a_group_counts_once(strategy: Strategy) -> None:
    world = World([child(name) for name in "abcdef"], strategy, intensity=2).begin()
    world.exits("a")
    world.exits("a")
    assert "gave up" not in world.log
    assert world.log[-1] == "start f3"


def test_an_intensity_of_zero_bears_no_restart() -> None:
    world = World([child("a")], intensity=0).begin()
    world.exits("a")
    assert world.log == ["gave up"]


def test_exits_that_lead_to_no_restart_cost_nothing() -> None:
    names = [f"t{number}" for number in range(9)]
    world = World([child(n, Restart.TEMPORARY) for n in names], intensity=0).begin()
    for name in names:
        world.exits(name)
    assert world.log == []
    assert world.core.status() == []


def test_failed_starts_count_as_restarts() -> None:
    world = World([child("a")], intensity=3, broken={"a"})
    world.do(Begin())
    assert world.log == ["start a1", "start a2", "start a3", "start a4", "gave up"]


def test_a_failed_first_start_does_not_hold_up_the_siblings_of_one_for_one() -> None:
    children = [child("a", backoff=Backoff(min_s=1)), child("b"), child("c")]
    world = World(children, broken={"a"})
    world.do(Begin())
    assert world.log == ["start a1", "start b1", "start c1"]
    assert world.states()["a"] == "waiting"


def test_a_failed_first_start_holds_up_those_after_it_in_rest_for_one() -> None:
    children = [child("a"), child("b", backoff=Backoff(min_s=1, jitter=0)), child("c")]
    world = World(children, Strategy.REST_FOR_ONE, broken={"b"})
    world.do(Begin())
    assert world.log == ["start a1", "start b1"]
    world.broken.clear()
    world.wait(1.0)
    assert world.log == ["start a1", "start b1", "start b2", "start c1"]


def test_siblings_that_are_up_again_stop_again_when_a_restart_fails_in_one_for_all() -> None:
    world = World([child(name) for name in ABC], Strategy.ONE_FOR_ALL).begin()
    world.held = {"b"}
    world.exits("b")
    assert world.log[-2:] == ["start a2", "start b2"]
    world.log.clear()
    world.held.clear()
    world.exits("b")
    assert world.log == ["stop a", "start a3", "start b3", "start c2"]


def test_siblings_before_the_failed_start_stay_up_in_rest_for_one() -> None:
    world = World([child(name) for name in ABC], Strategy.REST_FOR_ONE).begin()
    world.held = {"b"}
    world.exits("a")
    assert world.log == ["stop c", "stop b"]
    world.held.clear()
    world.held = {"b"}
    world.exits("b", ExitReason("shutdown"))
    world.log.clear()
    world.held.clear()
    world.exits("b")
    assert world.log == ["start b3", "start c2"]


def test_under_one_for_one_a_slow_start_does_not_hold_up_the_restart_of_another() -> None:
    world = World([child(name) for name in ABC]).begin()
    world.held = {"a"}
    world.exits("a")
    world.exits("b")
    assert world.log == ["start a2", "start b2"]


def test_a_sibling_that_dies_before_its_turn_to_be_stopped_counts_no_restart() -> None:
    world = World([child(name) for name in ABC], Strategy.ONE_FOR_ALL, intensity=1).begin()
    world.held = {"c"}
    world.exits("b")
    world.exits("a", ExitReason("killed", signal=9))
    world.held.clear()
    world.exits("c", ExitReason("shutdown"))
    assert world.log == ["stop c", "start a2", "start b2", "start c2"]


def test_a_second_child_that_falls_during_a_group_restart_joins_it() -> None:
    world = World([child(name) for name in ABC], Strategy.REST_FOR_ONE).begin()
    world.held = {"c"}
    world.exits("b")
    assert world.log == ["stop c"]
    world.exits("a")
    assert world.log == ["stop c"]
    world.held.clear()
    world.exits("c", ExitReason("shutdown"))
    assert world.log == ["stop c", "start a2", "start b2", "start c2"]


def test_temporary_siblings_of_a_group_restart_are_stopped_and_forgotten() -> None:
    children = [child("a"), child("t", Restart.TEMPORARY), child("c")]
    world = World(children, Strategy.ONE_FOR_ALL).begin()
    world.exits("a")
    assert world.log == ["stop c", "stop t", "start a2", "start c2"]
    assert "stopped t" in world.told()
    assert list(world.states()) == ["a", "c"]


def test_a_group_restart_also_starts_siblings_that_had_ended_as_wished() -> None:
    # OTP's start_children does not look at how they had ended.
    world = World([child(n, Restart.TRANSIENT) for n in ABC], Strategy.ONE_FOR_ALL).begin()
    world.exits("c", ExitReason("normal", 0))
    world.exits("a")
    assert world.log == ["stop b", "start a2", "start b2", "start c2"]


@pytest.mark.parametrize("strategy", Strategy)
def test_what_failed_for_good_is_never_started_again(strategy: Strategy) -> None:
    world = World([child(name) for name in ABC], strategy).begin()
    reason = ExitReason("permanent", 70, detail="no key", failure_kind="auth")
    world.exits("c", reason)
    assert world.told() == ["exited c", "gave_up c"]
    assert world.events[-1].reason == reason
    world.exits("a")
    assert not any(step.startswith("start c") for step in world.log)
    assert world.states() == {"a": "ready", "b": "ready", "c": "failed"}


def test_each_sibling_of_a_group_restart_is_told_to_be_restarting_after_its_exit() -> None:
    world = World([child("a"), child("b")], Strategy.ONE_FOR_ALL).begin()
    world.exits("a")
    assert world.told()[:4] == ["exited a", "restarting a", "exited b", "restarting b"]


# -- backoff --------------------------------------------------------------------------------------


def test_a_restart_waits_for_its_backoff_which_grows_with_each_failure() -> None:
    backoff = Backoff(min_s=1, max_s=4, factor=2, jitter=0)
    world = World([child("a", backoff=backoff)], intensity=99).begin()
    for delay_s in (1, 2, 4, 4):
        world.exits("a")
        assert world.core.next_wake == world.now + delay_s
        world.wait(delay_s - 0.01)
        assert world.states()["a"] == "waiting"
        world.wait(0.01)
        assert world.states()["a"] == "ready"
    assert [e.delay_s for e in world.events if e.kind == "restarting"] == [1, 2, 4, 4]


def test_the_backoff_starts_over_after_a_calm_time() -> None:
    backoff = Backoff(min_s=1, max_s=9, jitter=0)
    world = World([child("a", backoff=backoff)], intensity=99).begin()
    world.exits("a")
    world.wait(1)
    world.wait(backoff.calm_s)
    world.exits("a")
    assert world.events[-1].delay_s == 1


def test_in_a_group_restart_stops_come_at_once_and_starts_after_the_backoff() -> None:
    children = [child("a"), child("b", backoff=Backoff(min_s=2, jitter=0)), child("c")]
    world = World(children, Strategy.ONE_FOR_ALL).begin()
    world.exits("b")
    assert world.log == ["stop c", "stop a"]
    assert set(world.states().values()) == {"waiting"}
    world.wait(2)
    assert world.log[2:] == ["start a2", "start b2", "start c2"]


# -- requests -------------------------------------------------------------------------------------


def test_an_added_child_is_started_as_the_last() -> None:
    world = World([child("a")]).begin()
    world.do(AddChild(child("z")))
    world.do(Shutdown())
    assert world.log == ["start z1", "stop z", "stop a", "finished"]


def test_a_child_added_during_a_group_restart_starts_after_its_elders() -> None:
    world = World([child("a"), child("b")], Strategy.ONE_FOR_ALL).begin()
    world.held = {"a"}
    world.exits("b")
    world.do(AddChild(child("z")))
    assert world.log == ["stop a"]
    world.exits("a", ExitReason("shutdown"))
    world.held.clear()
    world.is_ready("a")
    assert world.log == ["stop a", "start a2", "start b2", "start z1"]


def test_a_stopped_child_is_not_restarted_and_stays_known() -> None:
    world = World([child("a"), child("b")]).begin()
    world.do(StopChild("a"))
    assert world.log == ["stop a"]
    assert world.told() == ["exited a", "stopped a"]
    assert world.states() == {"a": "stopped", "b": "ready"}


def test_a_child_that_crashes_while_it_is_stopped_on_request_is_not_restarted() -> None:
    world = World([child("a")]).begin()
    world.held = {"a"}
    world.do(StopChild("a"))
    world.exits("a", CRASH)
    assert world.log == ["stop a"]
    assert world.states() == {"a": "stopped"}


def test_stopping_a_child_that_waits_for_its_restart_ends_the_wait() -> None:
    world = World([child("a", backoff=Backoff(min_s=9))]).begin()
    world.exits("a")
    world.do(StopChild("a"))
    world.wait(99)
    assert world.log == []
    assert world.states() == {"a": "stopped"}


def test_a_stopped_temporary_child_is_forgotten_and_its_number_is_not_used_again() -> None:
    world = World([child("t", Restart.TEMPORARY)]).begin()
    world.do(StopChild("t"))
    assert world.states() == {}
    world.do(AddChild(child("t", Restart.TEMPORARY)))
    assert world.log == ["stop t", "start t2"]


def test_incarnations_begin_where_the_caller_says() -> None:
    world = World([child("a")], first_incarnation=8)
    world.do(Begin())
    world.exits("a")
    assert world.log == ["start a8", "start a9"]
    assert [(s.incarnation, s.restarts) for s in world.core.status()] == [(9, 1)]


def test_news_of_an_older_incarnation_is_dropped() -> None:
    world = World([child("a")]).begin()
    world.exits("a")
    world.log.clear()
    world.do(ChildExited("a", 1, CRASH))
    world.do(ChildReady("a", 1, {}))
    world.do(ChildExited("nobody", 1, CRASH))
    assert world.log == []


def test_an_id_cannot_be_used_twice() -> None:
    world = World([child("a")]).begin()
    with pytest.raises(DuplicateChild, match="has a child 'a' already"):
        world.do(AddChild(child("a")))


def test_stopping_an_unknown_child_names_the_known_ones() -> None:
    world = World([child("a"), child("b")]).begin()
    with pytest.raises(UnknownChild, match="no child 'x'; it has: a, b"):
        world.do(StopChild("x"))


def test_nothing_is_added_during_a_shutdown() -> None:
    world = World([child("a")], held={"a"}).begin()
    world.do(Shutdown())
    with pytest.raises(SupervisorStopping):
        world.do(AddChild(child("b")))


# -- by chance ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_after_any_history_a_shutdown_ends_every_child_in_reverse_order(seed: int) -> None:
    rng = random.Random(seed)
    names = "abcde"
    children = [
        child(n, rng.choice(list(Restart)), backoff=rng.choice([None, Backoff()])) for n in names
    ]
    world = World(children, rng.choice(list(Strategy)), intensity=rng.choice([2, 99]))
    world.do(Begin())
    for _ in range(60):
        world.held = {name for name in names if rng.random() < 0.3}
        _any_step(world, rng)
        _check_invariants(world)
    world.held.clear()
    world.log.clear()
    running = [s for s in world.core.status() if s.state in ("starting", "ready", "stopping")]
    world.do(Shutdown())
    for status in running:
        # Those that were held stopping still have to go.
        world.do(ChildExited(status.child_id, status.incarnation, ExitReason("shutdown")))
    assert world.core.is_finished
    stops = [step for step in world.log if step.startswith("stop")]
    assert stops == sorted(stops, reverse=True)
    assert all(s.state in ("stopped", "failed") for s in world.core.status())


def _any_step(world: World, rng: random.Random) -> None:
    alive = [s for s in world.core.status() if s.state in ("starting", "ready", "stopping")]
    match rng.randrange(4):
        case 0 if alive:
            world.exits(rng.choice(alive).child_id, ExitReason(rng.choice(KINDS)))
        case 1 if alive:
            world.is_ready(rng.choice(alive).child_id)
        case 2 if alive and rng.random() < 0.2:
            world.do(StopChild(rng.choice(alive).child_id))
        case _:
            world.wait(rng.random() * 3)


def _check_invariants(world: World) -> None:
    wake = world.core.next_wake
    assert wake is None or wake > world.now
    waiting = [s.child_id for s in world.core.status() if s.state == "waiting"]
    starting = [s for s in world.core.status() if s.state in ("starting", "stopping")]
    # Whoever waits, waits for a time or for a sibling that is on its way.
    assert not waiting or wake is not None or starting, (waiting, world.states())
