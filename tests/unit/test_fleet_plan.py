"""The plan of a configuration, checked against the supervisor's own core where it predicts it."""

from __future__ import annotations

import random

import pytest

from understudy.actors.fleet_plan import plan_of, restarts_of, same_intensity
from understudy.actors.settings import Settings
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


def test_spending_is_unknown_and_bounded_by_attempts_turns_and_tasks() -> None:
    changes = {"agent__max_turns": 7, "supervision__max_attempts": 2, "task_queue__max_size": 10}
    spend = plan_of(settings(**changes, supervision__backoff_max=0.2))["worst"]["spend"]
    assert spend["usd"] is None
    assert (spend["attempts_per_task"], spend["turns_per_attempt"]) == (2, 7)
    assert spend["retries_per_task"] == 1500  # waits of 0.2 s in a timeout of 300 s
    assert spend["tasks"] == 13
    assert spend["turns"] == 13 * spend["turns_per_task"] == 13 * (2 + 1500) * 7


def test_people_are_told_the_same() -> None:
    text = "\n".join(plan_lines(plan_of(settings(supervision__backoff_min=4))))
    assert "supervisor one_for_one: bears 3 restarts within 5 s" in text
    assert "spend: unknown" in text
    assert "warning: a slow crash loop never gives up" in text
    assert "0.2 to 5 s after the first" in "\n".join(plan_lines(plan_of(settings())))


def test_a_wrong_setting_is_the_configurations_own_error() -> None:
    with pytest.raises(ConfigurationError, match="intensity"):
        settings(supervision__intensity="many")
