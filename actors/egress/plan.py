"""What the settings make of the ways out: sockets for the gateway, folders for the containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .container import EGRESS_SOCKET_NAME, prepare
from .rules import ways_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..fleet_places import FleetPlaces
    from ..settings import Settings

LOG_NAME = "egress.log"


def seat_args(settings: Settings, places: FleetPlaces, agent_id: str) -> dict[str, Any]:
    """By role what an agent's containers are given: the folder to mount, and the hosts' names."""
    return {
        role: {"folder": str(places.egress_dir(agent_id, number)), "hosts": list(allowed)}
        for number, (role, allowed) in enumerate(ways_of(settings).items())
    }


def prepare_ways(settings: Settings, places: FleetPlaces, agents: Iterable[str]) -> None:
    """Make all folders that are mounted for a way out."""
    count = len(ways_of(settings))
    for agent in agents:
        for number in range(count):
            prepare(places.egress_dir(agent, number))


def doors_args(settings: Settings, places: FleetPlaces, agents: Iterable[str]) -> dict[str, Any]:
    """The part of the gateway's child spec that `EgressDoors` reads; empty when nobody gets out.

    Each agent has a socket for each role that may reach something: which one a container sees is
    fixed when it is made, whatever becomes of the gateway or the agent.
    """
    ways, egress = ways_of(settings), settings.egress
    if not ways:
        return {}
    return {
        "doors": [
            {
                "agent_id": agent,
                "socket_path": str(places.egress_dir(agent, number) / EGRESS_SOCKET_NAME),
                "setting": allowed.setting,
                "allow": list(allowed),
            }
            for agent in agents
            for number, allowed in enumerate(ways.values())
        ],
        "allow_addresses": list(egress.allow_addresses),
        "max_connections": egress.max_connections,
        "max_bytes": egress.max_bytes,
        "max_time_s": egress.max_time,
        "log": str(places.logs / LOG_NAME),
    }
