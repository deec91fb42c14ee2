"""The root actor: gives each task to an agent, and sees it through the agent's falls.

Agents and supervisors only tell it what happened; it decides.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pykka

from understudy.supervision import ChildEvent
from understudy.transport import (
    AgentMessage,
    EncodeError,
    ErrorKind,
    FrameTooLarge,
    MessageType,
    TransportError,
)

from .errors import FleetStopped
from .failure import POLICIES, FailureKind
from .tasks.task import Task, TaskResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from understudy.transport import Agent2AgentProtocol

    from .handle import TaskHandle
    from .roster import AgentRecord, Roster
    from .task_book import Running, TaskBook

_log = logging.getLogger(__name__)

# An agent ends its own turns in time; only one that does not answer is ended from here.
_CANCEL_GRACE_S = 10.0
_OVERTIME_S = 30.0


@dataclass(frozen=True)
class RootLimits:
    """The root's own limits, from the settings."""

    max_running: int
    max_attempts: int
    retry_wait_min_s: float
    retry_wait_max_s: float


class RootActor(pykka.ThreadingActor):
    """The orchestrator's actor. Everything below runs in its thread; callers use its proxy.

    Args:
        roster, book: owned by this actor from now on.
        protocol: the bus, under the name `orchestrator`.
        restart_agent: ends an agent that no longer answers; the supervisor brings the next one.
        on_hopeless: told why, once, when no agent is left and none will come. Tasks that wait then
            stay where they are; without it they fail.
    """

    use_daemon_thread = True

    def __init__(
        self,
        roster: Roster,
        book: TaskBook,
        protocol: Agent2AgentProtocol,
        limits: RootLimits,
        *,
        restart_agent: Callable[[str], None],
        on_hopeless: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._roster = roster
        self._book = book
        self._protocol = protocol
        self._limits = limits
        self._restart_agent = restart_agent
        self._on_hopeless = on_hopeless
        self._clock = clock
        self._retries: dict[str, int] = {}
        self._closing: str | None = None
        self._keeps = False
        self._hopeless: tuple[FailureKind, str] | None = None
        self._stale = 0
        self._services: dict[str, dict[str, Any]] = {}

    def on_start(self) -> None:
        """Listen to the agents."""
        for kind in (MessageType.STATUS_UPDATE, MessageType.ERROR):
            self._protocol.register_handler(kind, self.actor_ref.tell)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 - pykka's signature
        exception_value: BaseException | None,
        traceback: TracebackType | None,  # noqa: ARG002 - likewise
    ) -> None:
        """After an error of our own, or of the disk: whoever waits is told so, at once."""
        text = f"the orchestrator cannot go on: {exception_value}"
        _log.critical(text, exc_info=exception_value)
        if self._on_hopeless is not None:
            self._on_hopeless(text)
        self._book.give_up(text)

    # -- what callers ask ---------------------------------------------------------------------

    def submit(self, tasks: list[Task], handles: list[TaskHandle]) -> None:
        """Take the tasks, durably, all or none.

        Raises:
            FleetStopped: the fleet is stopping, or no agent can work.
            QueueFull: there is no room for all of them.
            DuplicateTask: an id is taken.
        """
        if self._closing or self._hopeless:
            raise FleetStopped(self._closing or (self._hopeless or ("", ""))[1])
        self._book.accept(tasks, handles)
        self._dispatch()

    def recover(self, tasks: list[tuple[Task, int]], handles: list[TaskHandle]) -> None:
        """Take up again what an earlier service had accepted."""
        self._book.recover(tasks, handles)
        self._dispatch()

    def cancel(self, task_id: str) -> bool:
        """End that task; False when it is not known or over."""
        if task := self._book.take_waiting(task_id):
            self._book.fail(task, FailureKind.CANCELED, "canceled before it ran")
            return True
        running = self._book.running.get(task_id)
        if running is None:
            return False
        running.canceled = True
        running.gives_up_at = self._clock() + _CANCEL_GRACE_S
        self._send(running.agent_id, {"command": "cancel", "task_id": task_id})
        return True

    def status(self) -> dict[str, Any]:
        """Agents, queue and counters, as plain data."""
        return {
            "agents": {agent.agent_id: agent.to_status() for agent in self._roster.all()},
            "services": dict(self._services),
            "queued": self._book.waiting,
            "running": len(self._book.running),
            "stale_messages": self._stale,
            "stopping": self._closing,
            "problem": self._hopeless[1] if self._hopeless else None,
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
        for task in self._book.take_all_waiting():
            self._put_away(task, "before the task ran again")

    def _put_away(self, task: Task, when: str) -> None:
        """What becomes of a task that this fleet will not finish."""
        if self._keeps:
            self._book.keep_for_later(task)
        else:
            self._book.fail(task, FailureKind.CANCELED, f"{self._closing} {when}")

    # -- what others tell ---------------------------------------------------------------------

    def on_receive(self, message: object) -> None:
        """Take a message of an agent, the gateway, a supervisor or the timer."""
        match message:
            case ChildEvent():
                self._on_child(message)
            case AgentMessage(payload={"kind": "usage", "agent_id": str(agent_id)}):
                self._roster.count_usage(agent_id, message.payload)
            case AgentMessage() if self._is_stale(message):
                self._stale += 1
            case AgentMessage(message_type=MessageType.STATUS_UPDATE):
                self._on_status(message)
            case AgentMessage(message_type=MessageType.ERROR, payload={"crash": str(kind)}):
                agent = self._roster[message.sender_id]
                agent.crash_kind, agent.last_failure = kind, message.payload.get("message")
            case AgentMessage(message_type=MessageType.ERROR):
                self._on_refusal(message)
            case AgentMessage(message_type=MessageType.TASK_RESPONSE):
                self._on_result(message)
            case "tick":
                self._on_tick()
            case _:
                _log.warning("the root ignores %r", message)

    def _is_stale(self, message: AgentMessage) -> bool:
        """Whether it comes from an incarnation that is not the agent's present one."""
        if message.sender_id not in self._roster:
            return True
        return message.incarnation != self._roster[message.sender_id].incarnation

    def _on_status(self, message: AgentMessage) -> None:
        agent, payload = self._roster[message.sender_id], message.payload
        if payload.get("kind") == "progress":
            self._book.publish(payload["task_id"], "progress", agent.agent_id, payload["text"])
        elif payload.get("kind") == "state" and agent.task_id is None:
            agent.state = "ready"
            agent.warm_for = payload.get("warm_for")
            agent.container = payload.get("container")
            agent.container_pid = payload.get("container_pid")
            self._dispatch()

    def _on_refusal(self, message: AgentMessage) -> None:
        """An agent did not take the task it was given: it waits again, at no cost."""
        agent = self._roster[message.sender_id]
        running = self._book.running.get(agent.task_id) if agent.task_id else None
        if running is None:
            return
        agent.task_id = None
        if running.canceled:
            self._book.fail(running.task, FailureKind.CANCELED, "canceled before it ran")
            return
        why = f"{agent.agent_id} did not take it: {message.payload.get('message')}"
        self._book.requeue(running.task, why, after_s=self._limits.retry_wait_min_s, free=True)

    def _on_result(self, message: AgentMessage) -> None:
        result = TaskResult.from_wire(message.payload)
        running = self._book.running.get(result.task_id)
        if running is None or running.agent_id != message.sender_id:
            self._stale += 1
            return
        agent = self._roster[running.agent_id]
        agent.task_id, agent.state = None, "tidying"
        kind = FailureKind(result.failure_kind) if result.failure_kind else None
        if kind is None or running.canceled or not self._retry_later(running, kind, result):
            self._retries.pop(result.task_id, None)
            self._book.finish(result)
        self._dispatch()

    def _on_child(self, event: ChildEvent) -> None:
        if event.child_id not in self._roster:
            self._services[event.child_id] = {
                "state": event.kind,
                "incarnation": event.incarnation,
                "pid": event.info.get("pid"),
            }
            if event.kind == "gave_up":
                self._lose_hope(f"{event.child_id} ended for good", event)
            return
        agent = self._roster[event.child_id]
        match event.kind:
            case "starting":
                agent.state, agent.incarnation, agent.pid = "starting", event.incarnation, None
            case "ready":
                agent.state, agent.pid = "warming", event.info.get("pid")
            case "exited":
                self._on_exit(agent, event)
            case "restarting":
                agent.restarts += 1
            case "gave_up" | "stopped":
                self._on_gone(agent, event)

    def _on_exit(self, agent: AgentRecord, event: ChildEvent) -> None:
        reason = event.reason
        kind = agent.crash_kind or (reason.kind if reason else "unknown")
        why = agent.last_failure if agent.crash_kind else (reason.detail if reason else "")
        agent.last_failure = f"{kind}: {why}" if why else kind
        running = self._book.running.get(agent.task_id) if agent.task_id else None
        agent.gone()
        if running is not None:
            self._after_fall(running, agent.last_failure)
        self._dispatch()

    def _after_fall(self, running: Running, why: str) -> None:
        """What becomes of a task whose agent fell while it worked on it."""
        task, book = running.task, self._book
        if running.canceled:
            book.fail(task, FailureKind.CANCELED, "canceled while it ran", running.agent_id)
        elif self._hopeless and self._on_hopeless is None:
            book.fail(task, *self._hopeless)
        elif self._closing:
            self._put_away(task, "while the task ran")
        elif running.attempt >= self._limits.max_attempts:
            text = f"its agent fell {running.attempt} times while it worked on it; last: {why}"
            book.fail(task, FailureKind.POISON, text, running.agent_id)
        else:
            book.requeue(task, f"{running.agent_id} fell ({why}); the task runs again")

    def _on_gone(self, agent: AgentRecord, event: ChildEvent) -> None:
        agent.state = "failed"
        if event.reason and event.reason.detail:
            agent.last_failure = event.reason.detail
        if not self._roster.any_hope():
            self._lose_hope(
                f"no agent can work: {agent.last_failure or 'all of them ended'}", event
            )

    def _lose_hope(self, text: str, event: ChildEvent) -> None:
        """Nothing more can be done here: whoever waits is told, now."""
        if self._closing or self._hopeless:
            return
        reason = event.reason
        if reason and reason.detail and reason.detail not in text:
            text = f"{text}: {reason.detail}"
        kind = reason.failure_kind if reason else None
        self._hopeless = (FailureKind(kind) if kind else FailureKind.CRASH, text)
        if self._on_hopeless is not None:
            self._on_hopeless(text)
            return
        for task in self._book.take_all_waiting():
            self._book.fail(task, *self._hopeless)

    def _on_tick(self) -> None:
        self._book.release_due()
        now = self._clock()
        for running in list(self._book.running.values()):
            if running.gives_up_at <= now:
                running.gives_up_at = now + _OVERTIME_S
                _log.warning("%s does not answer; it is ended", running.agent_id)
                self._restart_agent(running.agent_id)
        self._dispatch()

    # -- the work -----------------------------------------------------------------------------

    def _dispatch(self) -> None:
        while not self._closing and len(self._book.running) < self._limits.max_running:
            pick = self._book.take(self._roster.idle())
            if pick is None:
                return
            self._give(*pick)

    def _give(self, task: Task, agent_id: str) -> None:
        agent = self._roster[agent_id]
        order = {"task": task.to_wire(), "attempt": self._book.attempt_of(task)}
        limit_s = task.timeout + 2 * _OVERTIME_S
        try:
            self._protocol.send_task_request(agent_id, order, self._answered, timeout_s=limit_s)
        except (EncodeError, FrameTooLarge) as error:
            self._book.fail(task, FailureKind.INTERNAL, f"the task cannot be sent: {error}")
            return
        except TransportError:
            agent.state = "down"
            self._book.put_back(task)
            return
        agent.state, agent.task_id = "busy", task.task_id
        self._book.start(task, agent_id, gives_up_at=self._clock() + task.timeout + _OVERTIME_S)

    def _retry_later(self, running: Running, kind: FailureKind, result: TaskResult) -> bool:
        """Whether the task waits and tries again: the API was at fault, not the task.

        It may do so for as long as the task itself may take.
        """
        policy, task, limits = POLICIES[kind], running.task, self._limits
        if not policy.requeue or self._closing:
            return False
        tries = self._retries[task.task_id] = self._retries.get(task.task_id, 0) + 1
        wait_s = min(limits.retry_wait_max_s, limits.retry_wait_min_s * 2.0 ** (tries - 1))
        if policy.uses_attempt and running.attempt >= limits.max_attempts:
            return False
        if tries * wait_s > task.timeout:
            return False
        why = f"{kind}: {result.error}; next try in {wait_s:g} s"
        self._book.requeue(task, why, after_s=wait_s, free=not policy.uses_attempt)
        return True

    def _answered(self, message: AgentMessage) -> None:
        """Take the answer to a request; called in the bus's thread.

        That there was none in time, or that the bus has gone, is told by other ways too.
        """
        if message.payload.get("kind") in (ErrorKind.TIMEOUT, ErrorKind.CLOSED):
            return
        with contextlib.suppress(pykka.ActorDeadError):
            self.actor_ref.tell(message)

    def _send(self, agent_id: str, payload: dict[str, Any]) -> None:
        try:
            self._protocol.send(agent_id, MessageType.COORDINATION, payload)
        except TransportError as error:
            _log.info("not delivered to %s: %s", agent_id, error)
