"""An agent's seat: the container and the CLI in it, clean for one task type at a time.

A container serves the next task only when nothing of the last one can be seen by it. For roles that
can neither run commands nor write, `/clear`, an emptied workspace and a swept home give that. For
all others the container is replaced, right after the task, so that the next finds a warm CLI.
A task that was cut off goes on in the place where it was: home, workspace, conversation.
"""

from __future__ import annotations

import logging
import math
import os
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .claude import ClaudeClient, ClaudeError
from .claude.transcript import leftovers, settle_and_archive
from .claude.transcript_file import PROJECT_PARTS
from .places import Places
from .podman import Container, container_name
from .podman.sweep import remove_predecessors
from .seat_plan import SeatPlan, container_spec
from .taking_up import Fate, Opened, fate_of, give_up, take_up
from .tasks.rows import Conversation
from .team.roles import Roles
from .workspace import Workspace, WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .claude import McpServer, PermissionRequest
    from .claude.session_lock import SessionLock
    from .tasks.task import Task, TaskResult
    from .tasks.types import TaskType

_log = logging.getLogger(__name__)

# What a container has of the usual memory when its task ran out of that.
_MORE_MEMORY = 2
# For what a task waits for, the API's limits or a person: its timeout counts none of that.
_WAITS_S = 12 * 3600


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
        self._opened: Opened | None = None
        self._places = Places(plan.conversations, plan.podman_env)
        self._lock: SessionLock | None = None
        self._clean = False
        self._busy = False
        self.conversation: Conversation | None = None
        self.is_parked = False
        self._initialized = False
        self._ends_at = 0.0
        # Set before `open`, for the task that it opens.
        self.has_more_memory = False
        self.client: ClaudeClient | None = None
        # Set before the first CLI starts; see `ClaudeClient`.
        self.on_permission: Callable[[PermissionRequest], None] | None = None
        # Makes the servers of our own tools that the CLI of a task type has; likewise.
        self.servers_of: Callable[[TaskType], list[McpServer]] = lambda _: []

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

    def open(self, task: Task, conversation: Conversation, *, anew: bool = False) -> Opened:
        """The task's place, with a CLI of its type starting or ready behind it.

        With `anew` what is left of the conversation is given up, and it begins again.

        Raises:
            SessionHeld, SessionLockDamaged: somebody else has the place.
            ContextGone: the context that the task names is not there.
            PodmanError: the container did not start.
        """
        role = self.roles.type_of(task)
        is_other = self.warm_for != role.key or self.conversation != conversation
        if anew or is_other or self.has_more_memory or not self._outlives(task):
            self._replace(role, conversation, task, anew=anew)
        self._clean, self._busy = False, True
        assert self._opened is not None
        return self._opened

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

    def keep_text(self, name: str, text: str) -> str:
        """Put a text where the CLI can read it; its path there. Any thread, in a turn.

        Raises:
            WorkspaceError: it cannot be written.
        """
        opened = self._opened
        if opened is None:
            raise WorkspaceError(name, "there is no workspace", "its turn is over")
        return opened.workspace.leave(name, text)

    def begin_anew(self) -> str:
        """Leave the conversation for an empty one, in the same container and workspace; its id.

        Raises:
            ClaudeError: the CLI is still in the old one, or ended.
        """
        assert self.client is not None
        assert self.conversation is not None
        assert self._opened is not None
        fresh = self.client.clear()
        self.conversation = Conversation(fresh, self.conversation.place)
        self._opened = replace(self._opened, session_id=fresh)
        return fresh

    def remove_predecessors(self) -> None:
        """End the containers of this agent's earlier incarnations.

        End of file ends a CLI only between its tool calls: one in the middle of a command works on.

        Raises:
            PodmanError: podman failed.
        """
        plan = self._plan
        if plan.incarnation > 1:
            remove_predecessors(plan.run_id, plan.agent_id, plan.incarnation, plan.podman_env)

    def warm_up(self, task_type: str) -> None:
        """Have a clean, ready CLI for that type ahead of need."""
        if self.warm_for != task_type:
            self._replace(self.roles.type_by_key(task_type), Conversation.new())
        self.ready_client()
        self._clean = True

    def park(self) -> None:
        """End the container, which no task is in; what needs one starts the next."""
        self._end(0.0, "removed")
        self.is_parked = True

    def wake(self) -> None:
        """After `park`: have a CLI ready again for the type that there was one for."""
        if self.is_parked and self._type is not None:
            self.warm_up(self._type.key)

    def recycle(self, result: TaskResult) -> None:
        """After a run: clean the container for the next task of its type, or replace it."""
        role = self._type
        fate = fate_of(result)
        self._busy = False
        if role is None:
            return
        is_usual, self.has_more_memory = not self.has_more_memory, False
        if not (
            is_usual and role.reusable and fate != "left" and self._alive() and self._scrub(fate)
        ):
            self._end(0.0, fate)
            self._replace(role, Conversation.new())
            self.ready_client()
        self._clean = True

    def close(self, grace_s: float = 2.0) -> None:
        """End the container; what a task needs that is not done is left. Safe to call twice."""
        self._end(grace_s, "left" if self._busy else "removed")

    def _end(self, grace_s: float, fate: Fate) -> None:
        self._clean = self._busy = False
        container, self._container = self._container, None
        client, self.client = self.client, None
        opened, self._opened = self._opened, None
        try:
            if container is not None:
                container.stop(grace_s)
        finally:
            if client is not None:
                client.close()
            if container is not None:
                container.close()
            self._give_back(opened, fate)

    def _give_back(self, opened: Opened | None, fate: Fate) -> None:
        """The place is nobody's from here on; the container is gone."""
        lock, self._lock = self._lock, None
        conversation, self.conversation = self.conversation, None
        if lock is None or conversation is None:
            return
        try:
            if opened is not None and fate == "kept" and self._plan.keep_contexts:
                session_id, at_most = conversation.session_id, self._plan.keep_contexts
                self._places.keep(conversation.place, session_id, at_most)
            elif opened is not None and fate != "left":
                opened.workspace.remove()
        finally:
            self._places.release(lock, conversation.place)

    def _alive(self) -> bool:
        return self._container is not None and self._container.alive()

    def _scrub(self, fate: Fate) -> bool:
        """Whether nothing of the finished task is left that the next one could see."""
        client, opened, conversation = self.client, self._opened, self.conversation
        assert client is not None
        assert opened is not None
        assert conversation is not None
        workspace, finished = opened.workspace, client.session_id
        try:
            fresh = client.clear()
            if finished:
                self._set_aside(workspace, finished, fate)
            workspace.clean()
        except (ClaudeError, OSError) as error:
            _log.info("%s: container is replaced, not reused: %s", self._plan.agent_id, error)
            return False
        left = leftovers(workspace.home_dir, fresh)
        if left:
            _log.info("%s: container is replaced, traces are left: %s", self._plan.agent_id, left)
        self.conversation = Conversation(fresh, conversation.place)
        self._opened = Opened(workspace, fresh)
        return not left

    def _set_aside(self, workspace: Workspace, finished: str, fate: Fate) -> None:
        """Move the finished conversation, with its workspace, out of the container's sight."""
        aside = self._workspace(workspace.root / f"aside-{uuid.uuid4()}")
        aside.create(self._plan.owner)
        try:
            archive = aside.home_dir.joinpath(*PROJECT_PARTS)
            settle_and_archive(workspace.home_dir, finished, archive, timeout_s=2.0)
            workspace.move_out(aside)
            if fate == "kept" and self._plan.keep_contexts:
                self._give_to_user(aside.home_dir)
                self._places.keep_folder(aside.root, finished, self._plan.keep_contexts)
        finally:
            aside.remove()

    def _give_to_user(self, folder: Path) -> None:
        if self._plan.owner is not None:
            for below, _, _ in os.walk(folder):
                os.chown(below, *self._plan.owner)

    def _workspace(self, root: Path) -> Workspace:
        plan = self._plan
        return Workspace(
            root, max_file_bytes=plan.max_file_bytes, max_total_bytes=plan.max_workspace_bytes
        )

    def _replace(
        self,
        role: TaskType,
        conversation: Conversation,
        task: Task | None = None,
        *,
        anew: bool = False,
    ) -> None:
        self._end(0.0, "left" if anew else "removed")
        self._serial += 1
        plan = self._plan
        name = container_name(plan.run_id, plan.agent_id, plan.incarnation, self._serial)
        self._lock = self._places.hold(conversation.place, name, plan.startup_timeout_s)
        self.conversation = conversation
        try:
            if anew:
                give_up(self._workspace(self._places.live(conversation.place)), plan.saving)
            opened = take_up(
                self._places, conversation, task, self._workspace, plan.owner, plan.saving
            )
            lifetime_s = plan.lifetime_s + (math.ceil(task.timeout) if task else 0)
            self._start(role, name, opened, lifetime_s)
        except BaseException:
            self._end(0.0, "left")
            raise

    def _outlives(self, task: Task) -> bool:
        """Whether podman leaves the container alone until the task is done, with time for waits."""
        return self._ends_at >= self._clock() + task.timeout + _WAITS_S

    def _start(self, role: TaskType, name: str, opened: Opened, lifetime_s: int) -> None:
        spec = container_spec(
            self._plan,
            role,
            name,
            opened,
            lifetime_s=lifetime_s,
            memory_times=_MORE_MEMORY if self.has_more_memory else 1,
        )
        container = Container(spec, env=self._plan.podman_env)
        self._opened = opened
        self._ends_at = self._clock() + lifetime_s
        container.start()
        self._container, self._type, self._initialized = container, role, False
        self.is_parked = False
        self.client = ClaudeClient(
            container.stdin,
            container.stdout,
            container.stderr,
            on_event=self._on_event,
            servers=self.servers_of(role),
            on_permission=self.on_permission,
            permission_timeout_s=role.manner.permission_s,
            clock=self._clock,
        )
