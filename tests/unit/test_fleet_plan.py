"""The plan of a configuration, checked against the supervisor's own core where it predicts it."""

from __future__ import annotations

import random
from typing import Any, get_args

import pytest

from understudy.actors.fleet_plan import plan_of, restarts_of, same_intensity
from understudy.actors.settings import (
    BudgetSettings,
    OrchestratorSettings,
    RoleBudget,
    RoleLimits,
    RoleSettings,
    Settings,
    TaskQueueSettings,
    TaskTypeName,
)
from understudy.actors.worst_case import shortest_s, worst_case
from understudy.config import ConfigurationError, load
from understudy.plan_view import plan_lines
from understudy.supervision import Backoff, ChildSpec, ExitReason, Strategy, SupervisorSpec
from understudy.supervision.core import SupervisorCore
from understudy.supervision.signals import Begin, ChildExited, ChildReady, Start, Tell, Tick


def settings(**changes: object) -> Settings:
    """The defaults, with settings such as `supervision__intensity=1`."""
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return load(None, {}, named).settings


def kinds(**changes: object) -> list[str]:
    return [warning["kind"] for warning in plan_of(settings(**changes))["warnings"]]


class Crashes:
    """A real supervisor whose children fall as soon as they are started; chance gives `draw`."""

    def __init__(self, spec: SupervisorSpec, draw: float, falling: set[str]) -> None:
        chance = random.Random(0)  # noqa: S311 - no secret
        chance.random = lambda: draw  # type: ignore[method-assign]
        self._core = SupervisorCore(spec, chance)
        self._falling = falling
        self._now = 0.0
        self.starts = 0
        self.gave_up_s: float | None = None
        self._play(spec)

    def _play(self, spec: SupervisorSpec) -> None:
        todo: list[object] = [Begin()]
        for _ in range(20 * (spec.intensity + 2) * len(spec.children)):
            while todo:
                commands = self._core.handle(todo.pop(0), self._now)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
                for command in commands:
                    if isinstance(command, Start):
                        name, number = command.spec.id, command.incarnation
                        self.starts += 1
                        todo.append(ChildReady(name, number, {}))
                        if name in self._falling:
                            todo.append(ChildExited(name, number, ExitReason("crash", 1)))
                    elif isinstance(command, Tell) and command.event.kind == "gave_up":
                        self.gave_up_s = self._now
                        return
            if self._core.next_wake is None:
                return
            self._now = self._core.next_wake
            todo.append(Tick())


def rules(intensity: int, period_s: float, backoff: Backoff, count: int = 1) -> SupervisorSpec:
    children = tuple(ChildSpec(f"c{n}", "some.where:main", backoff=backoff) for n in range(count))
    return SupervisorSpec("top", Strategy.ONE_FOR_ONE, intensity, period_s, children)


@pytest.mark.parametrize("intensity", [0, 1, 3, 8])
@pytest.mark.parametrize("period_s", [0.5, 5.0, 60.0])
@pytest.mark.parametrize("backoff", [Backoff(), Backoff(min_s=2, max_s=2), Backoff(factor=1.0)])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_shortest_time_to_give_up_is_what_the_supervisor_takes(
    intensity: int, period_s: float, backoff: Backoff, count: int
) -> None:
    spec = rules(intensity, period_s, backoff, count)
    case = worst_case(spec)
    names = {child.id for child in spec.children}
    together_s = Crashes(spec, 0.0, names).gave_up_s
    if together_s is not None and together_s > backoff.calm_s:
        # A child that lives until its failures are forgotten may be faster: see below.
        assert case.together_s is not None
        assert case.together_s <= together_s
    else:
        assert together_s == pytest.approx(case.together_s)
    assert Crashes(spec, 0.0, {"c0"}).gave_up_s == pytest.approx(case.alone_s)
    assert Crashes(spec, 1.0, {"c0"}).gave_up_s == pytest.approx(case.alone_jitter_s)


def test_the_number_of_processes_by_then_is_what_the_supervisor_starts() -> None:
    spec = rules(3, 5.0, Backoff())
    assert Crashes(spec, 0.0, {"c0"}).starts == worst_case(spec).process_starts == 4


def test_a_child_that_lives_long_enough_to_be_forgiven_may_be_faster() -> None:
    quick = Backoff(min_s=0.1, max_s=100.0, factor=10.0, jitter=0.0, reset_after_s=0.2)
    assert shortest_s(quick, 1) == pytest.approx(0.1)
    assert shortest_s(quick, 2) == pytest.approx(0.1 + 0.2 + 0.1)
    assert shortest_s(quick, 4) == pytest.approx(4 * 0.1 + 3 * 0.2)
    case = worst_case(rules(4, 5.0, quick))
    assert case.alone_s is None
    assert case.together_s == pytest.approx(1.0)
    assert case.alone_can_end


def test_all_that_are_restarted_together_take_turns_in_falling() -> None:
    spec = rules(3, 50.0, Backoff(min_s=1.0, max_s=100.0, jitter=0.0), count=3)
    together = SupervisorSpec("top", Strategy.ONE_FOR_ALL, 3, 50.0, spec.children)
    assert worst_case(together).together_s == 3.0
    assert worst_case(together).process_starts == 3 + 3 * 3


def test_restarts_of_levels_multiply() -> None:
    assert restarts_of([0, 3]) == 3
    assert restarts_of([3, 3]) == 15
    assert [w.kind for w in same_intensity({"top": 3, "agents": 3})] == ["same_intensity"]
    assert same_intensity({"top": 1, "agents": 3}) == []


def test_the_defaults_give_no_warning() -> None:
    assert kinds() == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"supervision__intensity": 6}, "never_gives_up"),
        ({"supervision__backoff_min": 4}, "never_gives_up"),
        ({"supervision__intensity": 0}, "no_restart"),
        ({"orchestrator__num_agents": 4}, "mass_fall"),
        ({"supervision__max_attempts": 9, "supervision__period": 60}, "poison_ends_fleet"),
    ],
)
def test_what_is_probably_not_meant_is_warned_of(changes: dict[str, object], kind: str) -> None:
    assert kind in kinds(**changes)


def test_the_tree_is_the_one_that_a_fleet_starts() -> None:
    plan = plan_of(settings(gateway__scripted_model=True, supervision__strategy="rest_for_one"))
    services, agents = plan["tree"]["children"]
    assert [child["id"] for child in services["children"]] == ["scripted_model", "gateway"]
    assert [child["id"] for child in agents["children"]] == ["agent_000", "agent_001", "agent_002"]
    assert agents["strategy"] == "rest_for_one"
    assert agents["children"][0]["children"][0]["kind"] == "container"


def test_the_plan_says_when_an_idle_agents_container_ends() -> None:
    parks = "\n".join(plan_lines(plan_of(settings(agent__park_after=90.0))))
    assert "ended when its agent has been idle for 90 s, until a task comes" in parks
    assert "idle for" not in "\n".join(plan_lines(plan_of(settings())))


def test_spending_without_a_budget_is_bounded_by_attempts_turns_and_tasks() -> None:
    changes = {"agent__max_turns": 7, "supervision__max_attempts": 2, "task_queue__max_size": 10}
    spend = plan_of(settings(**changes, supervision__backoff_max=0.2))["worst"]["spend"]
    assert spend["usd"] is None
    assert {caps["most"] for caps in spend["caps"].values()} == {None}
    # A conversation that grows too long is summed up, gone on with, and begun anew.
    assert (spend["attempts_per_task"], spend["turns_per_attempt"]) == (2, 3 * 7 + 1)
    assert spend["retries_per_task"] == 1500  # waits of 0.2 s in a timeout of 300 s
    assert spend["tasks"] == 13
    per_task = (2 + 1500) * 22 * (1 + spend["given_per_task"])
    assert (spend["given_per_task"], spend["turns_per_task"]) == (20, per_task)
    assert spend["turns"] == 13 * per_task


def test_an_agent_that_is_alone_gives_no_tasks_away() -> None:
    assert _spend(settings(orchestrator__num_agents=1))["given_per_task"] == 0
    assert _spend(settings(team__tools=["send_message"]))["given_per_task"] == 0
    assert _spend(settings(team__max_tasks=7))["given_per_task"] == 7


def test_a_budget_in_dollars_bounds_the_spending_and_people_are_told() -> None:
    whole = Settings(budget=BudgetSettings(task_dollars=2.0, fleet_dollars=50.0))
    assert _spend(whole)["usd"] == 50.0
    text = "\n".join(plan_lines(plan_of(whole)))
    assert "spend: at most $50.00 within 86400 s" in text
    assert "budget in dollars: 2 a task, 50 the fleet; 50 in all" in text


def test_the_smallest_of_the_budgets_of_tasks_agents_and_fleet_bounds_all() -> None:
    queue = TaskQueueSettings(max_size=7)
    by_task = BudgetSettings(task_dollars=2.0, fleet_dollars=50.0, task_tokens=1000)
    spend = _spend(Settings(budget=by_task, task_queue=queue))
    assert spend["tasks"] == 10
    assert spend["usd"] == 20.0
    assert spend["caps"]["tokens"] == {"task": 1000, "agent": None, "fleet": None, "most": 10_000}
    by_agent = BudgetSettings(agent_dollars=5.0, task_dollars=2.0)
    assert _spend(Settings(budget=by_agent, task_queue=queue))["usd"] == 15.0


def test_the_budget_of_a_role_counts_in_place_of_that_of_any_task() -> None:
    dear = RoleSettings(tasks=("question",), budget=RoleBudget(dollars=9.0))
    both = Settings(budget=BudgetSettings(task_dollars=2.0), roles={"dear": dear})
    assert _spend(both)["caps"]["dollars"]["task"] == 9.0
    # What the role does not do has no cap at all.
    assert _spend(Settings(roles={"dear": dear}))["usd"] is None
    every = RoleSettings(tasks=get_args(TaskTypeName), budget=RoleBudget(dollars=9.0))
    assert _spend(Settings(roles={"every": every}))["usd"] == 9.0 * 1003


def test_agents_and_turns_of_roles_count() -> None:
    role = RoleSettings(tasks=("analysis",), count=3, limits=RoleLimits(max_turns=500))
    whole = Settings(
        orchestrator=OrchestratorSettings(num_agents=1, max_workers=8), roles={"deep": role}
    )
    spend = _spend(whole)
    assert (spend["max_turns"], spend["tasks"]) == (500, 1004)


def test_each_agents_container_is_that_of_its_role() -> None:
    limits = RoleLimits(memory="4g", cpu="3", max_turns=9)
    role = RoleSettings(
        tasks=("question",), count=2, image="own:1", model="claude-opus-4-8", limits=limits
    )
    plan = plan_of(Settings(orchestrator=OrchestratorSettings(num_agents=1), roles={"wise": role}))
    common, *wise = plan["tree"]["children"][1]["children"]
    assert [agent["role"] for agent in (common, *wise)] == [None, "wise", "wise"]
    (own,) = wise[0]["children"]
    expected = ("own:1", "4g", "3", 9, "claude-opus-4-8", "question@wise")
    assert tuple(own[name] for name in _MADE_OF) == expected
    (usual,) = common["children"]
    assert tuple(usual[name] for name in _MADE_OF)[1:] == ("2g", "1.0", 50, None, "generic")


def test_the_agents_of_each_role_are_shown_with_their_own_rules() -> None:
    role = RoleSettings(tasks=("question",), count=2, limits=RoleLimits(memory="4g"))
    text = "\n".join(plan_lines(plan_of(Settings(roles={"wise": role}))))
    assert "agent_002  agent, permanent" in text
    assert "agent_003  agent of role wise\n" in text
    assert "agent_004  agent of role wise, permanent" in text
    assert "2g memory" in text
    assert "4g memory" in text


_MADE_OF = ("image", "memory", "cpus", "max_turns", "model", "warm_for")


def _spend(whole: Settings) -> dict[str, Any]:
    spend: dict[str, Any] = plan_of(whole)["worst"]["spend"]
    return spend


def test_people_are_told_the_same() -> None:
    text = "\n".join(plan_lines(plan_of(settings(supervision__backoff_min=4))))
    assert "supervisor one_for_one: bears 3 restarts within 5 s" in text
    assert "spend: unknown" in text
    assert "warning: a slow crash loop never gives up" in text
    assert "it has started up to 6 processes by then" in text
    assert "0.2 to 5 s after the first" in "\n".join(plan_lines(plan_of(settings())))


def test_a_wrong_setting_is_the_configurations_own_error() -> None:
    with pytest.raises(ConfigurationError, match="intensity"):
        settings(supervision__intensity="many")
