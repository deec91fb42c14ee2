"""The root actor: gives each task to an agent, and sees it through the agent's falls.

Agents and supervisors only tell it what happened; it decides.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import pykka

from understudy.supervision import ChildEvent
from understudy.transport import AgentMessage, MessageType

from .dispatch import Dispatcher
from .errors import FleetStopped
from .failure import POLICIES, FailureKind
from .hope import Hope
from .orders import GATEWAY, Orders
from .parking import Parking
from .retries import Retries, RootLimits
from .steering import CANCEL_GRACE_S, Steering
from .tasks.database import StoreError
from .tasks.rows import Lease, Outcome
from .tasks.task import Task, TaskResult
from .team.approvals import Approvals
from .team.desk import TeamDesk, TeamDoor
from .team.roles import Roles
from .timekeeping import Timekeeper
from .way_out import WayOut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from understudy.transport import Agent2AgentProtocol

    from .handle import TaskHandle
    from .roster import AgentRecord, Roster
    from .running import Running
    from .task_book import TaskBook

_log = logging.getLogger(__name__)


class RootActor(pykka.ThreadingActor):
    """The orchestrator's actor. Everything below runs in its thread; callers use its proxy.

    Args:
        roster, book: owned by this actor from now on.
        protocol: the bus, under the name `orchestrator`.
        kill_agent: kills an agent that no longer answers; the supervisor brings the next one.
        renew_child, record: see `Steering`.
        on_hopeless: told why, once, when no agent is left and none will come, or when the store
            fails. Tasks that wait then stay where they are; without it they fail.
    """

    use_daemon_thread = True

    def __init__(
        self,
        roster: Roster,
        book: TaskBook,
        protocol: Agent2AgentProtocol,
        limits: RootLimits,
        *,
        kill_agent: Callable[[str], None],
        renew_child: Callable[[str], None],
        record: Callable[[str, str, str], None],
        on_hopeless: Callable[[str], None] | None = None,
        roles: Roles | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._roster = roster
        self._roles = roles or Roles({}, {})
        self._book = book
        self._orders = Orders(protocol, self.actor_ref.tell)
        self._limits = limits
        self._hope = Hope(book, on_hopeless)
        self._clock = clock
        self._way_out = WayOut(roster, clock)
        self._retries = Retries(limits)
        self._parking = Parking(roster, book, self._orders, limits.park_after_s, record, clock)
        door = TeamDoor(self._check_open, self.cancel, self._parking.wake)
        self._team = desk = TeamDesk(
            book, roster, self._roles, self._orders, door, limits.team, clock
        )
        self._dispatcher = Dispatcher(
            roster, book, self._orders, limits, self._roles, clock, desk.count_standing_still,
            self._way_out,
        )  # fmt: skip
        self._steering = Steering(roster, book, self._orders, renew_child, record, clock)
        self._approvals = Approvals(book, self._orders, clock)
        self._time = Timekeeper(book, roster, self._orders, kill_agent, clock, self._way_out)
        self._closing: str | None = None
        self._keeps = False

    def on_start(self) -> None:
        """Listen to the agents."""
        self._orders.listen()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 - pykka's signature
        exception_value: BaseException | None,
        traceback: TracebackType | None,  # noqa: ARG002 - likewise
    ) -> None:
        """After an error of our own: whoever waits is told so, at once."""
        self._hope.lose_root(exception_value)

    # -- what callers ask ---------------------------------------------------------------------

    def submit(self, tasks: list[Task], handles: list[TaskHandle]) -> None:
        """Take the tasks, durably, all or none.

        Raises:
            FleetStopped: the fleet is stopping, or no agent can work.
            QueueFull: there is no room for all of them.
            DuplicateTask: an id is taken.
        """
        self._check_open()
        self._book.accept(tasks, handles)
        self._time.watch(tasks)
        self._dispatch()

    def recover(
        self,
        tasks: list[tuple[Task, int]],
        handles: list[TaskHandle],
        may_have_run: Iterable[str] = (),
    ) -> None:
        """Take up again what an earlier service had accepted; see `TaskBook.recover`."""
        self._book.recover(tasks, handles, may_have_run=may_have_run)
        self._team.recover([task for task, _ in tasks])
        self._time.watch(task for task, _ in tasks)
        known = {agent.agent_id for agent in self._roster.all()}
        for task, _ in tasks:
            if why := self._roles.why_nobody(task, known):
                self._book.take_waiting(task.task_id)
                self._book.fail(task, FailureKind.CONFIG, why)
        self._dispatch()

    def replay(self, task_id: str, handle: TaskHandle) -> bool:
        """Queue a task that is in quarantine; False when it is not.

        Raises:
            FleetStopped, QueueFull: see `submit`.
        """
        self._check_open()
        done = self._book.replay(task_id, handle)
        self._dispatch()
        return done

    def cancel(self, task_id: str) -> bool:
        """End that task; False when it is not known or over."""
        if task := self._book.take_waiting(task_id):
            self._book.fail(task, FailureKind.CANCELED, "canceled before it ran")
            return True
        running = self._book.running.get(task_id)
        if running is None:
            return False
        running.canceled = True
        running.must_end_in(CANCEL_GRACE_S, self._clock())
        self._orders.cancel(running)
        return True

    def restart_agent(self, name: str) -> dict[str, Any]:
        """See `Steering.restart`.

        Raises:
            FleetStopped: the fleet is stopping, or no agent can work.
        """
        self._check_open()
        return self._steering.restart(name)

    def suspend_agent(self, name: str, *, now: bool) -> dict[str, Any]:
        """See `Steering.suspend`."""
        return self._steering.suspend(name, now=now)

    def resume_agent(self, name: str) -> dict[str, Any]:
        """See `Steering.resume`; one that is parked makes its container ready.

        Returns:
            Also `woken`: whether it was parked.
        """
        done = self._steering.resume(name)
        done["woken"] = self._parking.wake(name)
        self._dispatch()
        return done

    def answer(
        self, task_id: str, *, allow: bool, text: str | None = None, call: str | None = None
    ) -> dict[str, Any] | None:
        """See `Approvals.answer`."""
        return self._approvals.answer(task_id, allow=allow, text=text, call=call)

    def status(self) -> dict[str, Any]:
        """Agents, queue and counters, as plain data."""
        return {
            "agents": {
                agent.agent_id: agent.to_status() | {"role": self._roles.of_agent(agent.agent_id)}
                for agent in self._roster.all()
            },
            "services": {
                name: service.to_status() for name, service in self._roster.services.items()
            },
            "input_required": self._approvals.waiting(),
            "waits": self._team.waits(),
            "queued": self._book.waiting,
            "running": len(self._book.running),
            "blocked_by": self._way_out.blocked_by,
            "paused_s": round(self._way_out.pause_s, 1),
            "stale_messages": self._roster.stale_messages,
            "stopping": self._closing,
            "problem": self._hope.problem,
        }

    def drain(self, why: str, *, keep_waiting: bool) -> list[str]:
        """Stop taking tasks; end or keep those that wait. The ids of those that still run."""
        self._closing, self._keeps = why, keep_waiting
        for task in self._book.take_all_waiting():
            self._put_away(task, "before the task ran")
        return list(self._book.running)

    def abandon(self, *, keep: bool) -> None:
        """What still runs after the drain waits for the next service, or fails."""
        self._keeps = keep
        for task in [running.task for running in self._book.running.values()]:
            self._put_away(task, "while the task ran")

    def _put_away(self, task: Task, when: str) -> None:
        """What becomes of a task that this fleet will not finish."""
        if self._keeps:
            self._book.keep_for_later(task)
        else:
            self._book.fail(task, FailureKind.CANCELED, f"{self._closing} {when}")

    # -- what others tell ---------------------------------------------------------------------

    def on_receive(self, message: object) -> None:
        """Take a message of an agent, the gateway, a supervisor or the timer."""
        try:
            self._take_in(message)
        except StoreError as error:
            self._hope.lose_store(error)

    def _take_in(self, message: object) -> None:
        match message:
            case ChildEvent():
                self._on_child(message)
            case AgentMessage() if self._roster.is_report(message):
                self._time.note_report(message.payload)
            case AgentMessage() if self._roster.is_stale(message):
                self._roster.count_stale(message)
            case AgentMessage(message_type=MessageType.STATUS_UPDATE):
                self._on_status(message)
            case AgentMessage(message_type=MessageType.ERROR, payload={"crash": str(kind)}):
                agent = self._roster[message.sender_id]
                agent.crash_kind, agent.last_failure = kind, message.payload.get("message")
            case AgentMessage(message_type=MessageType.ERROR):
                self._on_refusal(message)
            case AgentMessage(message_type=MessageType.TASK_RESPONSE):
                self._on_result(message)
            case AgentMessage(message_type=MessageType.TASK_REQUEST):
                self._team.take(message)
                self._dispatch()
            case "tick":
                self._on_tick()
            case _:
                _log.warning("the root ignores %r", message)

    def _on_status(self, message: AgentMessage) -> None:
        agent, payload = self._roster[message.sender_id], message.payload
        if payload.get("kind") == "progress":
            self._book.publish(payload["task_id"], "progress", agent.agent_id, payload["text"])
        elif payload.get("kind") == "conversation":
            lease = Lease(agent.agent_id, message.incarnation)
            self._book.move(payload["task_id"], lease, payload["session_id"])
        elif payload.get("kind") == "container":
            agent.has_container(payload)
        elif payload.get("kind") == "permission":
            self._approvals.note(agent.agent_id, payload)
        elif payload.get("kind") == "withdraw":
            self._team.withdraw(payload["call_id"])
        elif payload.get("kind") == "state" and agent.task_id is None and not agent.renewing:
            agent.is_free(payload)
            self._dispatch()

    def _on_refusal(self, message: AgentMessage) -> None:
        """An agent did not take the task it was given: it waits again, at no cost."""
        agent = self._roster[message.sender_id]
        running = self._book.running.get(agent.task_id) if agent.task_id else None
        if running is None:
            return
        agent.task_id = None
        if running.canceled:
            self._book.fail(running.task, *running.ended_as)
            return
        why = f"{agent.agent_id} did not take it: {message.payload.get('message')}"
        wait_s = self._limits.retry_wait_min_s
        self._book.requeue(running.task, why, after_s=wait_s, free=True, outcome=Outcome.REFUSED)
        self._drain_again()

    def _on_result(self, message: AgentMessage) -> None:
        result = TaskResult.from_wire(message.payload)
        running = self._book.running.get(result.task_id)
        if running is None or running.agent_id != message.sender_id:
            self._roster.count_stale(message)
            return
        agent = self._roster[running.agent_id]
        agent.task_id, agent.state = None, "tidying"
        kind = FailureKind(result.failure_kind) if result.failure_kind else None
        if running.recalled and kind is FailureKind.CANCELED and not running.canceled:
            self._recall(running)
        elif kind is None or running.canceled or not self._retry_later(running, kind, result):
            self._retries.forget(result.task_id)
            self._time.say_why(running, result)
            if not self._book.finish(result, Lease(message.sender_id, message.incarnation)):
                self._roster.count_stale(message)
        self._dispatch()

    def _on_child(self, event: ChildEvent) -> None:
        if event.child_id not in self._roster:
            self._time.note_service(event)
            if (event.child_id, event.kind) == (GATEWAY, "ready"):
                self._dispatcher.tell_gateway()
                self._dispatch()
            if event.kind == "gave_up" and not self._closing:
                self._hope.lose(f"{event.child_id} ended for good", event)
            return
        agent = self._roster[event.child_id]
        match event.kind:
            case "starting":
                agent.starts(event.incarnation)
            case "ready":
                agent.runs(event.info.get("pid"))
            case "exited":
                self._on_exit(agent, event)
            case "restarting":
                agent.restarts += not agent.renewing
            case "gave_up" | "stopped":
                self._on_gone(agent, event)
            case "budget_warning" | "budget_spent" | "spared":
                pass  # The supervisor logs them; nothing changes for the agent's tasks.

    def _on_exit(self, agent: AgentRecord, event: ChildEvent) -> None:
        running = self._book.running.get(agent.task_id) if agent.task_id else None
        kind, why = agent.crash_kind, agent.fell(event.reason)
        if running is not None:
            self._after_fall(running, kind, why)
        self._dispatch()

    def _after_fall(self, running: Running, kind: str | None, why: str) -> None:
        """What becomes of a task whose agent fell while it worked on it."""
        task, book = running.task, self._book
        if running.canceled:
            book.fail(task, *running.ended_as, running.agent_id)
        elif self._hope.lost and self._hope.fails_tasks:
            book.fail(task, *self._hope.lost)
        elif running.recalled:
            self._recall(running)
        elif book.fell(running, why, self._limits.max_attempts, kind):
            self._drain_again()

    def _recall(self, running: Running) -> None:
        """The task was taken from its agent on request: it waits again, at no cost."""
        why = f"{running.recalled}; the task runs again"
        self._book.requeue(running.task, why, free=True, outcome=Outcome.RECALLED)
        self._drain_again()

    def _drain_again(self) -> None:
        """A task that waits again while the fleet stops goes where the others went."""
        if self._closing:
            self.drain(self._closing, keep_waiting=self._keeps)

    def _on_gone(self, agent: AgentRecord, event: ChildEvent) -> None:
        agent.state = "failed"
        if event.reason and event.reason.detail:
            agent.last_failure = event.reason.detail
        if not self._roster.any_hope() and not self._closing:
            why = agent.last_failure or "all of them ended"
            self._hope.lose(f"no agent can work: {why}", event)

    def _on_tick(self) -> None:
        self._book.release_due()
        self._approvals.tick()
        self._team.tick()
        self._time.tick()
        self._dispatch()
        if not self._closing:
            self._parking.tick()

    # -- the work -----------------------------------------------------------------------------

    def _dispatch(self) -> None:
        try:
            self._team.settle()
            if not (self._closing or self._hope.lost):
                self._dispatcher.give_what_waits()
            self._parking.look()
        except StoreError as error:
            self._hope.lose_store(error)

    def _retry_later(self, running: Running, kind: FailureKind, result: TaskResult) -> bool:
        """Whether the task waits and tries again, here or in the next service."""
        wait_s = None
        if self._keeps or not self._closing:
            wait_s = self._retries.wait_s(running, kind, self._way_out.pause_s)
        if wait_s is None:
            return False
        why = f"{kind}: {result.error}; next try in {round(wait_s, 1):g} s"
        free = not POLICIES[kind].uses_attempt
        self._book.requeue(running.task, why, after_s=wait_s, free=free)
        self._drain_again()
        return True

    def _check_open(self) -> None:
        if why := self._closing or self._hope.problem:
            raise FleetStopped(why)
