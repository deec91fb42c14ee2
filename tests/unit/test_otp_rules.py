from __future__ import annotations

import contextlib
import random
from collections import deque
from dataclasses import replace

import pytest

from understudy.supervision import (
    AutoShutdown,
    Backoff,
    ChildSpec,
    ExitReason,
    InvalidSpec,
    Op,
    Restart,
    Result,
    Strategy,
    SupervisorSpec,
    SupervisorStopping,
)
from understudy.supervision.core import SupervisorCore
from understudy.supervision.signals import (
    AddChild,
    Answer,
    Begin,
    ChildExited,
    ChildReady,
    Finished,
    Input,
    Request,
    Shutdown,
    Start,
    Stop,
    StopChild,
)

CRASH = ExitReason("crash", 1, detail="boom")
ABC = ("a", "b", "c")


def child(
    name: str, restart: Restart = Restart.PERMANENT, *, significant: bool = False
) -> ChildSpec:
    return ChildSpec(name, "some.where:main", restart=restart, significant=significant)


def spec_of(
    *children: ChildSpec,
    strategy: Strategy = Strategy.ONE_FOR_ONE,
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    intensity: int = 9,
) -> SupervisorSpec:
    return SupervisorSpec(
        "top", strategy, intensity, 5.0, children, auto_shutdown=auto_shutdown, exact=True
    )


class Slow:
    """Processes that start and stop only when they are let."""

    def __init__(self, spec: SupervisorSpec) -> None:
        self.answers: list[Answer] = []
        self.core = SupervisorCore(spec, random.Random(1))  # noqa: S311 - not used without backoff
        self.log: list[str] = []
        self._incarnations: dict[str, int] = {}
        self._going: deque[Input] = deque()
        self.do(Begin())
        self.settle()
        self.log.clear()

    def do(self, *inputs: Input) -> None:
        for happened in inputs:
            for command in self.core.handle(happened, 100.0):
                match command:
                    case Start(spec, incarnation):
                        self.log.append(f"start {spec.id}")
                        self._incarnations[spec.id] = incarnation
                        self._going.append(ChildReady(spec.id, incarnation, {}))
                    case Stop(child_id):
                        self.log.append(f"stop {child_id}")
                        self._going.append(self.exit(child_id, ExitReason("shutdown")))
                    case Answer(op, child_id, result):
                        self.answers.append(command)
                        self.log.append(f"{op} {child_id}: {result}")
                    case Finished(gave_up, by_itself):
                        why = "gave up" if gave_up else "by itself" if by_itself else "as asked"
                        self.log.append(why)
                    case _:
                        pass

    def exit(self, child_id: str, reason: ExitReason = CRASH) -> ChildExited:
        return ChildExited(child_id, self._incarnations[child_id], reason)

    def settle(self) -> None:
        while self._going:
            self.step()

    def step(self, *, fails: bool = False) -> None:
        """The next process gets as far as it was told, or dies on the way."""
        if self._going:
            happened = self._going.popleft()
            if fails and isinstance(happened, ChildReady):
                happened = ChildExited(happened.child_id, happened.incarnation, CRASH)
            self.do(happened)

    def fail_start(self, child_id: str) -> None:
        self._going.popleft()
        self.do(self.exit(child_id))

    def play(self, *inputs: Input) -> list[str]:
        self.log.clear()
        self.do(*inputs)
        self.settle()
        return self.log


# -- specs ----------------------------------------------------------------------------------------


def test_a_permanent_child_cannot_be_significant() -> None:
    with pytest.raises(InvalidSpec, match="never ends for good") as caught:
        child("a", significant=True)
    assert caught.value.reason == "bad_combination"


def test_a_significant_child_needs_a_supervisor_that_heeds_it() -> None:
    with pytest.raises(InvalidSpec, match="child a is significant") as caught:
        spec_of(child("a", Restart.TRANSIENT, significant=True))
    assert caught.value.reason == "bad_combination"


def test_an_unknown_auto_shutdown_is_refused_with_the_known_words() -> None:
    with pytest.raises(InvalidSpec, match="never, any_significant, all_significant") as caught:
        SupervisorSpec("top", auto_shutdown="sometimes")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert caught.value.reason == "invalid_auto_shutdown"


def test_an_exact_supervisor_takes_no_child_with_a_backoff() -> None:
    with pytest.raises(InvalidSpec, match="OTP has no backoff"):
        spec_of(replace(child("a"), backoff=Backoff()))


def test_a_child_that_the_supervisor_cannot_have_is_not_added() -> None:
    world = Slow(spec_of(child("a")))
    kid = child("z", Restart.TEMPORARY, significant=True)
    for message in (AddChild(kid), Request(Op.START_CHILD, "z", kid)):
        with pytest.raises(InvalidSpec):
            world.do(message)
    assert [status.child_id for status in world.core.status()] == ["a"]


# -- requests -------------------------------------------------------------------------------------


def ask(op: Op, child_id: str) -> Request:
    return Request(op, child_id, child(child_id) if op is Op.START_CHILD else None)


@pytest.mark.parametrize(
    ("op", "answer"),
    [
        (Op.TERMINATE, Result.OK),
        (Op.RESTART, Result.RUNNING),
        (Op.DELETE, Result.RUNNING),
        (Op.START_CHILD, Result.ALREADY_STARTED),
    ],
)
def test_a_request_about_a_running_child(op: Op, answer: Result) -> None:
    assert Slow(spec_of(child("a"))).play(ask(op, "a"))[-1] == f"{op} a: {answer}"


@pytest.mark.parametrize(
    ("op", "answer"),
    [
        (Op.TERMINATE, Result.OK),
        (Op.RESTART, Result.OK),
        (Op.DELETE, Result.OK),
        (Op.START_CHILD, Result.ALREADY_PRESENT),
    ],
)
def test_a_request_about_a_stopped_child(op: Op, answer: Result) -> None:
    world = Slow(spec_of(child("a")))
    world.play(ask(Op.TERMINATE, "a"))
    assert world.play(ask(op, "a"))[-1] == f"{op} a: {answer}"
    assert len(world.core.status()) == (op is not Op.DELETE)


@pytest.mark.parametrize("op", [Op.TERMINATE, Op.RESTART, Op.DELETE])
def test_a_request_about_nobody(op: Op) -> None:
    assert Slow(spec_of(child("a"))).play(ask(op, "x")) == [f"{op} x: not_found"]


@pytest.mark.parametrize(
    ("op", "answer"),
    [
        (Op.TERMINATE, Result.OK),
        (Op.RESTART, Result.RESTARTING),
        (Op.DELETE, Result.RESTARTING),
        (Op.START_CHILD, Result.ALREADY_PRESENT),
    ],
)
def test_a_request_comes_before_the_next_try_of_a_restart(op: Op, answer: Result) -> None:
    world = Slow(spec_of(child("a")))
    world.do(world.exit("a"), ask(op, "a"))
    assert world.log == ["start a"]
    world.fail_start("a")
    tried_again = [] if op is Op.TERMINATE else ["start a"]
    assert world.log == ["start a", f"{op} a: {answer}", *tried_again]


@pytest.mark.parametrize("op", [Op.RESTART, Op.START_CHILD])
def test_a_start_that_was_asked_for_and_failed_is_not_tried_again(op: Op) -> None:
    world = Slow(spec_of(child("a")))
    name = "a" if op is Op.RESTART else "z"
    world.play(ask(Op.TERMINATE, "a"))
    world.log.clear()
    world.do(ask(op, name))
    world.fail_start(name)
    assert world.log == [f"start {name}", f"{op} {name}: start_failed"]
    assert [status.child_id for status in world.core.status()] == ["a"]


def test_a_request_to_a_supervisor_that_is_ending_is_refused() -> None:
    world = Slow(spec_of(child("a")))
    world.do(Shutdown())
    with pytest.raises(SupervisorStopping):
        world.do(ask(Op.TERMINATE, "a"))


def test_a_request_that_waits_when_the_supervisor_ends_is_answered_all_the_same() -> None:
    world = Slow(spec_of(child("a"), intensity=0))
    world.do(ask(Op.TERMINATE, "a"), Shutdown(), ask(Op.RESTART, "a"))
    world.settle()
    assert world.log == ["stop a", "terminate a: ok", "restart a: stopping", "as asked"]


# -- one thing at a time --------------------------------------------------------------------------


def test_what_comes_in_during_a_restart_waits_for_its_end() -> None:
    world = Slow(spec_of(*map(child, ABC)))
    assert world.play(world.exit("a"), world.exit("b"), StopChild("c")) == [
        "start a",
        "start b",
        "stop c",
        "terminate c: ok",
    ]


def test_a_sibling_that_fell_before_its_turn_to_be_stopped_is_not_stopped_nor_counted() -> None:
    world = Slow(spec_of(*map(child, ABC), strategy=Strategy.ONE_FOR_ALL, intensity=1))
    played = world.play(world.exit("b"), world.exit("a"))
    assert played == ["stop c", "start a", "start b", "start c"]


def test_a_first_start_that_fails_ends_the_supervisor() -> None:
    core = SupervisorCore(spec_of(*map(child, ABC)), random.Random(1))  # noqa: S311
    core.handle(Begin(), 0)
    core.handle(ChildReady("a", 1, {}), 0)
    commands = core.handle(ChildExited("b", 1, CRASH), 0)
    assert [c for c in commands if isinstance(c, Start | Stop)] == [Stop("a", 10.0)]
    last = core.handle(ChildExited("a", 1, ExitReason("shutdown")), 0)[-1]
    assert last == Finished(gave_up=True, by_itself=True)


def test_after_a_start_failed_in_a_group_the_later_siblings_rest_until_the_next_try() -> None:
    world = Slow(spec_of(*map(child, ABC), strategy=Strategy.REST_FOR_ONE))
    world.play(ask(Op.TERMINATE, "c"), ask(Op.TERMINATE, "b"))
    world.log.clear()
    world.do(world.exit("a"), ask(Op.DELETE, "c"))
    world.fail_start("a")
    world.settle()
    assert world.log == ["start a", "delete c: ok", "start a", "start b"]


# -- significant children -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "ends_with"),
    [(AutoShutdown.ANY_SIGNIFICANT, "a"), (AutoShutdown.ALL_SIGNIFICANT, "b")],
)
def test_a_supervisor_ends_with_its_significant_children(
    rule: AutoShutdown, ends_with: str
) -> None:
    significant = (child(name, Restart.TRANSIENT, significant=True) for name in "ab")
    world = Slow(spec_of(*significant, child("c"), auto_shutdown=rule))
    for name in "ab":
        played = world.play(world.exit(name, ExitReason("normal")))
        assert ("by itself" in played) == (name == ends_with)
        if world.core.is_finished:
            return


def test_a_significant_child_that_is_ended_on_request_ends_nobody() -> None:
    kid = child("a", Restart.TEMPORARY, significant=True)
    world = Slow(spec_of(kid, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT))
    assert world.play(ask(Op.TERMINATE, "a")) == ["stop a", "terminate a: ok"]
    assert not world.core.is_finished


def test_a_significant_child_that_is_restarted_ends_nobody() -> None:
    kid = child("a", Restart.TRANSIENT, significant=True)
    world = Slow(spec_of(kid, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT))
    assert world.play(world.exit("a")) == ["start a"]


# -- dynamic --------------------------------------------------------------------------------------


def test_dynamic_children_that_ended_are_forgotten() -> None:
    world = Slow(spec_of(child("a", Restart.TRANSIENT), strategy=Strategy.DYNAMIC))
    world.play(world.exit("a", ExitReason("normal")))
    assert world.core.status() == []
    assert world.play(ask(Op.START_CHILD, "a")) == ["start a", "start_child a: ok"]


def test_dynamic_children_are_all_told_to_stop_at_once() -> None:
    world = Slow(spec_of(*map(child, ABC), strategy=Strategy.DYNAMIC))
    world.do(Shutdown())
    assert world.log == ["stop c", "stop b", "stop a"]
    world.settle()
    assert world.log[-1] == "as asked"


# -- by chance ------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("seed", range(150))
def test_after_any_history_each_request_has_its_one_answer(seed: int, *, exact: bool) -> None:
    rng = random.Random(seed)  # noqa: S311 - chance for a test
    kids = (child(name, rng.choice(list(Restart))) for name in "abcd")
    spec = spec_of(*kids, strategy=rng.choice(list(Strategy)), intensity=rng.choice([3, 99]))
    world = Slow(replace(spec, exact=exact))
    asked: list[tuple[Op, str]] = []
    for _ in range(60):
        if world.core.is_finished:
            break
        _any_step(world, rng, asked)
    world.do(Shutdown())
    world.settle()
    assert world.core.is_finished
    assert sorted((a.op, a.child_id) for a in world.answers) == sorted(asked)
    assert not any(world.core.is_running(status.child_id) for status in world.core.status())


def _any_step(world: Slow, rng: random.Random, asked: list[tuple[Op, str]]) -> None:
    alive = [s.child_id for s in world.core.status() if s.state == "ready"]
    match rng.randrange(4):
        case 0 if alive:
            world.do(world.exit(rng.choice(alive), rng.choice([CRASH, ExitReason("normal")])))
        case 1:
            request = ask(rng.choice(list(Op)), rng.choice("abcde"))
            with contextlib.suppress(SupervisorStopping):
                world.do(request)
                asked.append((request.op, request.child_id))
        case _:
            world.step(fails=rng.random() < 0.2)
