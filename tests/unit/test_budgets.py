# ruff: noqa: S311 - chance for tests, guards nothing

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from understudy.supervision import (
    Backoff,
    Budget,
    ChildEvent,
    ChildSpec,
    ExitReason,
    InvalidSpec,
    Op,
    Restart,
    Strategy,
    SupervisorSpec,
    UnknownChild,
)
from understudy.supervision.core import SupervisorCore
from understudy.supervision.signals import (
    Answer,
    Begin,
    ChildExited,
    ChildReady,
    Grant,
    Input,
    Request,
    Shutdown,
    Spent,
    Start,
    Stop,
    Tell,
    Tick,
)

CRASH = ExitReason("crash", 1)
BACKOFF = Backoff(1, 8, jitter=0)


def kid(name: str = "a", **fields: Any) -> ChildSpec:  # noqa: ANN401 - passed on as they are
    return ChildSpec(name, "some.where:main", **fields)


class Play:
    """A core whose children are ready at once and end when told."""

    def __init__(self, *children: ChildSpec, **rules: Any) -> None:  # noqa: ANN401
        spec = SupervisorSpec("top", children=children, **rules)
        self.core = SupervisorCore(spec, random.Random(1))
        self.now = 0.0
        self.log: list[str] = []
        self.events: list[ChildEvent] = []
        self.running: dict[str, int] = {}
        self.do(Begin())
        self.log.clear()

    def do(self, happened: Input) -> None:
        for command in self.core.handle(happened, self.now):
            match command:
                case Start(spec, incarnation):
                    self.log.append(f"start {spec.id}{incarnation}")
                    self.running[spec.id] = incarnation
                    self.do(ChildReady(spec.id, incarnation, {}))
                case Stop(child_id):
                    self.log.append(f"stop {child_id}")
                    self.exits(child_id, ExitReason("shutdown", 0))
                case Tell(event):
                    self.events.append(event)
                case Answer(op, child_id, result):
                    self.log.append(f"{op} {child_id} {result}")
                case _:
                    pass

    def exits(self, name: str = "a", reason: ExitReason = CRASH) -> None:
        self.do(ChildExited(name, self.running.pop(name), reason))

    def spends(self, amount: float, name: str = "a") -> None:
        self.do(Spent(name, self.running[name], amount))

    def told(self, kind: str) -> list[ChildEvent]:
        return [event for event in self.events if event.kind == kind]


def with_budget(limit: float = 10, **fields: Any) -> Budget:  # noqa: ANN401
    return Budget("usd", limit, "gateway", **fields)


def test_at_four_fifths_of_its_budget_a_child_is_warned_of_once() -> None:
    play = Play(kid(budget=with_budget()))
    play.spends(7.9)
    assert not play.told("budget_warning")
    play.spends(0.1)
    play.spends(1)
    [warning] = play.told("budget_warning")
    assert warning.info == {"spent": 8.0, "limit": 10, "unit": "usd", "meter": "gateway"}
    assert play.log == []


def test_a_child_that_has_spent_all_is_asked_to_finish_which_is_no_failure() -> None:
    play = Play(kid(budget=with_budget()), kid("b"), intensity=0)
    play.spends(12)
    assert play.log == ["stop a"]
    [ended] = play.told("exited")
    assert ended.reason is not None
    assert (ended.reason.kind, ended.reason.failure_kind) == ("shutdown", "budget")
    assert ended.reason.detail == "its budget is used up: 12 of 10 usd spent"
    assert [s.state for s in play.core.status()] == ["stopped", "ready"]


def test_its_parent_grants_more_and_it_goes_on_as_the_next_incarnation() -> None:
    play = Play(kid(budget=with_budget()))
    play.spends(12)
    play.do(Grant("a", 1))
    assert play.log == ["stop a"]
    play.do(Grant("a", 4))
    assert play.log == ["stop a", "start a2"]
    [status] = play.core.status()
    assert (status.spent, status.limit) == (12, 15)


def test_what_was_spent_outlives_the_incarnation_that_spent_it() -> None:
    play = Play(kid(budget=with_budget()))
    play.spends(6)
    play.exits()
    play.spends(6)
    assert play.log == ["start a2", "stop a"]


def test_what_an_older_incarnation_spent_counts_when_its_news_come_late() -> None:
    play = Play(kid(budget=with_budget()))
    play.exits()
    play.do(Spent("a", 1, 10))
    assert play.log == ["start a2", "stop a"]
    play.do(Spent("a", 7, 99))
    assert play.core.status()[0].spent == 10


def test_a_restart_that_cannot_pay_is_refused_and_not_counted() -> None:
    play = Play(kid(budget=with_budget(start_cost=3)), intensity=0)
    play.spends(8)
    play.exits()
    assert play.log == []
    assert play.told("stopped")[0].reason == ExitReason(
        "shutdown", 1, None, "its budget is used up: 8 of 10 usd spent", "budget"
    )
    play.do(Grant("a", 1))
    assert play.log == ["start a2"]


def test_a_request_to_restart_it_is_refused_until_it_can_pay() -> None:
    play = Play(kid(budget=with_budget()))
    play.spends(10)
    play.do(Request(Op.RESTART, "a"))
    assert play.log == ["stop a", "restart a no_budget"]


def test_spending_while_it_waits_for_its_backoff_ends_the_wait() -> None:
    play = Play(kid(budget=with_budget(), backoff=BACKOFF))
    play.exits()
    play.do(Spent("a", 1, 10))
    play.now = 99
    play.do(Tick())
    assert play.log == []
    play.do(Grant("a", 1))
    assert play.log == ["start a2"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_group_restart_leaves_out_who_cannot_pay(strategy: Strategy) -> None:
    play = Play(kid("a"), kid("b", budget=with_budget()), kid("c"), strategy=strategy)
    play.spends(10, "b")
    play.exits("a")
    assert play.log == ["stop b", "stop c", "start a2", "start c2"]


def test_one_that_was_ended_by_hand_is_not_started_by_a_grant() -> None:
    play = Play(kid(budget=with_budget()))
    play.spends(10)
    play.do(Request(Op.TERMINATE, "a"))
    play.do(Grant("a", 5))
    assert play.log == ["stop a", "terminate a ok"]


def test_a_temporary_child_that_has_spent_all_is_forgotten() -> None:
    play = Play(kid(budget=with_budget(), restart=Restart.TEMPORARY))
    play.spends(10)
    assert play.core.status() == []


def test_a_dynamic_child_that_has_spent_all_stays_known_for_a_grant() -> None:
    play = Play(kid(budget=with_budget()), strategy=Strategy.DYNAMIC)
    play.spends(10)
    play.do(Grant("a", 5))
    assert play.log == ["stop a", "start a2"]


def test_nothing_is_started_by_a_grant_after_the_end_began() -> None:
    play = Play(kid(budget=with_budget()))
    play.spends(10)
    play.do(Shutdown())
    play.do(Grant("a", 5))
    assert play.log == ["stop a"]


def test_without_a_budget_it_is_counted_and_not_limited() -> None:
    play = Play(kid())
    play.spends(1e6)
    assert (play.log, play.core.status()[0].spent) == ([], 1e6)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"meter": ""}, "no_meter"),
        ({"unit": ""}, "invalid_budget"),
        ({"limit": 0}, "invalid_budget"),
        ({"limit": float("inf")}, "invalid_budget"),
        ({"warn_at": 0}, "invalid_budget"),
        ({"warn_at": 1.1}, "invalid_budget"),
        ({"start_cost": 11}, "invalid_budget"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        replace(with_budget(), **fields)
    assert caught.value.reason == reason


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf"), True, "5"])
def test_an_amount_that_makes_no_sense_is_refused(amount: Any) -> None:  # noqa: ANN401
    play = Play(kid(budget=with_budget()))
    for happened in (Spent("a", 1, amount), Grant("a", amount)):
        with pytest.raises(InvalidSpec, match="must be a finite number"):
            play.do(happened)


def test_a_grant_to_nobody_or_to_one_without_a_budget_is_refused() -> None:
    play = Play(kid())
    with pytest.raises(InvalidSpec, match="it has no budget"):
        play.do(Grant("a", 1))
    with pytest.raises(UnknownChild):
        play.do(Grant("b", 1))


# -- failures that do not count --------------------------------------------------------------------


LIMITED = ExitReason("crash", 1, failure_kind="rate_limited")


def test_failures_of_an_uncounted_kind_do_not_use_up_the_restarts() -> None:
    kinds = frozenset({"rate_limited", "hung"})
    play = Play(kid(backoff=BACKOFF), intensity=1, uncounted_kinds=kinds)
    for number, reason in enumerate([LIMITED, LIMITED, ExitReason("hung"), LIMITED, CRASH], 2):
        play.exits("a", reason)
        assert play.log[-1:] != [f"start a{number}"], "no wait"
        play.now += 8
        play.do(Tick())
        assert play.log[-1] == f"start a{number}"
    assert not play.told("gave_up")


def test_a_kind_that_counts_still_ends_the_supervisor() -> None:
    play = Play(kid(backoff=BACKOFF), intensity=0, uncounted_kinds=frozenset({"api_down"}))
    play.exits("a", LIMITED)
    assert [event.child_id for event in play.told("gave_up")] == ["a", "top"]


def test_a_permanent_kind_is_not_restarted() -> None:
    play = Play(kid(), permanent_kinds=frozenset({"auth"}))
    play.exits("a", ExitReason("crash", 1, failure_kind="auth"))
    assert play.log == []
    assert play.told("gave_up")[0].reason == ExitReason("permanent", 1, failure_kind="auth")


def test_a_child_that_ended_as_asked_has_not_failed_for_good_whatever_its_word() -> None:
    play = Play(kid(), permanent_kinds=frozenset({"auth", "normal"}))
    play.exits("a", ExitReason("normal", 0))
    assert play.log == ["start a2"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"uncounted_kinds": frozenset({"x"}), "exact": True}, "OTP has no uncounted_kinds"),
        ({"permanent_kinds": frozenset({"x"}), "exact": True}, "OTP has no permanent_kinds"),
        ({"uncounted_kinds": frozenset({"x"})}, "nothing would hold up the restarts of child a"),
        ({"uncounted_kinds": frozenset({""})}, "must be a frozenset of words"),
        ({"permanent_kinds": ["x"]}, "must be a frozenset of words"),
        (
            {"uncounted_kinds": frozenset("x"), "permanent_kinds": frozenset("x")},
            "x cannot be both",
        ),
    ],
)
def test_kinds_that_cannot_work_are_refused(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        SupervisorSpec("top", children=(kid(),), **rules)


def test_an_exact_supervisor_has_no_budgets() -> None:
    with pytest.raises(InvalidSpec, match="OTP has no budget"):
        SupervisorSpec("top", children=(kid(budget=with_budget()),), exact=True)


def test_a_temporary_child_whose_elder_falls_before_its_first_start_is_still_started() -> None:
    children = kid("a"), kid("b", restart=Restart.TEMPORARY)
    spec = SupervisorSpec("top", Strategy.ONE_FOR_ALL, children=children)
    core = SupervisorCore(spec, random.Random(1))
    core.handle(Begin(), 0)
    core.handle(ChildExited("a", 1, CRASH), 0)
    commands = core.handle(ChildReady("a", 2, {}), 0)
    assert [c.spec.id for c in commands if isinstance(c, Start)] == ["b"]
