"""Roles: who does which tasks, with what, and on which agents. Pure data in, answers out.

The root and every agent's process hold the same roles, so that both know what a task is done by.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import AgentError
from ..settings import TEAM_TOOLS, RoleSettings, TeamSettings
from ..tasks.types import ACTING_TOOLS, TASK_TYPES, Manner, TaskType
from ..tasks.validate import InvalidTask, nearest_of
from .deny_rules import fault_of_rule
from .rights import EGRESS, narrowed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..settings import Settings
    from ..tasks.task import Task

_MAX_AGENTS = 256
# The lane of tasks that any agent without a role of its own takes.
COMMON = ""


class InvalidRole(AgentError):
    """A role contradicts itself or another.

    Attributes:
        key: the setting at fault.
        reason: what is wrong, and how to mend it.
    """

    exit_code_of_command = 2

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


def check_roles(settings: Settings) -> None:
    """Refuse roles that contradict themselves or each other.

    Raises:
        InvalidRole: the first of them.
    """
    takes: dict[str, str] = {}
    total = settings.orchestrator.num_agents
    for name, role in settings.roles.items():
        key = f"roles.{name}"
        for task_type in role.tasks:
            if takes.setdefault(task_type, name) != name:
                text = f"{task_type} is done by the role {takes[task_type]} already"
                raise InvalidRole(f"{key}.tasks", f"{text}; a task type has one role")
        acting = sorted(ACTING_TOOLS.intersection(role.tools or ()))
        if role.read_only and acting:
            text = f"{', '.join(acting)} would write; leave them out, or leave read_only out"
            raise InvalidRole(f"{key}.tools", text)
        for fault in filter(None, map(fault_of_rule, role.deny)):
            raise InvalidRole(f"{key}.deny", fault)
        total += role.count or 0
        if total > _MAX_AGENTS:
            text = f"with orchestrator.num_agents there would be {total} agents"
            raise InvalidRole(f"{key}.count", f"{text}; at most {_MAX_AGENTS} are possible")


class Roles:
    """The roles of a fleet, and which of its agents has which.

    Args:
        roles: by name.
        agents: the agents that do one role alone, with its name.
        caps: what any task may spend, by kind.
        team: how agents reach each other, where their role does not say; None: they do not.
        egress: the hosts that commands may reach where their role does not say.
    """

    def __init__(
        self,
        roles: Mapping[str, RoleSettings],
        agents: Mapping[str, str],
        caps: Mapping[str, float | None] | None = None,
        team: TeamSettings | None = None,
        egress: Collection[str] = (),
    ) -> None:
        self._egress = frozenset(egress)
        self._caps = dict(caps or {})
        self._team = team
        self._roles = dict(roles)
        self._agents = dict(agents)
        self._of_type: dict[str, str] = {
            t: name for name, role in self._roles.items() for t in role.tasks
        }

    @classmethod
    def of(cls, settings: Settings) -> Roles:
        """The roles of these settings. Agents without a role come first, then role by role."""
        number = settings.orchestrator.num_agents
        agents: dict[str, str] = {}
        for name, role in settings.roles.items():
            for _ in range(role.count or 0):
                agents[agent_name(number)] = name
                number += 1
        budget = settings.budget
        caps = {
            "dollars": budget.task_dollars,
            "tokens": budget.task_tokens,
            "turns": budget.task_turns,
            "seconds": budget.task_seconds,
        }
        # One that is alone has nobody to talk to.
        return cls(
            settings.roles,
            agents,
            caps,
            settings.team if number > 1 else None,
            settings.egress.allow,
        )

    def to_wire(self) -> dict[str, Any]:
        """The roles as plain data, which msgpack takes."""
        roles, team = msgspec.to_builtins(self._roles), msgspec.to_builtins(self._team)
        return {"roles": roles, "agents": dict(self._agents), "team": team}

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Roles:
        """The roles that `to_wire` wrote; none of nothing."""
        roles = msgspec.convert(data.get("roles") or {}, dict[str, RoleSettings])
        team = msgspec.convert(data.get("team"), TeamSettings | None)
        return cls(roles, data.get("agents") or {}, team=team)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all roles."""
        return tuple(self._roles)

    def of_agent(self, agent_id: str) -> str | None:
        """The one role that the agent does, or None when it does what has no agents of its own."""
        return self._agents.get(agent_id)

    def of_task(self, task: Task) -> str | None:
        """The name of the role that does the task: its own, its agent's, or its type's."""
        own = task.role or (self._agents.get(task.agent) if task.agent else None)
        return own or self._of_type.get(task.task_type)

    def type_of(self, task: Task) -> TaskType:
        """How the task is done.

        Raises:
            KeyError: its role is not there; `check` tells before.
        """
        name = self.of_task(task)
        kind = self.type_by_key(f"{task.task_type}@{name}" if name else task.task_type)
        return narrowed(kind, task.withheld)

    def type_by_key(self, key: str) -> TaskType:
        """The task type of that key, with nothing withheld; see `TaskType.key`.

        Raises:
            KeyError: there is none.
        """
        task_type, _, name = key.partition("@")
        kind, role = TASK_TYPES[task_type], self._roles[name] if name else None
        if role is not None:
            kind = _as_done_by(kind, name, role)
        return self._in_team(kind, role)

    def _in_team(self, kind: TaskType, role: RoleSettings | None) -> TaskType:
        """With the tools by which its agent reaches others, if there are others."""
        if self._team is None:
            return kind
        own = role.team_tools if role else None
        ours = TEAM_TOOLS if self._team.tools is None else self._team.tools
        tools = ours if own is None else own
        freely = (role and role.delegates) or self._team.delegates
        manner = replace(kind.manner, team_tools=tools, delegates_freely=freely == "freely")
        return replace(kind, manner=manner)

    def warm_for(self, agent_id: str, task_type: str | None) -> str | None:
        """What the agent has a CLI ready for at its start, given the task type of all others."""
        role = self._agents.get(agent_id)
        if task_type is None:
            return None
        if role is not None:
            tasks = self._roles[role].tasks
            return f"{tasks[0] if tasks else 'generic'}@{role}"
        mapped = self._of_type.get(task_type)
        if mapped is None:
            return task_type
        return None if self._roles[mapped].count else f"{task_type}@{mapped}"

    # -- who takes which tasks: a lane is a queue of its own --------------------------------------

    def lane(self, task: Task) -> str:
        """Where the task waits."""
        if task.agent:
            return f"agent:{task.agent}"
        name = self.of_task(task)
        role = self._roles.get(name) if name else None
        return f"role:{name}" if role is not None and role.count else COMMON

    def lanes(self, agent_id: str) -> tuple[str, str]:
        """Where the tasks wait that the agent takes."""
        role = self._agents.get(agent_id)
        return (f"agent:{agent_id}", f"role:{role}" if role else COMMON)

    def budget_of(self, task: Task) -> dict[str, Any] | None:
        """The caps of one task of its role; what the role does not say is what any task has.

        None when its role has no caps of its own.
        """
        name = self.of_task(task)
        own: dict[str, Any] = msgspec.to_builtins(self._roles[name].budget) if name else {}
        if not any(cap is not None for cap in own.values()):
            return None
        return {cap: self._caps.get(cap) if own[cap] is None else own[cap] for cap in own}

    def hosts_of(self, task: Task) -> frozenset[str]:
        """The hosts that its commands may reach; known to the root alone."""
        if EGRESS in task.withheld:
            return frozenset()
        name = self.of_task(task)
        own = self._roles[name].egress if name else None
        return self._egress if own is None else frozenset(own)

    def why_nobody(self, task: Task, agents: Collection[str]) -> str | None:
        """Why none of these agents takes the task, or None when one does."""
        try:
            self.check(task, agents)
        except InvalidTask as error:
            return str(error)
        return None

    def check(self, task: Task, agents: Collection[str]) -> None:
        """Refuse a task that names a role or an agent which is not there, or that do not fit.

        Raises:
            InvalidTask: says which name is wrong, with the nearest one.
        """
        if task.agent and task.agent not in agents:
            near = nearest_of(task.agent, agents)
            raise InvalidTask("agent", task.agent, "there is no agent of that name", near)
        if task.role is None:
            return
        if task.role not in self._roles:
            known = ", ".join(self._roles) or "none are configured"
            reason = f"it is no role of the configuration ({known})"
            raise InvalidTask("role", task.role, reason, nearest_of(task.role, self._roles))
        own = self._agents.get(task.agent) if task.agent else None
        counted = self._roles[task.role].count
        if task.agent and own != task.role and (own or counted):
            raise InvalidTask("agent", task.agent, f"{task.agent} does not do the role {task.role}")


def agent_name(number: int) -> str:
    """The name of the agent of that number, from 0."""
    return f"agent_{number:03d}"


def _as_done_by(kind: TaskType, name: str, role: RoleSettings) -> TaskType:
    tools = kind.tools if role.tools is None else role.tools
    if role.read_only:
        tools = tuple(tool for tool in tools if tool not in ACTING_TOOLS)
    manner = Manner(
        role=name,
        model=role.model,
        system_prompt=role.system_prompt,
        max_turns=role.limits.max_turns,
        memory=role.limits.memory,
        cpus=role.limits.cpu,
        image=role.image,
        asks=role.permission == "ask",
        permission_s=role.permission_timeout,
        denied=role.deny,
    )
    return replace(kind, tools=tools, manner=manner)
