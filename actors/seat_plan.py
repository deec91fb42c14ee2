"""What an agent's containers are made of: what all have in common, and what the task type adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .claude.argv import CLI_ENV, CliRole, cli_argv
from .claude.tools import BUS, tool_names
from .podman import ContainerSpec
from .podman.argv import with_egress
from .team.rights import EGRESS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .saving import Saving
    from .taking_up import Opened
    from .tasks.types import TaskType


@dataclass(frozen=True)
class SeatPlan:
    """What every container of one agent has in common.

    `conversations` holds their folders (see `Places`), of finished tasks at most `keep_contexts`;
    `socket_dir` is mounted for the way to the API, `egress` says by role which folder for others;
    `saving` says how work in progress is copied.
    """

    run_id: str
    agent_id: str
    incarnation: int
    image: str
    conversations: Path
    socket_dir: Path
    egress: Mapping[str, Any]
    owner: tuple[int, int] | None
    memory: str
    cpus: str
    pids_limit: int
    missing_limits: tuple[str, ...]
    model: str | None
    max_turns: int
    startup_timeout_s: float
    lifetime_s: int
    max_file_bytes: int
    max_workspace_bytes: int
    keep_contexts: int
    saving: Saving
    podman_env: Mapping[str, str]
    cli_env: Mapping[str, str]
    roles: Mapping[str, Any]


def container_spec(
    plan: SeatPlan,
    role: TaskType,
    name: str,
    opened: Opened,
    *,
    lifetime_s: int,
    memory_times: int = 1,
) -> ContainerSpec:
    """The container for a task type, in a place that was taken up.

    Args:
        plan: of the agent.
        role: the task type; what it does not say is as in the plan.
        name: of the container.
        opened: where it works.
        lifetime_s: after which podman ends it, whatever became of its owner.
        memory_times: how often it gets the usual memory.
    """
    manner = role.manner
    cli = CliRole(
        tools=role.tools,
        json_schema=role.schema,
        model=manner.model or plan.model,
        max_turns=manner.max_turns or plan.max_turns,
        disallowed=manner.denied,
        append_system_prompt=manner.system_prompt,
        asks_permission=manner.asks,
        servers=((BUS, tool_names(manner.team_tools)),) if manner.team_tools else (),
    )
    spec = ContainerSpec(
        name=name,
        image=manner.image or plan.image,
        command=cli_argv(cli, session_id=opened.session_id, resume=opened.resumes),
        home_dir=opened.workspace.home_dir,
        work_dir=opened.workspace.work_dir,
        socket_dir=plan.socket_dir,
        read_only_work=role.read_only,
        memory=_memory(manner.memory or plan.memory, times=memory_times),
        cpus=manner.cpus or plan.cpus,
        pids_limit=plan.pids_limit,
        missing_limits=plan.missing_limits,
        timeout_s=lifetime_s,
        env={**CLI_ENV, **plan.cli_env},
        hostname=plan.agent_id.replace("_", "-"),
    )
    way = None if EGRESS in manner.withheld else plan.egress.get(manner.role or "")
    # Only a command can make use of it.
    return with_egress(spec, way) if way and "Bash" in role.tools else spec


def _memory(usual: str, *, times: int) -> str:
    """In podman's notation: a whole number and its unit."""
    return f"{int(usual[:-1]) * times}{usual[-1]}"
