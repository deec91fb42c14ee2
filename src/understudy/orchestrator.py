"""The Python API: configure a fleet, start it, give it tasks, stop it."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from understudy.actors.errors import FleetStopped, MachineNotReady
from understudy.actors.fleet_places import FleetBase, Upstream
from understudy.actors.gateway import Credentials, find_credentials, find_upstream, scrub
from understudy.actors.gateway.credential_source import read_credentials
from understudy.actors.haste import Haste
from understudy.actors.paths import cache_dir, run_root, state_dir
from understudy.actors.tasks.task import subtasks_of
from understudy.config import Configuration, load
from understudy.restarts import await_restart, restart_limit_s
from understudy.supervision.forkserver import ForkServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from understudy.actors.fleet import Fleet
    from understudy.actors.handle import TaskHandle
    from understudy.actors.settings import Settings
    from understudy.actors.tasks.task import Task, TaskResult

_log = logging.getLogger(__name__)


class Orchestrator:
    """A fleet of agents, embedded in this program.

    ```
    with Orchestrator() as fleet:
        result = fleet.execute_task(Task(task_type="code_review", files=["app.py"]))
    ```

    Args:
        config_path: a YAML file; without one, defaults and the environment count.
        env: the environment to read settings and credentials from; this process's own by default.
        overrides: settings by `section.key`, stronger than file and environment.
        keeps_tasks: tasks that are not done when it stops wait for the next one of its kind, as
            the service's do; without it they end as canceled.

    Attributes:
        config: the settings; change them before `start`.
        on_hopeless: set it before `start` to be told why, once and in another thread, when no agent
            is left and none will come; tasks that wait then stay. Without it they fail.

    Raises:
        ConfigurationError: a setting is wrong; the message says which, where, and what is allowed.
    """

    def __init__(
        self,
        config_path: str | os.PathLike[str] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
        keeps_tasks: bool = False,
    ) -> None:
        self._env = dict(os.environ if env is None else env)
        self.config: Configuration = load(config_path, self._env, overrides or {})
        self._keeps_tasks = keeps_tasks
        self.on_hopeless: Callable[[str], None] | None = None
        self._haste = Haste()
        self._fleet: Fleet | None = None

    def start(self) -> None:
        """Start the gateway and the agents; returns when each agent's process runs.

        Raises:
            MachineNotReady: no podman, no image, no key, or an agent did not start.
        """
        if self._fleet is not None:
            return
        settings = self.config.settings
        upstream = _upstream(settings, self._env)
        # First of all, because its imports take longest: they run while this process has its own.
        forks = ForkServer(("understudy.actors.agent",), scrub(self._env))
        forks.start()
        try:
            from understudy.actors.fleet import Fleet  # noqa: PLC0415 - see above

            base = base_of(settings, self._env)
            fleet = Fleet(
                settings,
                base,
                upstream,
                forks,
                self._env,
                keeps_tasks=self._keeps_tasks,
                on_hopeless=self.on_hopeless,
                haste=self._haste,
            )
            fleet.start()
        except BaseException:
            forks.close()
            raise
        self._fleet = fleet
        if self._keeps_tasks:
            fleet.recover()

    def stop(self, *, grace_s: float = 0.0) -> None:
        """End the fleet and remove all that it made; tasks that still run get `grace_s` seconds."""
        fleet, self._fleet = self._fleet, None
        if fleet is not None:
            fleet.stop(grace_s=grace_s)

    def hurry(self) -> None:
        """Have a stop, under way or later, wait for nothing: what still runs is killed.

        May be called from a signal's handler. It cannot be undone.
        """
        self._haste.hurry()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def submit(self, task: Task) -> TaskHandle:
        """Accept the task durably and return at once.

        Raises:
            InvalidTask: a field is wrong.
            QueueFull: `task_queue.max_size` tasks wait already.
            DuplicateTask: the id is taken.
            FleetStopped: the fleet does not run.
        """
        return self.submit_all([task])[0]

    def submit_all(self, tasks: list[Task]) -> list[TaskHandle]:
        """Accept all of the tasks or none; see `submit`."""
        fleet = self._running()
        levels = self.config.settings.task_queue.priority_levels
        for task in tasks:
            task.check(priority_levels=levels)
        return fleet.submit([_anchored(task) for task in tasks])

    def execute_task(self, task: Task) -> TaskResult:
        """Run one task to its end. A task that fails has a result that says why; see `submit`."""
        return self.submit(task).wait()

    def execute_parallel_task(self, task: Task) -> list[TaskResult]:
        """Run the task's subtasks, as many at once as there are agents; results in their order."""
        parts = subtasks_of(task) if task.subtasks else [task]
        return [handle.wait() for handle in self.submit_all(parts)]

    def cancel(self, task_id: str) -> bool:
        """End that task; False when it is not known or over."""
        return self._fleet is not None and self._fleet.cancel(task_id)

    def approve(self, task_id: str, *, call: str | None = None) -> bool:
        """Allow the call that the task asks for; see `settle_call`."""
        return self.settle_call(task_id, allow=True, call=call) is not None

    def deny(self, task_id: str, *, call: str | None = None) -> bool:
        """Refuse that call; the agent goes on without it."""
        return self.settle_call(task_id, allow=False, call=call) is not None

    def answer(self, task_id: str, text: str, *, call: str | None = None) -> bool:
        """Refuse that call, and tell the agent what to do instead."""
        return self.settle_call(task_id, allow=False, text=text, call=call) is not None

    def settle_call(
        self, task_id: str, *, allow: bool, text: str | None = None, call: str | None = None
    ) -> dict[str, Any] | None:
        """Answer a call that a task asks for.

        Args:
            task_id: the task.
            allow: whether the call is made.
            text: what the agent is told instead of a call that is not made.
            call: the `request_id` of the call that is meant, from `status()["input_required"]`. Say
                it whenever somebody has looked at the call: meanwhile the task may ask for another.

        Returns:
            What was answered: `tool`, `input`, `request_id`, `agent_id`, `task_id`. None when the
            task asks for nothing, or for that call no more.

        Raises:
            SeveralCalls: the task asks for more than one, and `call` does not say which.
            FleetStopped: the fleet does not run.
        """
        return self._running().answer(task_id, allow=allow, text=text, call=call)

    def replay(self, task_id: str) -> TaskHandle | None:
        """Put back a task that was quarantined as poison; None when it is not in quarantine.

        Raises:
            QueueFull, FleetStopped: see `submit`.
        """
        return self._running().replay(task_id)

    def restart_agent(self, name: str) -> int:
        """End that agent (or service) in good order and start it again; its next incarnation.

        Returns when its process runs. A task that it works on waits again, at no cost to its
        attempts; the restart does not count in the supervisor's intensity.

        Raises:
            UnknownAgent: there is none of that name.
            NotBack: it did not start again.
            FleetStopped: the fleet does not run.
        """
        ended = self.begin_restart(name)["incarnation"]
        limit_s = restart_limit_s(self.config.settings)
        return await_restart(self.status, name, ended, limit_s)

    def begin_restart(self, name: str) -> dict[str, Any]:
        """As `restart_agent`, but returns at once: `incarnation` is the one that ends."""
        return self._running().restart_agent(name)

    def suspend_agent(self, name: str, *, now: bool = False) -> dict[str, Any]:
        """Give that agent no more tasks until `resume_agent`; it finishes the one it has.

        Its process and container stay. With `now` its turn is ended and its task waits again, at no
        cost to its attempts.

        Returns:
            `changed`: whether it was not suspended before; `current_task`: what it works on.

        Raises:
            UnknownAgent: there is none of that name.
            FleetStopped: the fleet does not run.
        """
        return self._running().suspend_agent(name, now=now)

    def resume_agent(self, name: str) -> dict[str, Any]:
        """Give that agent tasks again; one that is parked makes its container ready.

        Returns:
            `changed`: whether it was suspended; `woken`: whether it was parked.

        Raises:
            UnknownAgent: there is none of that name.
            FleetStopped: the fleet does not run.
        """
        return self._running().resume_agent(name)

    def tree(self) -> dict[str, Any]:
        """The running fleet as a tree: root, supervisors, their children; see `understudy tree`.

        Raises:
            FleetStopped: the fleet does not run.
        """
        return self._running().tree()

    def _running(self) -> Fleet:
        if self._fleet is None:
            raise FleetStopped("the orchestrator is not started; call start() first")
        return self._fleet

    def get_agent_status(self) -> dict[str, dict[str, Any]]:
        """Each agent by its id: `running`, `current_task`, `health_check_failed`, and more."""
        agents: dict[str, dict[str, Any]] = self.status()["agents"]
        return agents

    def status(self) -> dict[str, Any]:
        """Agents, queue and counters; empty when the fleet does not run."""
        return self._fleet.status() if self._fleet is not None else {"agents": {}}

    def get_task_result(self, task_id: str) -> TaskResult | None:
        """The result of any task that ever finished here, or None."""
        if self._fleet is not None and self._fleet.store is not None:
            return self._fleet.store.result(task_id)
        from understudy.actors.tasks.store import TaskStore  # noqa: PLC0415 - for this case alone

        path = base_of(self.config.settings, self._env).state_dir / "tasks.db"
        if not path.exists():
            return None
        store = TaskStore(path)
        try:
            return store.result(task_id)
        finally:
            store.close()


def base_of(settings: Settings, env: Mapping[str, str]) -> FleetBase:
    """The folders that settings and environment name."""
    storage = settings.storage
    return FleetBase(
        state_dir=_chosen(storage.state_dir) or state_dir(env),
        cache_dir=_chosen(storage.cache_dir) or cache_dir(env),
        run_root=_chosen(storage.run_dir) or run_root(env),
    )


def _chosen(path: str | None) -> Path | None:
    return Path(path).expanduser().absolute() if path else None


def _upstream(settings: Settings, env: Mapping[str, str]) -> Upstream:
    if settings.gateway.scripted_model:
        model = "understudy.fakeapi.process:main"
        return Upstream(Credentials("api_key", "scripted"), scripted_target=model)
    gateway = settings.gateway
    credentials = read_credentials(gateway.credential_file, gateway.credential_command)
    credentials = credentials or find_credentials(env)
    if credentials is None:
        mend = (
            "set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN, CLAUDE_CODE_OAUTH_TOKEN), "
            "or use the scripted model: --fake, or gateway.scripted_model: true"
        )
        raise MachineNotReady("no API key", mend)
    return Upstream(credentials, url=settings.gateway.upstream or find_upstream(env))


def _anchored(task: Task) -> Task:
    """The task bound to the folder it was submitted from, if it has files or a repository."""
    if task.repo is None and not task.files:
        return task
    return dataclasses.replace(task, repo=os.path.abspath(task.repo or os.curdir))  # noqa: PTH100 - a string on the wire
