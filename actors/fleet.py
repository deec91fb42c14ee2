"""One running fleet: its processes, sockets and folders, from the start to the last trace gone."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shutil
import threading
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka

from understudy.supervision import ChildEvent, ForkServer, Supervisor
from understudy.transport import Agent2AgentProtocol, UnixSocketChannel

from .errors import FleetStopped, MachineNotReady
from .fleet_places import ORCHESTRATOR, FleetBase, FleetPlaces, Upstream
from .fleet_specs import (
    agent_ids,
    agent_spec,
    agents_supervisor,
    gateway_spec,
    scripted_model_spec,
    services_supervisor,
)
from .fleet_threads import FleetThreads
from .gateway import scrub
from .gateway.from_settings import desk_args
from .handle import TaskHandle
from .housekeeping import LOCK_NAME, Housekeeper, take_lock
from .incarnation_log import IncarnationLog
from .podman import image_exists, image_tag, podman_env
from .podman.guard import Guard
from .retries import RootLimits
from .root import RootActor
from .roster import Roster
from .task_book import TaskBook
from .tasks.queue import TaskQueue
from .tasks.store import SERVICE_RUN, TaskStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from understudy.supervision import ChildSpec

    from .settings import Settings
    from .tasks.task import Task

_log = logging.getLogger(__name__)

# Containers run as this user; it owns what is mounted into them when the fleet runs as root.
CONTAINER_USER = (1000, 1000)
_ASK_S = 30.0
_CANCEL_S = 5.0
# What a child that does not listen takes beyond its time, to its end by SIGKILL.
_DEAF_CHILD_S = 8.0


class Fleet:
    """Built by `start`, taken down by `stop`. Usable from any thread.

    Args:
        forks: started already; this fleet closes it.
        keeps_tasks: its tasks outlive it and wait for the next such fleet: the service.
        on_hopeless: see `RootActor`.
    """

    def __init__(
        self,
        settings: Settings,
        base: FleetBase,
        upstream: Upstream,
        forks: ForkServer,
        env: Mapping[str, str],
        *,
        keeps_tasks: bool = False,
        on_hopeless: Callable[[str], None] | None = None,
    ) -> None:
        self.settings = settings
        self._base = base
        self._upstream = upstream
        self._forks = forks
        self._env = scrub(env)
        self._keeps_tasks = keeps_tasks
        self._on_hopeless = on_hopeless
        run_id = uuid.uuid4().hex[:10]
        self.places = FleetPlaces(
            run_id=run_id,
            run_dir=base.run_root / run_id,
            work_dir=base.state_dir / "runs" / run_id,
            transcripts=base.state_dir / "transcripts",
            logs=base.state_dir / "logs",
        )
        # What tasks and incarnations are filed under: the service goes on where it was.
        self._filed_under = SERVICE_RUN if self._keeps_tasks else run_id
        self.store: TaskStore | None = None
        self._events: queue.SimpleQueue[ChildEvent] = queue.SimpleQueue()
        self._undo: list[Callable[[], object]] = []
        self._stopped = threading.Event()
        self._is_up = False
        self._root: Any = None
        self._agents: Any = None

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring everything up; returns when every agent's process runs.

        Raises:
            MachineNotReady: podman or the image is missing, or no agent came up.
        """
        try:
            self._start()
        except BaseException:
            self._unwind()
            raise

    def _start(self) -> None:
        self._undo.append(self._forks.close)
        image, env = self._check_machine()
        self._make_places()
        guard = Guard(self.places.run_id, env)
        guard.start()
        self._undo.append(guard.close)
        self._start_root(image, env)

    def _check_machine(self) -> tuple[str, dict[str, str]]:
        agent = self.settings.agent
        image = agent.image or image_tag(agent.cli_version)
        env = podman_env(self._base.cache_dir, self._env)
        if not image_exists(image, env):
            mend = "run `understudy image build`"
            raise MachineNotReady(f"the agent image {image} is not there", mend)
        return image, env

    def _make_places(self) -> None:
        places = self.places
        places.work_dir.mkdir(mode=0o700, parents=True)
        # At once: who finds the folder and not the lock takes the run for dead.
        lock = take_lock(places.work_dir / LOCK_NAME)
        for folder in (places.transcripts, places.logs, places.run_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (places.run_dir, places.work_dir):
            self._undo.append(partial(shutil.rmtree, folder, ignore_errors=True))
        for agent_id in self.agent_ids():
            # The container's user must enter it; the folder above is closed to everybody else.
            places.socket_dir(agent_id).mkdir(mode=0o755)
            (places.work_dir / agent_id).mkdir()
        self._undo.append(partial(os.close, lock))
        self.store = TaskStore(self._base.state_dir / "tasks.db")
        self._undo.append(self.store.close)

    def _start_root(self, image: str, env: dict[str, str]) -> None:
        settings, places = self.settings, self.places
        channel = UnixSocketChannel(
            places.bus,
            is_server=True,
            name=ORCHESTRATOR,
            send_timeout_s=settings.communication.message_timeout,
        )
        protocol = Agent2AgentProtocol(ORCHESTRATOR, channel)
        assert self.store is not None
        tasks = TaskQueue(
            max_size=settings.task_queue.max_size, ageing_s=settings.task_queue.ageing
        )
        book = TaskBook(tasks, self.store, self._filed_under)
        limits = RootLimits(
            max_running=settings.orchestrator.max_workers,
            max_attempts=settings.supervision.max_attempts,
            retry_wait_min_s=settings.supervision.backoff_min,
            retry_wait_max_s=settings.supervision.backoff_max,
        )
        root = RootActor.start(
            Roster(self.agent_ids()),
            book,
            protocol,
            limits,
            restart_agent=self._restart_agent,
            on_hopeless=self._on_hopeless,
        )
        self._undo.append(lambda: root.stop(block=True, timeout=_ASK_S))
        self._root = root.proxy()
        threads = FleetThreads(protocol, self.store, root.tell, self._stopped)
        threads.start()
        self._undo.append(threads.join)
        self._undo.append(self._stopped.set)
        self._undo.append(channel.close)  # this wakes the thread that reads it
        self._start_agents(image, env, root.tell)

    def _start_agents(
        self,
        image: str,
        env: dict[str, str],
        tell: Callable[[object], None],
    ) -> None:
        owner = CONTAINER_USER if os.geteuid() == 0 else None
        ids, places = self.agent_ids(), self.places
        specs = [
            agent_spec(i, self.settings, places, image=image, owner=owner, podman_env=env)
            for i in ids
        ]

        assert self.store is not None
        lives = IncarnationLog(self.store, self._filed_under)

        def listener(event: ChildEvent) -> None:
            lives.note(event)
            tell(event)
            if not self._is_up:
                self._events.put(event)

        self._start_services(listener, lives.first)
        rules = agents_supervisor(self.settings, specs)
        agents = Supervisor.start(rules, self._forks, listener, first_incarnation=lives.first)
        self._agents = agents.proxy()
        self._stop_later(agents, len(specs))
        self._await_ready({*ids, "gateway"})
        self._is_up = True
        folders = (places.transcripts, places.logs)
        keep_days = self.settings.storage.keep_days
        keeper = Housekeeper(self._base, env, self.store, folders, keep_days)
        keeper.start()
        self._undo.append(keeper.close)

    def _start_services(self, listener: Callable[[ChildEvent], None], first: int) -> None:
        settings, places, upstream = self.settings, self.places, self._upstream
        children: list[ChildSpec] = []
        url = upstream.url
        if upstream.scripted_target:
            children.append(scripted_model_spec(settings, places, upstream.scripted_target))
            url = f"unix:{places.scripted_model}"
        assert url is not None, "an upstream has a URL or a scripted model"
        desk = desk_args(settings, self._base.state_dir, self._filed_under)
        children.append(
            gateway_spec(settings, places, self.agent_ids(), upstream.credentials, url, desk)
        )
        rules = services_supervisor(settings, children)
        services = Supervisor.start(rules, self._forks, listener, first_incarnation=first)
        self._stop_later(services, len(children))

    def _stop_later(self, supervisor: pykka.ActorRef[Supervisor], children: int) -> None:
        """Have the supervisor end its children, one after the other, when the fleet stops."""
        each_s = self.settings.supervision.shutdown_timeout + _DEAF_CHILD_S
        limit_s = children * each_s + _ASK_S
        self._undo.append(partial(supervisor.stop, block=True, timeout=limit_s))

    def _await_ready(self, waiting: set[str]) -> None:
        """Return when each of these children is ready.

        Raises:
            MachineNotReady: one gave up, or was not ready within the start-up time.
        """
        limit_s = self.settings.agent.startup_timeout
        ends = time.monotonic() + limit_s
        while waiting:
            try:
                event = self._events.get(timeout=max(0.0, ends - time.monotonic()))
            except queue.Empty:
                names = ", ".join(sorted(waiting))
                reason = f"not ready within agent.startup_timeout ({limit_s:g} s): {names}"
                raise MachineNotReady(reason, self._see_logs()) from None
            if event.kind == "ready":
                waiting.discard(event.child_id)
            elif event.kind == "gave_up":
                why = event.reason.detail if event.reason else "it ended again and again"
                raise MachineNotReady(f"{event.child_id} does not start: {why}", self._see_logs())

    def _see_logs(self) -> str:
        return f"see the logs in {self.places.logs}"

    def stop(self, why: str = "the fleet was stopped", *, grace_s: float = 0.0) -> None:
        """End the fleet: no new task, running ones get `grace_s` to finish, nothing is left behind.

        Tasks of the service wait for the next service; those of an embedded fleet end as canceled.
        """
        if self._stopped.is_set():
            return
        try:
            if self._root is not None:
                with contextlib.suppress(FleetStopped):
                    self._drain(why, grace_s, keep=self._keeps_tasks)
        finally:
            self._unwind()

    def _drain(self, why: str, grace_s: float, *, keep: bool) -> None:
        running: list[str] = self._ask("drain", why, keep_waiting=keep)
        self._wait_for_running(running, grace_s)
        if not keep:
            for task_id in running:
                self.cancel(task_id)
            self._wait_for_running(running, _CANCEL_S)
        self._ask("abandon", keep=keep)

    def _wait_for_running(self, running: list[str], limit_s: float) -> None:
        ends = time.monotonic() + limit_s
        while running and time.monotonic() < ends:
            if self.status()["running"] == 0:
                return
            time.sleep(0.05)

    def _unwind(self) -> None:
        """Undo every step of the start, the last one first; one that fails stops no other."""
        self._stopped.set()  # the threads of the fleet end by it
        while self._undo:
            step = self._undo.pop()
            try:
                step()
            except Exception:  # noqa: BLE001 - whatever it is, the rest must still be undone
                _log.exception("a step of the shutdown failed; the rest goes on")

    # -- use ----------------------------------------------------------------------------------

    def agent_ids(self) -> list[str]:
        """The ids of this fleet's agents."""
        return agent_ids(self.settings.orchestrator.num_agents)

    def submit(self, tasks: list[Task]) -> list[TaskHandle]:
        """Accept the tasks, all or none.

        Raises:
            FleetStopped: the fleet does not run.
            QueueFull, DuplicateTask: see `RootActor.submit`.
        """
        if self._root is None or self._stopped.is_set():
            raise FleetStopped("the fleet does not run")
        handles = [TaskHandle(task.task_id, self.cancel) for task in tasks]
        self._ask("submit", tasks, handles)
        return handles

    def recover(self) -> list[TaskHandle]:
        """Take up the unfinished tasks of an earlier service."""
        assert self.store is not None
        rows = self.store.recover(self._filed_under, self.settings.supervision.max_attempts)
        tasks = [(row.task, row.attempts) for row in rows]
        handles = [TaskHandle(row.task_id, self.cancel) for row in rows]
        may_have_run = [row.task_id for row in rows if row.may_have_run]
        self._ask("recover", tasks, handles, may_have_run)
        return handles

    def replay(self, task_id: str) -> TaskHandle | None:
        """Queue a task that is in quarantine; None when it is not.

        Raises:
            FleetStopped, QueueFull: see `submit`.
        """
        if self._root is None or self._stopped.is_set():
            raise FleetStopped("the fleet does not run")
        handle = TaskHandle(task_id, self.cancel)
        return handle if self._ask("replay", task_id, handle) else None

    def cancel(self, task_id: str) -> bool:
        """End that task; False when it is not known or over."""
        return bool(self._ask("cancel", task_id))

    def status(self) -> dict[str, Any]:
        """See `RootActor.status`."""
        status: dict[str, Any] = self._ask("status")
        return status

    # -- inside -------------------------------------------------------------------------------

    def _ask(self, method: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - a proxy's call
        """Call a method of the root actor.

        Raises:
            FleetStopped: it has ended; the log says why.
        """
        try:
            return getattr(self._root, method)(*args, **kwargs).get(timeout=_ASK_S)
        except pykka.ActorDeadError:
            raise FleetStopped(f"the orchestrator has ended; {self._see_logs()}") from None
        except pykka.Timeout:
            raise FleetStopped(f"the orchestrator did not answer in {_ASK_S:g} s") from None

    def _restart_agent(self, agent_id: str) -> None:
        self._agents.kill_child(agent_id)
