"""What the root knows of each agent and service: pure bookkeeping, it sends nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .orders import GATEWAY
from .tasks.rows import Conversation

if TYPE_CHECKING:
    from understudy.supervision import ChildEvent, ExitReason
    from understudy.transport import AgentMessage

# `starting` has no process yet, `warming` has one that makes its container ready. One that is
# `parking` was told to end its container, `parked` has done so; both can take a task.
AgentState = Literal[
    "starting", "warming", "ready", "parking", "parked", "busy", "tidying", "stopping", "down",
    "failed",
]  # fmt: skip
_FREE = ("ready", "parking", "parked")
_SERVICE_STATES = {
    "starting": "starting", "ready": "ready", "exited": "down", "restarting": "down",
    "gave_up": "failed", "stopped": "stopped",
}  # fmt: skip
_EGRESS_SUMS = ("connections", "refused", "sent_bytes", "received_bytes")
_MAX_HOSTS = 100
# What the gateway tells of: what has happened, and what is so now.
_SUMS = ("usage", "egress")
_REPORTS = (*_SUMS, "waiting", "paused")


@dataclass(slots=True)
class AgentRecord:
    """One agent, as the root last heard of it."""

    agent_id: str
    state: AgentState = "starting"
    incarnation: int = 0
    restarts: int = 0
    task_id: str | None = None
    warm_for: str | None = None
    # The conversation that its warm CLI has not begun yet.
    conversation: Conversation | None = None
    pid: int | None = None
    container: str | None = None
    container_pid: int | None = None
    last_failure: str | None = None
    last_failure_kind: str | None = None
    stale_messages: int = 0
    crash_kind: str | None = None
    suspended: bool = False
    renewing: bool = False
    usage: dict[str, int] = field(default_factory=dict[str, int])
    # What it reached beside the API, or wanted to, by host and port.
    egress: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    # Why the gateway holds a request of it: rate_limit, overloaded, api_down, budget or None.
    waits_for: str | None = None

    def fell(self, reason: ExitReason | None) -> str:
        """Its process has ended; why, in words. An end that was asked for is no failure."""
        said = reason.failure_kind or reason.kind if reason else "unknown"
        kind = self.crash_kind or said
        why = self.last_failure if self.crash_kind else (reason.detail if reason else "")
        words = f"{kind}: {why}" if why else kind
        if kind != "shutdown":
            self.last_failure, self.last_failure_kind = words, kind
        self.gone()
        return words

    def gone(self) -> None:
        """Its process has ended: nothing of what it had is there any more."""
        self.state = "down"
        self.task_id = self.warm_for = self.container = None
        self.pid = self.container_pid = self.crash_kind = self.waits_for = None
        self.conversation = None

    @property
    def is_parked(self) -> bool:
        """Whether it has no container, because nobody needed it."""
        return self.state in ("parking", "parked")

    def park(self) -> None:
        """It is told to end its container: nothing of what it has warm can be used any more."""
        self.state, self.warm_for, self.conversation = "parking", None, None

    def is_free(self, payload: dict[str, Any]) -> None:
        """It says that it can take a task, and what it has for one."""
        self.state = "parked" if payload["state"] == "parked" else "ready"
        self.warm_for = payload.get("warm_for")
        self.conversation = Conversation.of(payload)
        self.has_container(payload)

    def has_container(self, payload: dict[str, Any]) -> None:
        """It says which container it has now."""
        self.container = payload.get("container")
        self.container_pid = payload.get("container_pid")

    def renew(self) -> None:
        """It is to end and to start again, because somebody asked for it."""
        self.renewing = True
        if self.state not in ("down", "failed"):
            self.state = "stopping"

    def starts(self, incarnation: int) -> None:
        """Its next incarnation is about to have a process."""
        self.state, self.incarnation, self.pid, self.renewing = "starting", incarnation, None, False

    def runs(self, pid: int | None) -> None:
        """Its process is ready; an agent may have told already that it can take a task."""
        self.pid = pid
        if self.state == "starting":
            self.state = "warming"

    def count_usage(self, tokens: dict[str, Any]) -> None:
        """Add what the gateway counted for one request."""
        usage = self.usage
        usage["requests"] = usage.get("requests", 0) + 1
        for name in ("input_tokens", "output_tokens"):
            usage[name] = usage.get(name, 0) + int(tokens.get(name) or 0)

    def count_egress(self, passage: dict[str, Any]) -> None:
        """Add one connection that it made, or wanted to make, beside those to the API."""
        hosts = self.egress
        host = str(passage.get("host") or "no host")
        # Names are the agent's to choose: they must not fill this process.
        if host not in hosts and len(hosts) >= _MAX_HOSTS:
            host = "others"
        sums = hosts.setdefault(host, dict.fromkeys(_EGRESS_SUMS, 0))
        sums["connections"] += 1
        sums["refused"] += passage.get("refused") is not None
        sums["sent_bytes"] += int(passage.get("sent_bytes") or 0)
        sums["received_bytes"] += int(passage.get("received_bytes") or 0)

    def to_status(self) -> dict[str, Any]:
        """The record as `get_agent_status` shows it; the first three keys are the brief's."""
        return {
            "running": self.state not in ("starting", "down", "failed"),
            "current_task": self.task_id,
            "health_check_failed": self.restarts,
            "state": self.state,
            "waits_for": self.waits_for,
            "incarnation": self.incarnation,
            "restarts": self.restarts,
            "warm_for": self.warm_for,
            "pid": self.pid,
            "container": self.container,
            "container_pid": self.container_pid,
            "last_failure": self.last_failure,
            "last_failure_kind": self.last_failure_kind,
            "suspended": self.suspended,
            "stale_messages": self.stale_messages,
            "usage": dict(self.usage),
            "egress": {host: dict(sums) for host, sums in self.egress.items()},
        }


@dataclass(slots=True)
class ServiceRecord:
    """A child that agents rely on, as the root last heard of it."""

    state: str = "starting"
    incarnation: int = 0
    restarts: int = 0
    pid: int | None = None
    last_failure: str | None = None
    last_failure_kind: str | None = None
    renewing: bool = False

    def renew(self) -> int:
        """It is to end and to start again, because somebody asked for it; the one that ends."""
        self.renewing = True
        return self.incarnation

    def to_status(self) -> dict[str, Any]:
        """The record as `status` shows it."""
        told = asdict(self)
        del told["renewing"]
        return told

    def serves(self, incarnation: int) -> bool:
        """Whether that incarnation is the one that works now."""
        return self.state in ("starting", "ready") and self.incarnation == incarnation

    def note(self, event: ChildEvent) -> None:
        """Take what happened to it."""
        if event.kind not in _SERVICE_STATES:
            return
        self.state = _SERVICE_STATES[event.kind]
        self.incarnation = event.incarnation
        self.restarts += event.kind == "restarting" and not self.renewing
        self.renewing = self.renewing and event.kind != "starting"
        self.pid = event.info.get("pid")
        reason = event.reason
        if event.kind == "exited" and reason and reason.kind != "shutdown":
            self.last_failure_kind = reason.failure_kind or reason.kind
            self.last_failure = f"{reason.kind}: {reason.detail}" if reason.detail else reason.kind


class Roster:
    """All agents by id, in their order of start.

    Attributes:
        services: the fleet's other children by their id, as they were last heard of.
        stale_messages: how many came too late, from agents and from unknown senders.
    """

    def __init__(self, agent_ids: list[str]) -> None:
        self.services: dict[str, ServiceRecord] = {}
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
        agents = self._agents.values()
        return {a.agent_id: a.warm_for for a in agents if a.state in _FREE and not a.suspended}

    def parked(self) -> set[str]:
        """Agents that have no container, because nobody needed them."""
        return {agent.agent_id for agent in self._agents.values() if agent.is_parked}

    def any_hope(self) -> bool:
        """Whether at least one agent works or may come back."""
        return any(agent.state != "failed" for agent in self._agents.values())

    def note_service(self, event: ChildEvent) -> None:
        """Keep what happened to a child that is no agent."""
        if event.incarnation:  # without, it is about the supervisor itself
            self.services.setdefault(event.child_id, ServiceRecord()).note(event)

    def is_report(self, message: AgentMessage) -> bool:
        """Whether the gateway reports. The sums of one that has ended are true all the same."""
        kind = message.payload.get("kind")
        if message.sender_id != GATEWAY or kind not in _REPORTS:
            return False
        gateway = self.services.get(GATEWAY)
        is_now = gateway is not None and gateway.serves(message.incarnation)
        return is_now or kind in _SUMS

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

    def task_of(self, report: dict[str, Any]) -> str | None:
        """The task that the agent of which the gateway tells works on, if there is one."""
        agent = self._agents.get(str(report.get("agent_id")))
        return agent.task_id if agent else None

    def note_report(self, report: dict[str, Any]) -> None:
        """Keep what the gateway tells of an agent: `usage`, `waiting` or `egress`."""
        agent = self._agents.get(str(report.get("agent_id")))
        if agent is None:
            return
        match report["kind"]:
            case "waiting":
                agent.waits_for = report.get("waits_for")
            case "usage":
                agent.count_usage(report)
            case _:
                agent.count_egress(report)
