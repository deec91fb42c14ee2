"""One running fleet: its processes, sockets and folders, from the start to the last trace gone."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka

from understudy.transport import Agent2AgentProtocol, UnixSocketChannel

from .bus_losses import BusLosses
from .collector import collector_paused
from .egress.plan import prepare_ways
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
from .fleet_supervisors import FleetSupervisors
from .fleet_threads import FleetThreads
from .fleet_tree import fleet_tree
from .gateway import scrub
from .gateway.from_settings import desk_args
from .handle import TaskHandle
from .haste import Haste, killing_in_haste
from .housekeeping import LOCK_NAME, Housekeeper, leave_mark, take_lock
from .incarnation_log import IncarnationLog
from .podman import image_exists, image_tag, podman_env
from .podman.guard import Guard
from .podman.machine import Machine, refuse_missing_limits
from .retries import RootLimits
from .root import RootActor
from .roster import Roster
from .startup import Startup
from .task_book import TaskBook
from .tasks.queue import TaskQueue
from .tasks.store import SERVICE_RUN, TaskStore
from .team.roles import Roles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from understudy.supervision import ChildEvent, ChildSpec, ForkServer, SupervisorStatus

    from .settings import Settings
    from .tasks.task import Task

_log = logging.getLogger(__name__)

# Containers run as this user; it owns what is mounted into them when the fleet runs as root.
CONTAINER_USER = (1000, 1000)
_ASK_S = 30.0
_CANCEL_S = 5.0


class Fleet:
    """Built by `start`, taken down by `stop`. Usable from any thread.

    Args:
        forks: started already; this fleet closes it.
        keeps_tasks: its tasks outlive it and wait for the next such fleet: the service.
        on_hopeless: see `RootActor`.
        haste: once it is on, the end waits for nothing.
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
        haste: Haste | None = None,
    ) -> None:
        self.settings = settings
        self._roles = Roles.of(settings)
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
            conversations=base.conversations,
            transcripts=base.state_dir / "transcripts",
            saved=base.saved,
            logs=base.state_dir / "logs",
        )
        # What tasks and incarnations are filed under: the service goes on where it was.
        self._filed_under = SERVICE_RUN if self._keeps_tasks else run_id
        self.store: TaskStore | None = None
        self._haste = haste or Haste()
        self._undo: list[Callable[[], object]] = []
        self._stopped = threading.Event()
        self._root: Any = None
        self._losses: BusLosses | None = None
        self._supervisors: FleetSupervisors | None = None

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
        assert self.store is not None
        lives = IncarnationLog(self.store, self._filed_under)
        self._start_guard(lives, env)
        self._start_root(lives, image, env)

    def _start_guard(self, lives: IncarnationLog, env: dict[str, str]) -> None:
        replaced = partial(lives.say, "guard", "replaced")
        guard = Guard(self.places.run_id, env, mark=self._forks.mark, on_replaced=replaced)
        guard.start()
        self._undo.append(guard.close)

    def _check_machine(self) -> tuple[str, dict[str, str]]:
        agent = self.settings.agent
        refuse_missing_limits(Machine.here(), agent.allow_missing_limits)
        image = agent.image or image_tag(agent.cli_version)
        env = podman_env(self._base.cache_dir, self._env)
        images = {image, *(role.image or image for role in self.settings.roles.values())}
        for name in sorted(images):
            if not image_exists(name, env):
                mend = "run `understudy image build`" if name == image else "mend roles.*.image"
                raise MachineNotReady(f"the agent image {name} is not there", mend)
        return image, env

    def _make_places(self) -> None:
        places = self.places
        places.work_dir.mkdir(mode=0o700, parents=True)
        # At once: who finds the folder and not the lock takes the run for dead.
        lock = take_lock(places.work_dir / LOCK_NAME)
        leave_mark(places.work_dir, self._forks.mark)
        for folder in (places.transcripts, places.saved, places.logs, places.run_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (places.run_dir, places.work_dir):
            self._undo.append(partial(shutil.rmtree, folder, ignore_errors=True))
        for agent_id in self.agent_ids():
            # The container's user must enter it; the folder above is closed to everybody else.
            places.socket_dir(agent_id).mkdir(mode=0o755)
        prepare_ways(self.settings, places, self.agent_ids())
        self._undo.append(partial(os.close, lock))
        self.store = TaskStore(self._base.state_dir / "tasks.db")
        self._undo.append(self.store.close)
        self._keeper = Housekeeper(
            self._base,
            podman_env(self._base.cache_dir, self._env),
            self.store,
            (places.transcripts, places.saved, places.logs),
            self.settings.storage,
        )
        # Last of what the agents left, once they are gone.
        self._undo.append(self._keeper.sweep)

    def _start_root(self, lives: IncarnationLog, image: str, env: dict[str, str]) -> None:
        settings, places = self.settings, self.places
        channel = UnixSocketChannel(
            places.bus,
            is_server=True,
            name=ORCHESTRATOR,
            send_timeout_s=settings.communication.message_timeout,
        )
        protocol = Agent2AgentProtocol(ORCHESTRATOR, channel)
        self._losses = BusLosses(channel, protocol)
        assert self.store is not None
        startup = Startup(self._see_logs(), self._haste)

        def listen(event: ChildEvent) -> None:
            lives.note(event)
            root.tell(event)
            startup.hear(event)

        supervisors = FleetSupervisors(self._forks, listen, lives.first)
        root = self._make_root(self.store, protocol, supervisors, lives)
        self._undo.append(lambda: root.stop(block=True, timeout=_ASK_S))
        self._root = root.proxy()
        threads = FleetThreads(protocol, self.store, root.tell, self._stopped)
        threads.start()
        self._undo.append(threads.join)
        self._undo.append(self._stopped.set)
        self._undo.append(channel.close)  # this wakes the thread that reads it
        self._start_children(supervisors, image, env)
        self._supervisors = supervisors
        limit_s = settings.agent.startup_timeout
        startup.await_ready({*self.agent_ids(), "gateway"}, limit_s)
        self._keeper.start()
        self._undo.append(self._keeper.close)

    def _make_root(
        self,
        store: TaskStore,
        protocol: Agent2AgentProtocol,
        supervisors: FleetSupervisors,
        lives: IncarnationLog,
    ) -> pykka.ActorRef[RootActor]:
        queue = self.settings.task_queue
        tasks = TaskQueue(max_size=queue.max_size, ageing_s=queue.ageing, roles=self._roles)
        return RootActor.start(
            Roster(self.agent_ids()),
            TaskBook(tasks, store, self._filed_under, on_failed=self._keeper.look),
            protocol,
            RootLimits.of(self.settings),
            kill_agent=supervisors.kill,
            renew_child=supervisors.renew,
            record=lives.say,
            on_hopeless=self._on_hopeless,
            roles=self._roles,
        )

    def _start_children(
        self, supervisors: FleetSupervisors, image: str, env: dict[str, str]
    ) -> None:
        settings, places, ids = self.settings, self.places, self.agent_ids()
        owner = CONTAINER_USER if os.geteuid() == 0 else None
        agents = [
            agent_spec(i, settings, places, image=image, owner=owner, podman_env=env) for i in ids
        ]
        services: list[ChildSpec] = []
        url = self._upstream.url
        if self._upstream.scripted_target:
            target = self._upstream.scripted_target
            services.append(scripted_model_spec(settings, places, target))
            url = f"unix:{places.scripted_model}"
        assert url is not None, "an upstream has a URL or a scripted model"
        desk = desk_args(settings, self._base.state_dir, self._filed_under)
        credentials = self._upstream.credentials
        services.append(gateway_spec(settings, places, ids, credentials, url, desk))
        self._undo.append(supervisors.start(services_supervisor(settings, services)))
        self._undo.append(supervisors.start(agents_supervisor(settings, agents)))

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
        while running and time.monotonic() < ends and not self._haste.is_on:
            if self.status()["running"] == 0:
                return
            time.sleep(0.05)

    def _unwind(self) -> None:
        """Undo every step of the start, the last one first; one that fails stops no other."""
        self._stopped.set()  # the threads of the fleet end by it
        with killing_in_haste(self._haste, self._forks):
            while self._undo:
                step = self._undo.pop()
                try:
                    step()
                except Exception:  # noqa: BLE001 - whatever it is, the rest must still be undone
                    _log.exception("a step of the shutdown failed; the rest goes on")

    # -- use ----------------------------------------------------------------------------------

    def agent_ids(self) -> list[str]:
        """The ids of this fleet's agents."""
        return agent_ids(self.settings)

    def submit(self, tasks: list[Task]) -> list[TaskHandle]:
        """Accept the tasks, all or none.

        Raises:
            FleetStopped: the fleet does not run.
            InvalidTask: it names a role or an agent that is not there.
            QueueFull, DuplicateTask: see `RootActor.submit`.
        """
        if self._root is None or self._stopped.is_set():
            raise FleetStopped("the fleet does not run")
        for task in tasks:
            self._roles.check(task, self.agent_ids())
        handles = [TaskHandle(task.task_id, self.cancel) for task in tasks]
        self._ask("submit", tasks, handles)
        return handles

    def recover(self) -> list[TaskHandle]:
        """Take up the unfinished tasks of an earlier service."""
        assert self.store is not None
        with collector_paused():
            rows = self.store.recover(self._filed_under, self.settings.supervision.max_attempts)
            tasks = [(row.task, row.attempts) for row in rows]
            handles = [TaskHandle(row.task_id, self.cancel) for row in rows]
            may_have_run = [row.task_id for row in rows if row.may_have_run]
            self._ask("recover", tasks, handles, may_have_run)
        self._keeper.look()  # a task may be poison now
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

    def answer(
        self, task_id: str, *, allow: bool, text: str | None = None, call: str | None = None
    ) -> dict[str, Any] | None:
        """See `Approvals.answer`."""
        done: dict[str, Any] | None = self._ask(
            "answer", task_id, allow=allow, text=text, call=call
        )
        return done

    def restart_agent(self, name: str) -> dict[str, Any]:
        """See `RootActor.restart_agent`."""
        done: dict[str, Any] = self._ask("restart_agent", name)
        return done

    def suspend_agent(self, name: str, *, now: bool) -> dict[str, Any]:
        """See `RootActor.suspend_agent`."""
        done: dict[str, Any] = self._ask("suspend_agent", name, now=now)
        return done

    def resume_agent(self, name: str) -> dict[str, Any]:
        """See `RootActor.resume_agent`."""
        done: dict[str, Any] = self._ask("resume_agent", name)
        return done

    def status(self) -> dict[str, Any]:
        """See `RootActor.status` and `BusLosses.added_to`."""
        status: dict[str, Any] = self._ask("status")
        assert self._losses is not None
        return self._losses.added_to(status)

    def tree(self) -> dict[str, Any]:
        """The root, its supervisors and their children, as plain data: see `fleet_tree`."""
        reports: dict[str, SupervisorStatus | None] = {}
        if self._supervisors is not None:
            reports = self._supervisors.reports()
        return fleet_tree(self.status(), reports, os.getpid())

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
