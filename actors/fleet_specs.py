"""What the supervisors are given: child specs for agents and gateway, from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.supervision import Backoff, ChildSpec, Restart, Strategy, SupervisorSpec

from .bus import bus_args
from .egress.plan import doors_args, seat_args
from .failure import PERMANENT_KINDS, UNCOUNTED_KINDS
from .gateway.from_settings import cli_env
from .team.roles import Roles, agent_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .fleet_places import FleetPlaces
    from .gateway import Credentials
    from .settings import Settings

# Containers end by themselves after a day and their task's time, whatever became of their owner.
_CONTAINER_LIFETIME_S = 24 * 3600


def agent_ids(settings: Settings) -> list[str]:
    """The names of the agents, `agent_000` and so on: those without a role, then role by role."""
    count = settings.orchestrator.num_agents
    count += sum(role.count or 0 for role in settings.roles.values())
    return [agent_name(number) for number in range(count)]


def agent_spec(
    agent_id: str,
    settings: Settings,
    places: FleetPlaces,
    *,
    image: str,
    owner: tuple[int, int] | None,
    podman_env: Mapping[str, str],
) -> ChildSpec:
    """The child spec of one agent."""
    agent, roles = settings.agent, Roles.of(settings)
    plan = {
        "run_id": places.run_id,
        "image": image,
        "conversations": str(places.conversations),
        "keep_contexts": settings.storage.keep_contexts,
        "saved": str(places.saved),
        "save_interval_s": settings.storage.save_interval,
        "socket_dir": str(places.socket_dir(agent_id)),
        "egress": seat_args(settings, places, agent_id),
        "owner": list(owner) if owner else None,
        "memory": agent.container_memory,
        "cpus": agent.container_cpu,
        "pids_limit": agent.pids_limit,
        "missing_limits": list(agent.allow_missing_limits),
        "model": agent.model,
        "max_turns": agent.max_turns,
        "startup_timeout_s": agent.startup_timeout,
        "lifetime_s": _CONTAINER_LIFETIME_S,
        "max_file_bytes": settings.storage.max_file_bytes,
        "max_workspace_bytes": settings.storage.max_workspace_bytes,
        "podman_env": dict(podman_env),
        "cli_env": cli_env(settings),
        "roles": roles.to_wire(),
    }
    args: dict[str, Any] = {
        **_bus(settings, places),
        "plan": plan,
        "stall_s": agent.stall_timeout,
        "transcripts": str(places.transcripts),
        "warm_for": roles.warm_for(agent_id, agent.warm_for),
        "log_level": settings.orchestrator.log_level,
    }
    return ChildSpec(
        id=agent_id,
        target="understudy.actors.agent:main",
        args=args,
        restart=Restart.PERMANENT,
        shutdown_s=settings.supervision.shutdown_timeout,
        start_timeout_s=agent.startup_timeout,
        backoff=_backoff(settings),
        liveness_interval_s=agent.health_check_interval,
        log_path=str(places.logs / f"{agent_id}.log"),
    )


def gateway_spec(
    settings: Settings,
    places: FleetPlaces,
    agents: list[str],
    credentials: Credentials,
    url: str,
    desk: Mapping[str, Any],
) -> ChildSpec:
    """The child spec of the gateway, the one process that gets the key; `desk`: see `desk_args`."""
    return ChildSpec(
        id="gateway",
        target="understudy.actors.gateway.process:main",
        args={
            **_bus(settings, places),
            "name": "gateway",
            "upstream": url,
            "credentials": credentials.to_wire(),
            "agents": {agent: str(places.api_socket(agent)) for agent in agents},
            "egress": doors_args(settings, places, agents),
            **desk,
        },
        restart=Restart.PERMANENT,
        shutdown_s=settings.supervision.shutdown_timeout,
        start_timeout_s=settings.agent.startup_timeout,
        backoff=_backoff(settings),
        liveness_interval_s=settings.agent.health_check_interval,
        log_path=str(places.logs / "gateway.log"),
    )


def scripted_model_spec(settings: Settings, places: FleetPlaces, target: str) -> ChildSpec:
    """The child spec of the scripted model; `target` is its main function."""
    return ChildSpec(
        id="scripted_model",
        target=target,
        args={"unix": str(places.scripted_model)},
        restart=Restart.PERMANENT,
        shutdown_s=settings.supervision.shutdown_timeout,
        start_timeout_s=settings.agent.startup_timeout,
        backoff=_backoff(settings),
        log_path=str(places.logs / "scripted_model.log"),
    )


def agents_supervisor(settings: Settings, children: list[ChildSpec]) -> SupervisorSpec:
    """The supervisor of the agents, with the strategy that the configuration names."""
    rules = settings.supervision
    return SupervisorSpec(
        id="agents",
        strategy=Strategy(rules.strategy),
        intensity=rules.intensity,
        period_s=rules.period,
        children=tuple(children),
        uncounted_kinds=UNCOUNTED_KINDS,
        permanent_kinds=PERMANENT_KINDS,
    )


def services_supervisor(settings: Settings, children: list[ChildSpec]) -> SupervisorSpec:
    """The supervisor of what agents rely on: the gateway, and a scripted model if one is used."""
    rules = settings.supervision
    return SupervisorSpec(
        id="services",
        strategy=Strategy.ONE_FOR_ONE,
        intensity=rules.intensity,
        period_s=rules.period,
        children=tuple(children),
        uncounted_kinds=UNCOUNTED_KINDS,
        permanent_kinds=PERMANENT_KINDS,
    )


def _bus(settings: Settings, places: FleetPlaces) -> dict[str, Any]:
    communication = settings.communication
    return bus_args(str(places.bus), communication.message_timeout, communication.retry_count)


def _backoff(settings: Settings) -> Backoff:
    rules = settings.supervision
    return Backoff(
        min_s=rules.backoff_min,
        max_s=rules.backoff_max,
        factor=rules.backoff_factor,
        jitter=rules.backoff_jitter,
    )
