"""An agent's seat: the container and the CLI in it, clean for one task type at a time.

A container serves the next task only when nothing of the last one can be seen by it. For roles that
can neither run commands nor write, `/clear`, an emptied workspace and a swept home give that. For
all others the container is replaced, right after the task, so that the next finds a warm CLI.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .claude import ClaudeClient, ClaudeError
from .claude.argv import CLI_ENV, CliRole, cli_argv
from .claude.transcript import leftovers, settle_and_archive
from .podman import Container, ContainerSpec, container_name, run_podman
from .team.roles import Roles
from .workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from .claude import PermissionRequest
    from .tasks.types import TaskType

_log = logging.getLogger(__name__)

_PODMAN_S = 60.0


@dataclass(frozen=True)
class SeatPlan:
    """What every container of one agent has in common.

    `root` holds a folder for each container; `socket_dir` is mounted for the way out.
    """

    run_id: str
    agent_id: str
    incarnation: int
    image: str
    root: Path
    socket_dir: Path
    owner: tuple[int, int] | None
    memory: str
    cpus: str
    pids_limit: int
    model: str | None
    max_turns: int
    startup_timeout_s: float
    lifetime_s: int
    max_file_bytes: int
    max_workspace_bytes: int
    podman_env: Mapping[str, str]
    cli_env: Mapping[str, str]
    roles: Mapping[str, Any]


class Seat:
    """One container at a time. Used by one thread; only `client` may be used by others."""

    def __init__(
        self,
        plan: SeatPlan,
        *,
        on_event: Callable[[dict[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self.roles = Roles.from_wire(plan.roles)
        self._on_event = on_event
        self._clock = clock
        self._serial = 0
        self._type: TaskType | None = None
        self._container: Container | None = None
        self._workspace: Workspace | None = None
        self._clean = False
        self._initialized = False
        self.client: ClaudeClient | None = None
        # Set before the first CLI starts; see `ClaudeClient`.
        self.on_permission: Callable[[PermissionRequest], None] | None = None

    @property
    def warm_for(self) -> str | None:
        """The key of the task type that finds a clean CLI here without waiting, or None."""
        return self._type.key if self._clean and self._type and self._alive() else None

    @property
    def image(self) -> str:
        """The image that its container is made from."""
        own = self._type.manner.image if self._type else None
        return own or self._plan.image

    @property
    def container_name(self) -> str | None:
        """The running container's name, or None."""
        return self._container.spec.name if self._container else None

    @property
    def container(self) -> Container | None:
        """The running container, or None."""
        return self._container

    def open(self, task_type: str) -> Workspace:
        """A clean workspace with a CLI of the type of that key starting or ready behind it.

        Raises:
            PodmanError: the container did not start.
        """
        if self.warm_for != task_type:
            self._replace(self.roles.type_by_key(task_type))
        self._clean = False
        assert self._workspace is not None
        return self._workspace

    def ready_client(self) -> ClaudeClient:
        """The CLI once it has answered the handshake.

        Raises:
            ClaudeError: it ended or did not answer within the start-up time.
        """
        client = self.client
        assert client is not None, "open() comes first"
        if not self._initialized:
            client.initialize(timeout_s=self._plan.startup_timeout_s)
            self._initialized = True
        return client

    def remove_predecessors(self) -> None:
        """End the containers of this agent's earlier incarnations, and remove their folders.

        End of file ends a CLI only between its tool calls: one in the middle of a command works on.

        Raises:
            PodmanError: podman failed.
        """
        if self._plan.incarnation == 1:
            return
        mine = {"run": self._plan.run_id, "agent": self._plan.agent_id}
        filters = [f"--filter=label=understudy.{key}={value}" for key, value in mine.items()]
        env = self._plan.podman_env
        found = run_podman("ps", "-aq", *filters, timeout_s=_PODMAN_S, env=env)
        if ids := found.stdout.split():
            run_podman("rm", "-f", "-i", "-t", "0", *ids, timeout_s=_PODMAN_S, env=env)
        for folder in self._plan.root.iterdir():
            Workspace(folder).remove()

    def warm_up(self, task_type: str) -> None:
        """Have a clean, ready CLI for that type ahead of need."""
        if self.warm_for != task_type:
            self._replace(self.roles.type_by_key(task_type))
        self.ready_client()
        self._clean = True

    def recycle(self) -> None:
        """After a task: clean the container for the next one of its type, or replace it."""
        role = self._type
        if role is None:
            return
        if not (role.reusable and self._alive() and self._scrub()):
            self._replace(role)
            self.ready_client()
        self._clean = True

    def close(self, grace_s: float = 2.0) -> None:
        """End the container and remove its folders. Safe to call twice."""
        self._clean = False
        container, self._container = self._container, None
        client, self.client = self.client, None
        workspace, self._workspace = self._workspace, None
        try:
            if container is not None:
                container.stop(grace_s)
        finally:
            if client is not None:
                client.close()
            if container is not None:
                container.close()
            if workspace is not None:
                workspace.remove()

    def _alive(self) -> bool:
        return self._container is not None and self._container.alive()

    def _scrub(self) -> bool:
        """Whether nothing of the finished task is left that the next one could see."""
        client, workspace = self.client, self._workspace
        assert client is not None
        assert workspace is not None
        finished = client.session_id
        try:
            fresh = client.clear()
            if finished:
                archive = self._plan.root / "archive"
                kept = settle_and_archive(workspace.home_dir, finished, archive, timeout_s=2.0)
                if kept is not None:
                    kept.unlink()
            workspace.clean()
        except (ClaudeError, OSError) as error:
            _log.info("%s: container is replaced, not reused: %s", self._plan.agent_id, error)
            return False
        left = leftovers(workspace.home_dir, fresh)
        if left:
            _log.info("%s: container is replaced, traces are left: %s", self._plan.agent_id, left)
        return not left

    def _replace(self, role: TaskType) -> None:
        self.close(grace_s=0.0)
        self._serial += 1
        plan = self._plan
        workspace = Workspace(
            plan.root / f"{plan.incarnation}-{self._serial}",
            max_file_bytes=plan.max_file_bytes,
            max_total_bytes=plan.max_workspace_bytes,
        )
        workspace.create(plan.owner)
        container = Container(self._container_spec(role, workspace), env=plan.podman_env)
        self._workspace = workspace
        container.start()
        self._container, self._type, self._initialized = container, role, False
        self.client = ClaudeClient(
            container.stdin,
            container.stdout,
            container.stderr,
            on_event=self._on_event,
            on_permission=self.on_permission,
            permission_timeout_s=role.manner.permission_s,
            clock=self._clock,
        )

    def _container_spec(self, role: TaskType, workspace: Workspace) -> ContainerSpec:
        plan, manner = self._plan, role.manner
        name = container_name(plan.run_id, plan.agent_id, plan.incarnation, self._serial)
        cli = CliRole(
            tools=role.tools,
            json_schema=role.schema,
            model=manner.model or plan.model,
            max_turns=manner.max_turns or plan.max_turns,
            disallowed=manner.denied,
            append_system_prompt=manner.system_prompt,
            asks_permission=manner.asks,
        )
        return ContainerSpec(
            name=name,
            image=manner.image or plan.image,
            command=cli_argv(cli),
            home_dir=workspace.home_dir,
            work_dir=workspace.work_dir,
            socket_dir=plan.socket_dir,
            read_only_work=role.read_only,
            memory=manner.memory or plan.memory,
            cpus=manner.cpus or plan.cpus,
            pids_limit=plan.pids_limit,
            timeout_s=plan.lifetime_s,
            env={**CLI_ENV, **plan.cli_env},
            hostname=plan.agent_id.replace("_", "-"),
        )
