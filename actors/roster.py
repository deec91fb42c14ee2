"""What the root knows of each agent and service: pure bookkeeping, it sends nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from understudy.supervision import ChildEvent
    from understudy.transport import AgentMessage

# `starting` has no process yet, `warming` has one that makes its container ready.
AgentState = Literal["starting", "warming", "ready", "busy", "tidying", "down", "failed"]


@dataclass(slots=True)
class AgentRecord:
    """One agent, as the root last heard of it."""

    agent_id: str
    state: AgentState = "starting"
    incarnation: int = 0
    restarts: int = 0
    task_id: str | None = None
    warm_for: str | None = None
    pid: int | None = None
    container: str | None = None
    container_pid: int | None = None
    last_failure: str | None = None
    stale_messages: int = 0
    crash_kind: str | None = None
    usage: dict[str, int] = field(default_factory=dict[str, int])

    def gone(self) -> None:
        """Its process has ended: nothing of what it had is there any more."""
        self.state = "down"
        self.task_id = self.warm_for = self.container = None
        self.pid = self.container_pid = self.crash_kind = None

    def to_status(self) -> dict[str, Any]:
        """The record as `get_agent_status` shows it; the first three keys are the brief's."""
        return {
            "running": self.state not in ("starting", "down", "failed"),
            "current_task": self.task_id,
            "health_check_failed": self.restarts,
            "state": self.state,
            "incarnation": self.incarnation,
            "restarts": self.restarts,
            "warm_for": self.warm_for,
            "pid": self.pid,
            "container": self.container,
            "container_pid": self.container_pid,
            "last_failure": self.last_failure,
            "stale_messages": self.stale_messages,
            "usage": dict(self.usage),
        }


class Roster:
    """All agents by id, in their order of start.

    Attributes:
        services: the fleet's other children by their id, as they were last heard of.
        stale_messages: how many came too late, from agents and from unknown senders.
    """

    def __init__(self, agent_ids: list[str]) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        self.stale_messages = 0
        self._agents = {agent_id: AgentRecord(agent_id) for agent_id in agent_ids}

    def __getitem__(self, agent_id: str) -> AgentRecord:
        return self._agents[agent_id]

    def __contains__(self, agent_id: object) -> bool:
        return agent_id in self._agents

    def all(self) -> list[AgentRecord]:
        """Every agent."""
        return list(self._agents.values())

    def idle(self) -> dict[str, str | None]:
        """Agents that can take a task now, and the task type each is warm for."""
        return {a.agent_id: a.warm_for for a in self._agents.values() if a.state == "ready"}

    def any_hope(self) -> bool:
        """Whether at least one agent works or may come back."""
        return any(agent.state != "failed" for agent in self._agents.values())

    def note_service(self, event: ChildEvent) -> None:
        """Keep what happened to a child that is no agent."""
        pid = event.info.get("pid")
        state = {"state": event.kind, "incarnation": event.incarnation, "pid": pid}
        self.services[event.child_id] = state

    def is_stale(self, message: AgentMessage) -> bool:
        """Whether it comes from an incarnation that has ended: its last words may come late."""
        agent = self._agents.get(message.sender_id)
        if agent is None or agent.state in ("down", "failed"):
            return True
        return message.incarnation != agent.incarnation

    def count_stale(self, message: AgentMessage) -> None:
        """Count a message that changes nothing any more."""
        self.stale_messages += 1
        if agent := self._agents.get(message.sender_id):
            agent.stale_messages += 1

    def count_usage(self, agent_id: str, tokens: dict[str, Any]) -> None:
        """Add what the gateway counted for one request of the agent."""
        if agent_id not in self._agents:
            return
        usage = self._agents[agent_id].usage
        usage["requests"] = usage.get("requests", 0) + 1
        for name in ("input_tokens", "output_tokens"):
            usage[name] = usage.get(name, 0) + int(tokens.get(name) or 0)
