"""What a configuration makes, and what it can do at worst: from settings to plain data. Pure."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.supervision.ladder import stop_ladder

from .fleet_places import FleetPlaces
from .fleet_specs import (
    agent_ids,
    agent_spec,
    agents_supervisor,
    gateway_spec,
    scripted_model_spec,
    services_supervisor,
)
from .gateway.credentials import Credentials
from .podman import image_tag
from .team.roles import Roles
from .worst_case import WorstCase, worst_case
from .worst_spend import worst_spend

if TYPE_CHECKING:
    from understudy.supervision import ChildSpec, SupervisorSpec

    from .settings import Settings


@dataclass(frozen=True)
class PlanWarning:
    """Something about a configuration that its author may not have meant."""

    kind: str
    text: str


def plan_of(settings: Settings) -> dict[str, Any]:
    """The plan of a fleet with these settings, as plain data; what nobody can know is None.

    `tree` is the supervision tree with its rules, `worst` what can come of them, `warnings` what
    is probably not meant.
    """
    services, agents = _rules(settings)
    cases = {rules.id: worst_case(rules) for rules in (services, agents)}
    return {
        "tree": _tree(settings, (services, agents)),
        "worst": {
            "levels": _levels(agents),
            "supervisors": {name: _case(case) for name, case in cases.items()},
            "spend": worst_spend(settings),
            "stop_s": _stop_s(settings, (services, agents)),
        },
        "warnings": [asdict(warning) for warning in _warnings(settings, agents, cases["agents"])],
    }


def _rules(settings: Settings) -> tuple[SupervisorSpec, SupervisorSpec]:
    """The very specs that a fleet would start, but for its folders and its key."""
    here = Path("/")
    places = FleetPlaces("plan", here, here, here, here, here, here)
    ids = agent_ids(settings)
    image = settings.agent.image or image_tag(settings.agent.cli_version)
    agents = [
        agent_spec(name, settings, places, image=image, owner=None, podman_env={}) for name in ids
    ]
    services: list[ChildSpec] = []
    if settings.gateway.scripted_model:
        services.append(scripted_model_spec(settings, places, "understudy.fakeapi.process:main"))
    services.append(gateway_spec(settings, places, ids, Credentials("api_key", "none"), "", {}))
    return services_supervisor(settings, services), agents_supervisor(settings, agents)


# -- the tree ---------------------------------------------------------------------------------


def _tree(settings: Settings, supervisors: tuple[SupervisorSpec, ...]) -> dict[str, Any]:
    return {
        "id": "root",
        "kind": "root",
        "restarts": 0,
        "children": [_supervisor(settings, rules) for rules in supervisors],
    }


def _supervisor(settings: Settings, rules: SupervisorSpec) -> dict[str, Any]:
    is_agents = rules.id == "agents"
    return {
        "id": rules.id,
        "kind": "supervisor",
        "strategy": rules.strategy.value,
        "intensity": rules.intensity,
        "period_s": rules.period_s,
        "children": [_agent(settings, c) if is_agents else _child(c) for c in rules.children],
    }


def _child(child: ChildSpec) -> dict[str, Any]:
    backoff = child.backoff
    return {
        "id": child.id,
        "kind": "service",
        "restart": child.restart.value,
        "backoff": asdict(backoff) | {"reset_after_s": backoff.calm_s} if backoff else None,
        "start_timeout_s": child.start_timeout_s,
        "shutdown_s": child.shutdown_s,
        "liveness_interval_s": child.liveness_interval_s,
        "children": [],
    }


def _agent(settings: Settings, child: ChildSpec) -> dict[str, Any]:
    roles = Roles.of(settings)
    return _child(child) | {
        "kind": "agent",
        "role": roles.of_agent(child.id),
        "children": [_container(settings, roles, child)],
    }


def _container(settings: Settings, roles: Roles, child: ChildSpec) -> dict[str, Any]:
    """The container that the agent has ready, or makes for a task of its role."""
    agent, warm_for = settings.agent, child.args["warm_for"]
    # Where it is warm for nothing: what its first task needs that is of no special type.
    key = warm_for or roles.warm_for(child.id, "generic") or "generic"
    manner = roles.type_by_key(key).manner
    return {
        "id": f"container of {child.id}",
        "kind": "container",
        "image": manner.image or child.args["plan"]["image"],
        "memory": manner.memory or agent.container_memory,
        "cpus": manner.cpus or agent.container_cpu,
        "pids_limit": agent.pids_limit,
        "model": manner.model or agent.model,
        "max_turns": manner.max_turns or agent.max_turns,
        "warm_for": warm_for,
        "stall_s": agent.stall_timeout,
        "park_after_s": agent.park_after,
    }


# -- the worst --------------------------------------------------------------------------------


def restarts_of(levels: list[int]) -> int:
    """The restarts of a process below supervisors that bear so many each, the outermost first.

    Each restart of a level brings a fresh window to all levels below it: they multiply.
    """
    return math.prod(borne + 1 for borne in levels) - 1


def _levels(agents: SupervisorSpec) -> dict[str, Any]:
    # The root starts no supervisor again: one that gives up ends the fleet.
    levels = {"root": 0, agents.id: agents.intensity}
    return {"restarts": levels, "product": restarts_of(list(levels.values()))}


def _case(case: WorstCase) -> dict[str, Any]:
    return {name: _rounded(value) for name, value in asdict(case).items()}


def _rounded(value: float | None) -> float | None:
    return round(value, 3) if isinstance(value, float) else value


def _stop_s(settings: Settings, supervisors: tuple[SupervisorSpec, ...]) -> float:
    """The grace for running turns, and then each child that does not listen, one after another."""
    children = [child for rules in supervisors for child in rules.children]
    steps = [step for child in children for step in stop_ladder(child.shutdown_s)]
    return settings.supervision.shutdown_timeout + sum(step.patience_s or 0.0 for step in steps)


# -- warnings ---------------------------------------------------------------------------------


def _warnings(settings: Settings, agents: SupervisorSpec, case: WorstCase) -> list[PlanWarning]:
    found = [_never(agents, case), _mass_fall(agents, case), _none_borne(agents)]
    found += [_poison(settings, agents, case), *same_intensity({agents.id: agents.intensity})]
    return [warning for warning in found if warning]


def _never(agents: SupervisorSpec, case: WorstCase) -> PlanWarning | None:
    if case.alone_can_end:
        return None
    every = "" if case.together_s is None else " alone"
    text = (
        f"a slow crash loop never gives up: with this backoff {case.falls} falls of an agent"
        f"{every} never lie within supervision.period ({agents.period_s:g} s), so it is restarted "
        "for ever; lower supervision.intensity or backoff_max, or raise supervision.period"
    )
    return PlanWarning("never_gives_up", text)


def _mass_fall(agents: SupervisorSpec, case: WorstCase) -> PlanWarning | None:
    count = len(agents.children)
    if case.together_s != 0.0 or not agents.intensity:
        return None
    text = (
        f"{count} agents that fall at one moment end the fleet at once: more than "
        f"supervision.intensity ({agents.intensity}); raise it to {count} or more to bear that"
    )
    return PlanWarning("mass_fall", text)


def _none_borne(agents: SupervisorSpec) -> PlanWarning | None:
    if agents.intensity:
        return None
    text = "supervision.intensity is 0: the first fall of an agent ends the fleet"
    return PlanWarning("no_restart", text)


def _poison(settings: Settings, agents: SupervisorSpec, case: WorstCase) -> PlanWarning | None:
    deaths = settings.supervision.max_attempts
    # The death that makes it poison is not counted.
    if not 0 < agents.intensity < deaths - 1 or case.alone_s is None:
        return None
    text = (
        f"a task that fells its agent at once ends the fleet before it is quarantined: it has "
        f"{deaths} attempts, and supervision.intensity is {agents.intensity}"
    )
    return PlanWarning("poison_ends_fleet", text)


def same_intensity(levels: dict[str, int]) -> list[PlanWarning]:
    """A warning for each two levels, one below the other, that bear the same number of restarts.

    The outer one then bears as many storms of the inner one as the inner one bears falls.
    """
    pairs = itertools.pairwise(levels.items())
    return [
        PlanWarning(
            "same_intensity",
            f"{outer} and {inner} below it have the same intensity ({borne}): together they bear "
            f"{restarts_of([borne, borne])} restarts; give the outer one less",
        )
        for (outer, borne), (inner, other) in pairs
        if borne == other and borne > 0
    ]
