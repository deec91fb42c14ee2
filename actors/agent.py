"""ClaudeAgent: the actor that owns one container and one CLI, in a process of its own.

The actor's loop only takes messages: requests, cancellations, pings. The work itself runs in one
worker thread, so that a ping is answered, and a cancellation taken, in the middle of a turn.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pykka

from understudy.transport import (
    Agent2AgentProtocol,
    AgentMessage,
    ChannelClosed,
    EncodeError,
    FrameTooLarge,
    MessageType,
)

from .bus import join_bus
from .claude.tools import agent_tools
from .crash import AgentCrash, explain
from .failure import POLICIES, FailureKind
from .fleet_places import ORCHESTRATOR
from .saving import Saving
from .seat import Seat
from .seat_plan import SeatPlan
from .task_runner import Job, TaskRunner
from .tasks.rows import Conversation
from .tasks.task import Task, TaskResult
from .team.approvals import AskedCalls
from .team.backend import FleetBackend
from .team.roles import Roles

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from understudy.supervision import ChildContext

    from .claude import McpServer, PermissionRequest
    from .tasks.types import TaskType

_log = logging.getLogger(__name__)

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True)
class _Finished:
    """The worker has a result; tidying up comes next, in the worker."""

    request: AgentMessage
    result: TaskResult


@dataclass(frozen=True)
class _Tidy:
    """The worker is ready for the next task, with a warm CLI or parked."""


@dataclass(frozen=True)
class _Crashed:
    """The worker cannot go on."""

    crash: AgentCrash
    task_id: str | None


class ClaudeAgent(pykka.ThreadingActor):
    """One agent: takes a task request at a time, answers with a `TaskResult`.

    Args:
        agent_id: its name on the bus.
        protocol: its way to the orchestrator and to other agents.
        make_seat: builds the seat, given what to do with the CLI's events.
        runner_options: stall time, transcript folder (see `TaskRunner`).
        warm_for: the task type to have a CLI ready for at start, or None.
        on_ended: called once, when the agent cannot go on.
    """

    use_daemon_thread = True

    def __init__(
        self,
        agent_id: str,
        protocol: Agent2AgentProtocol,
        make_seat: Callable[[Callable[[dict[str, Any]], None]], Seat],
        *,
        runner_options: dict[str, Any],
        warm_for: str | None,
        on_ended: Callable[[AgentCrash], None],
    ) -> None:
        super().__init__()
        self.agent_id = agent_id
        self.current_task: Task | None = None
        self.is_running = False
        self._job: Job | None = None
        self._protocol = protocol
        self._warm_for = warm_for
        self._on_ended = on_ended
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._seat = make_seat(self._on_cli_event)
        self._asked = AskedCalls(self._tell_root)
        self._seat.on_permission = self._on_permission
        self._seat.servers_of = self._servers_of
        self._others = FleetBackend(protocol, self._work_now)
        self._runner = TaskRunner(
            agent_id,
            self._seat,
            progress=self._tell_progress,
            moved=self._tell_moved,
            **runner_options,
        )
        self._worker = threading.Thread(
            target=self._work_loop, name=f"understudy-worker-{agent_id}", daemon=True
        )

    def on_start(self) -> None:
        """Take requests, and warm up meanwhile."""
        self._protocol.register_handler(MessageType.TASK_REQUEST, self._pass_on)
        self._protocol.register_handler(MessageType.COORDINATION, self._pass_on)
        self._worker.start()
        self.is_running = True
        self._work.put(self._seat.remove_predecessors)
        if self._warm_for:
            self._work.put(lambda: self._seat.warm_up(cast("str", self._warm_for)))
        self._work.put(lambda: self._tell(_Tidy()))

    def on_stop(self) -> None:
        """Interrupt what runs, end the container, remove its folders."""
        self.is_running = False
        if self._job is not None:
            self._runner.cancel(self._job.number)
        self._work.put(None)
        self._worker.join(timeout=5.0)
        self._seat.close()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 - pykka's signature
        exception_value: BaseException | None,
        traceback: TracebackType | None,  # noqa: ARG002 - likewise
    ) -> None:
        """After an error of our own: end, so that the supervisor starts the next one."""
        self._on_ended(AgentCrash(FailureKind.CRASH, f"the agent failed: {exception_value}"))

    def on_receive(self, message: object) -> None:
        """Handle one message, in the actor's thread; never blocks on the work."""
        match message:
            case AgentMessage(message_type=MessageType.TASK_REQUEST):
                self._take(message)
            case AgentMessage(message_type=MessageType.COORDINATION):
                self._obey(message.payload)
            case _Finished(request, result):
                self._asked.forget()
                self.current_task = self._job = None
                self._respond(request, result)
            case _Tidy():
                self._tell_state()
            case _Crashed(crash, task_id):
                self._end(crash, task_id)
            case _ if callable(message):
                message()
            case _:
                _log.warning("%s: message ignored: %r", self.agent_id, message)

    def _obey(self, order: dict[str, Any]) -> None:
        match order:
            case {"command": "cancel", "number": int(number)}:
                self._runner.cancel(number, is_over=bool(order.get("is_over")))
            case {"command": "hold", "number": int(number)}:
                at_most_s, waited_s = order["at_most_s"], order["waited_s"]
                self._runner.hold(number, at_most_s=at_most_s, waited_s=waited_s)
            case {"command": "go_on", "number": int(number)}:
                self._runner.go_on(number)
            case {"command": "permission"}:
                self._asked.answer(order)
            case {"command": "park"}:
                self._between_tasks(self._seat.park)
            case {"command": "wake"}:
                self._between_tasks(self._seat.wake)
            case _:
                _log.warning("%s: order ignored: %r", self.agent_id, order)

    def _respond(self, request: AgentMessage, result: TaskResult) -> None:
        try:
            self._protocol.send_task_response(request, result.to_wire())
        except (EncodeError, FrameTooLarge) as error:
            text = f"the result cannot be sent: {error}"
            failed = replace(
                result,
                status="failed",
                result={},
                error=text,
                failure_kind=FailureKind.INTERNAL.value,
            )
            self._protocol.send_task_response(request, failed.to_wire())

    def _pass_on(self, message: AgentMessage) -> None:
        """Hand a message from the bus to the loop; called in the bus's thread.

        What comes after the actor's end is dropped: its supervisor tells the orchestrator.
        """
        self._tell(message)

    def _take(self, request: AgentMessage) -> None:
        if self.current_task is not None:
            busy = {"kind": "busy", "message": f"{self.agent_id} runs another task"}
            self._protocol.send(
                request.sender_id, MessageType.ERROR, busy, correlation_id=request.message_id
            )
            return
        task = Task.from_wire(request.payload["task"])
        payload = request.payload
        job = Job(
            task,
            int(payload.get("attempt", 1)),
            number=int(payload.get("number", 0)),
            may_have_run=bool(payload.get("may_have_run", False)),
            last_life=bool(payload.get("last_life", False)),
            more_memory=bool(payload.get("more_memory", False)),
            conversation=Conversation.of(payload) or Conversation.new(),
        )
        self.current_task, self._job = task, job
        self._work.put(lambda: self._run(request, job))

    def _between_tasks(self, work: Callable[[], None]) -> None:
        """Do that to the seat, unless a task came first: the container is that one's then."""
        if self.current_task is None:
            self._work.put(work)
            self._work.put(lambda: self._tell(_Tidy()))

    def _run(self, request: AgentMessage, job: Job) -> None:
        result = self._runner.run(job)
        self._tell(_Finished(request, result))
        if self.is_running:
            self._seat.recycle(result)
            self._tell(_Tidy())

    def _work_loop(self) -> None:
        while (work := self._work.get()) is not None:
            task_id = self.current_task.task_id if self.current_task else None
            try:
                work()
            except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor must know
                if not self.is_running:
                    _log.info("%s ended in the middle of its work: %s", self.agent_id, error)
                    return
                _log.warning("%s cannot go on", self.agent_id, exc_info=True)
                self._tell(_Crashed(explain(error, self._seat), task_id))
                return

    def _tell(self, message: object) -> None:
        """Tell the actor, from the worker; one that has been stopped has no use for it."""
        with contextlib.suppress(pykka.ActorDeadError):
            self.actor_ref.tell(message)

    def _end(self, crash: AgentCrash, task_id: str | None) -> None:
        payload = {"crash": crash.kind.value, "message": crash.detail, "task_id": task_id}
        self._protocol.send(ORCHESTRATOR, MessageType.ERROR, payload)
        if self._job is not None and self._job.last_life:
            crash = crash.by_poison()
        self._on_ended(crash)

    def _tell_state(self) -> None:
        container, conversation = self._seat.container, self._seat.conversation
        payload = {
            "kind": "state",
            "state": "parked" if self._seat.is_parked else "ready",
            "warm_for": self._seat.warm_for,
            "container": self._seat.container_name,
            **(asdict(conversation) if conversation and self._seat.warm_for else {}),
            "container_pid": container.pid if container else None,
        }
        self._protocol.send(ORCHESTRATOR, MessageType.STATUS_UPDATE, payload)

    def _tell_progress(self, task_id: str, text: str) -> None:
        payload = {"kind": "progress", "task_id": task_id, "text": text}
        self._protocol.send(ORCHESTRATOR, MessageType.STATUS_UPDATE, payload)

    def _tell_moved(self, task_id: str, session_id: str) -> None:
        payload = {"kind": "conversation", "task_id": task_id, "session_id": session_id}
        self._protocol.send(ORCHESTRATOR, MessageType.STATUS_UPDATE, payload)

    def _tell_root(self, payload: dict[str, Any]) -> None:
        self._protocol.send(ORCHESTRATOR, MessageType.STATUS_UPDATE, payload)

    def _on_permission(self, request: PermissionRequest) -> None:
        """The CLI asks whether it may; called in its reader's thread."""
        job = self._job
        self._asked.ask(request, job.task.task_id if job else None)

    def _servers_of(self, kind: TaskType) -> list[McpServer]:
        """The tools by which a CLI of that task type reaches the other agents."""
        names, keep = kind.manner.team_tools, self._seat.keep_text
        return [agent_tools(self.agent_id, self._others, only=names, keep=keep)] if names else []

    def _work_now(self) -> tuple[str, int] | None:
        job = self._job
        return (job.task.task_id, job.number) if job else None

    def _on_cli_event(self, event: dict[str, Any]) -> None:
        if event.get("subtype") == "init":
            self._tell_container()  # a task that goes on has a container of its own
        self._runner.on_event(event)

    def _tell_container(self) -> None:
        container = self._seat.container
        payload = {
            "kind": "container",
            "container": self._seat.container_name,
            "container_pid": container.pid if container else None,
        }
        self._protocol.send(ORCHESTRATOR, MessageType.STATUS_UPDATE, payload)


def main(context: ChildContext) -> None:
    """Run one agent as a supervised child until it is asked to stop or cannot go on.

    `context.args`: bus (socket path), plan (fields of `SeatPlan`), stall_s, transcripts, warm_for.
    """
    args = context.args
    logging.basicConfig(level=args["log_level"], format=_LOG_FORMAT)
    ended: queue.SimpleQueue[AgentCrash | None] = queue.SimpleQueue()
    channel = join_bus(context)
    protocol = Agent2AgentProtocol(context.id, channel, incarnation=context.incarnation)
    plan = _plan(context)
    options = {
        "stall_s": args["stall_s"],
        "transcripts": _path(args["transcripts"]),
        "roles": Roles.from_wire(plan.roles),
        "saving": plan.saving,
    }
    ref = ClaudeAgent.start(
        context.id,
        protocol,
        partial(_make_seat, plan),
        runner_options=options,
        warm_for=args["warm_for"],
        on_ended=ended.put,
    )
    pump = threading.Thread(
        target=_pump, args=(protocol, ended), name="understudy-pump", daemon=True
    )
    pump.start()
    context.set_liveness(ref.tell)
    context.on_stop(lambda: ended.put(None))
    context.ready()
    crash = ended.get()
    ref.stop(block=True, timeout=15.0)
    channel.close()
    if crash is not None:
        policy = POLICIES[crash.kind]
        if policy.permanent:
            context.fail_permanently(crash.kind.value, f"{crash.detail} ({policy.mend})")
        context.fail(crash.kind.value, crash.detail)


def _make_seat(plan: SeatPlan, on_event: Callable[[dict[str, Any]], None]) -> Seat:
    return Seat(plan, on_event=on_event)


def _pump(protocol: Agent2AgentProtocol, ended: queue.SimpleQueue[AgentCrash | None]) -> None:
    """Hand what arrives to the actor, until the bus is gone: then the agent has no purpose left."""
    try:
        while True:
            protocol.process_messages(timeout_s=1.0)
    except ChannelClosed:
        ended.put(None)


def _plan(context: ChildContext) -> SeatPlan:
    fields = dict(context.args["plan"])
    owner = fields.pop("owner")
    folder, every_s = Path(fields.pop("saved")), fields.pop("save_interval_s")
    return SeatPlan(
        agent_id=context.id,
        incarnation=context.incarnation,
        conversations=Path(fields.pop("conversations")),
        socket_dir=Path(fields.pop("socket_dir")),
        saving=Saving(folder, every_s, fields["max_workspace_bytes"]),
        missing_limits=tuple(fields.pop("missing_limits")),
        owner=(int(owner[0]), int(owner[1])) if owner else None,
        **fields,
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
