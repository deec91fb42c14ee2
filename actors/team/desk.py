"""The root's side of the tools by which agents reach each other.

What an agent asks of another, and what it delegates, are tasks like a user's: stored before they
are given, run at least once, with a lease, attempts and a result. An ask is a task, too, whose
answer goes back into the turn in which it was asked; it ends with that turn.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..claude.backend import (
    AgentGone,
    AskTimeout,
    BackendError,
    MailboxIsFull,
    TaskFailed,
    TaskRefused,
    TurnOver,
    UnknownAgent,
    UnknownTask,
)
from ..dispatch import OVERTIME_S
from ..errors import FleetStopped
from ..failure import FailureKind
from ..tasks.queue import QueueFull
from ..tasks.validate import nearest_of
from .families import Families
from .giving import Giver
from .waiting import Call, OpenCalls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from understudy.transport import AgentMessage

    from ..orders import Orders
    from ..roster import AgentRecord, Roster
    from ..running import Running
    from ..task_book import TaskBook
    from ..tasks.inbox import StoredMessage
    from ..tasks.task import Task, TaskResult
    from .giving import TeamLimits
    from .roles import Roles

    # None: the answer comes later.
    _Tool = Callable[[AgentMessage, Running], dict[str, Any] | None]

_log = logging.getLogger(__name__)

_SHOWN_CHARS = 200
_GOOD = ("success", "partial")
# As an agent's own tools see it; what is not named is as it is.
_STATES = {
    "ready": "idle", "tidying": "busy", "warming": "starting", "stopping": "starting",
    "down": "starting", "failed": "gone", "parking": "idle", "parked": "idle",
}  # fmt: skip


@dataclass(frozen=True)
class TeamDoor:
    """What the desk may have the root do.

    Attributes:
        check_open: raises `FleetStopped` when the fleet takes no more tasks.
        cancel: ends a task; False when it is over.
        wake: has an agent that is parked start its container.
    """

    check_open: Callable[[], None]
    cancel: Callable[[str], bool]
    wake: Callable[[str], bool]


class TeamDesk:
    """Used by the root actor alone, in its thread; the book tells it of each task's end."""

    def __init__(
        self,
        book: TaskBook,
        roster: Roster,
        roles: Roles,
        orders: Orders,
        root: TeamDoor,
        limits: TeamLimits,
        clock: Callable[[], float],
    ) -> None:
        self._book = book
        self._roster = roster
        self._roles = roles
        self._orders = orders
        self._limits = limits
        self._root = root
        self._clock = clock
        self._calls = OpenCalls(book, roster, roles, clock)
        self._families = Families()
        self._giver = Giver(roles, [agent.agent_id for agent in roster.all()], limits)
        book.on_end = self.ended
        self._tools: dict[str, _Tool] = {
            "list_agents": self._list,
            "ask_agent": self._ask,
            "send_message": self._send,
            "read_messages": self._read,
            "delegate_task": self._delegate,
            "get_task": self._get,
            "wait_task": self._wait,
        }

    # -- what agents ask ----------------------------------------------------------------------

    def take(self, request: AgentMessage) -> None:
        """Answer a tool call of an agent, now or when what it waits for has happened.

        Raises:
            StoreError: it cannot be recorded.
        """
        try:
            answer = self._do(request)
        except BackendError as error:
            answer = {"refused": str(error)}
        except (KeyError, TypeError, ValueError) as error:
            _log.warning("not a call of an agent: %r", request.payload, exc_info=True)
            answer = {"refused": f"the call is not understood: {error!r}"}
        if answer is not None:
            self._orders.answer(request, answer)

    def withdraw(self, call_id: str) -> None:
        """Nobody wants the answer to that call any more."""
        if call := self._calls.take(call_id):
            self._drop(call)

    def _do(self, request: AgentMessage) -> dict[str, Any] | None:
        agent_id, asked = request.sender_id, request.payload
        running = self._book.running.get(str(asked.get("task_id")))
        if running is None or running.agent_id != agent_id or running.number != asked["number"]:
            raise TurnOver
        tool = self._tools.get(str(asked["team"]))
        if tool is None:
            raise TaskRefused(f"there is no tool {asked['team']!r}")
        return tool(request, running)

    def _list(self, _request: AgentMessage, running: Running) -> dict[str, Any]:
        others = (a for a in self._roster.all() if a.agent_id != running.agent_id)
        return {"agents": [self._shown(agent) for agent in others]}

    def _get(self, request: AgentMessage, running: Running) -> dict[str, Any]:
        return self._view(self._own(running.task, request.payload["id"]))

    def _ask(self, request: AgentMessage, running: Running) -> dict[str, Any] | None:
        asked, giver = request.payload, running.agent_id
        left_s = running.left_s(self._clock()) - OVERTIME_S
        child = self._giver.question(running.task, giver, asked, left_s)
        if child.agent is not None:
            self._check_there(self._roster[child.agent])
        if why := self._calls.why_never(giver, child):
            raise why
        self._give(child, running, f"asks {asked['to']}: {child.description}")
        self._keep(request, running, "ask_agent", float(asked["timeout_s"]), child=child)
        return None

    def _delegate(self, request: AgentMessage, running: Running) -> dict[str, Any]:
        child = self._giver.delegated(running.task, running.agent_id, request.payload)
        to = request.payload.get("to") or "whoever is free"
        self._give(child, running, f"delegates to {to}: {child.description}")
        return {"id": child.task_id}

    def _wait(self, request: AgentMessage, running: Running) -> dict[str, Any] | None:
        asked = request.payload
        child = self._own(running.task, asked["id"])
        view = self._view(child)
        if view["error"] is not None or view["result"] is not None:
            return view
        if why := self._calls.why_never(running.agent_id, child):
            raise why
        self._keep(request, running, "wait_task", float(asked["timeout_s"]), child=child)
        return None

    def _send(self, request: AgentMessage, running: Running) -> dict[str, Any]:
        asked, sender = request.payload, running.agent_id
        to, text = str(asked["to"]), str(asked["text"])
        names = [agent.agent_id for agent in self._roster.all()]
        if to not in self._roster:
            raise UnknownAgent(to, nearest_of(to, names))
        if self._roster[to].state == "failed":
            raise AgentGone(to, "it has ended for good")
        seq = self._book.leave_message(
            to, sender, running.task.task_id, text, at_most=self._limits.inbox_size
        )
        if seq is None:
            raise MailboxIsFull(to)
        self._say(running, f"writes to {to}: {text}")
        # It reads in its next turn, which is not far when others write to it.
        self._root.wake(to)
        for call in self._calls:
            if call.what != "read_messages" or call.agent_id != to:
                continue
            if not self._calls.is_over(call):
                self._hand_over(call)
                break
        return {"sent": str(seq)}

    def _read(self, request: AgentMessage, running: Running) -> dict[str, Any] | None:
        asked = request.payload
        found = self._book.take_messages(running.agent_id, int(asked["limit"]))
        if found or not asked["wait_s"]:
            return _messages(found)
        wait_s, limit = float(asked["wait_s"]), int(asked["limit"])
        self._keep(request, running, "read_messages", wait_s, limit=limit)
        return None

    # -- what happens -------------------------------------------------------------------------

    def ended(self, result: TaskResult) -> None:
        """A task is finished: whoever waits for it is told, and what it gave away may end too."""
        for call in self._calls.of_child(result.task_id):
            self._calls.take(call.call_id)
            self._answer(call, result)
        children = self._families.children(result.task_id)
        self._families.ended(result.task_id)
        if result.status not in _GOOD:
            for child_id in children:
                self._root.cancel(child_id)

    def settle(self) -> None:
        """Drop the calls of runs that are over; what they asked is not wanted any more."""
        for call in self._calls:
            if self._calls.is_over(call):
                self._calls.take(call.call_id)
                self._drop(call)

    def tick(self) -> None:
        """End the waits whose time is up, and those that nobody can end any more."""
        for call in self._calls:
            if call.ends_at <= self._clock():
                self._calls.take(call.call_id)
                self._time_up(call)
            elif call.child is not None:
                self._check_hope(call, call.child)

    def recover(self, tasks: Iterable[Task]) -> None:
        """Know again what an earlier service's agents gave to each other.

        Those who asked were cut off in their turns, and ask again; what they delegated goes on.
        """
        tasks = list(tasks)
        for task in tasks:
            if above := self._book.ancestors(task):
                self._families.add(task, above)
                giver = self._book.row(above[0].task_id)
                if giver is not None and giver.state.is_final:
                    self._families.ended(giver.task_id)
        self._count_given(tasks)
        for task in tasks:
            if task.is_ask:
                self._book.take_waiting(task.task_id)
                why = "the agent that asked was cut off with the service"
                self._book.fail(task, FailureKind.CANCELED, why)

    def _count_given(self, tasks: list[Task]) -> None:
        """What was given away before, and is finished, counts for `max_tasks` as well."""
        heads = {task.task_id: [task, *self._book.ancestors(task)][-1].task_id for task in tasks}
        given = self._book.given_below(set(heads.values()))
        for task in tasks:
            if given[heads[task.task_id]]:
                self._families.remember(task, heads[task.task_id], given[heads[task.task_id]])

    def count_standing_still(self) -> int:
        """How many agents wait for another's task, and use no worker meanwhile."""
        return len(self._calls.standing_still)

    def waits(self) -> list[dict[str, Any]]:
        """See `OpenCalls.edges`."""
        return self._calls.edges()

    # -- inside -------------------------------------------------------------------------------

    def _give(self, child: Task, running: Running, text: str) -> None:
        above = self._book.ancestors(child)
        self._giver.check_room(len(above), self._families.given(above[-1].task_id))
        try:
            self._root.check_open()
            self._book.accept([child], [])
        except (FleetStopped, QueueFull) as error:
            raise TaskRefused(str(error)) from None
        self._families.add(child, above)
        self._say(running, f"{text} ({child.task_id[:8]})")

    def _keep(
        self,
        request: AgentMessage,
        running: Running,
        what: Any,  # noqa: ANN401 - see `Call`
        wait_s: float,
        *,
        child: Task | None = None,
        limit: int = 0,
    ) -> None:
        now, task_id = self._clock(), running.task.task_id
        ends_at = now + wait_s
        call = Call(
            request, running.agent_id, task_id, running.number, what, now, ends_at, child, limit
        )
        self._calls.add(call)

    def _answer(self, call: Call, result: TaskResult) -> None:
        assert call.child is not None
        if call.what == "wait_task":
            answer = self._view(call.child)
        elif result.status in _GOOD:
            answer = {"answer": str(result.result.get("output", ""))}
        else:
            who = result.agent_id if result.agent_id != "none" else str(call.request.payload["to"])
            answer = {"refused": str(TaskFailed(who, result.error or result.status))}
        self._orders.answer(call.request, answer)

    def _drop(self, call: Call) -> None:
        if call.what == "ask_agent" and call.child is not None:
            self._root.cancel(call.child.task_id)

    def _time_up(self, call: Call) -> None:
        asked = call.request.payload
        if call.what == "ask_agent":
            late = AskTimeout(str(asked["to"]), float(asked["timeout_s"]))
            self._orders.answer(call.request, {"refused": str(late)})
            self._drop(call)
        elif call.child is not None:
            self._orders.answer(call.request, self._view(call.child))
        else:
            self._hand_over(call)

    def _check_hope(self, call: Call, child: Task) -> None:
        """Agents may have gone since the call was made, or were suspended."""
        self._calls.take(call.call_id)
        why = self._calls.why_never(call.agent_id, child)
        if why is None:
            self._calls.add(call)
            return
        self._orders.answer(call.request, {"refused": str(why)})
        self._drop(call)

    def _hand_over(self, call: Call) -> None:
        self._calls.take(call.call_id)
        found = self._book.take_messages(call.agent_id, call.limit)
        self._orders.answer(call.request, _messages(found))

    def _own(self, parent: Task, task_id: str) -> Task:
        """A task that was delegated in that one.

        Raises:
            UnknownTask: there is none.
        """
        row = self._book.row(str(task_id))
        if row is None or row.task.parent != parent.task_id or row.task.is_ask:
            raise UnknownTask(str(task_id))
        return row.task

    def _view(self, task: Task) -> dict[str, Any]:
        row, result = self._book.row(task.task_id), self._book.result(task.task_id)
        assert row is not None, "it was stored before it was given"
        good = result is not None and result.status in _GOOD
        return {
            "id": task.task_id,
            "state": row.state.value,
            "agent": row.agent_id,
            "result": result.result if result and good else None,
            "error": result.error or result.status if result and not good else None,
            "branch": result.branch if result else None,
        }

    def _shown(self, agent: AgentRecord) -> dict[str, str]:
        state = _STATES.get(agent.state, agent.state)
        if agent.agent_id in self._calls.standing_still:
            state = "waiting"
        role = self._roles.of_agent(agent.agent_id) or "any"
        return {
            "name": agent.agent_id,
            "role": role,
            "state": "suspended" if agent.suspended else state,
        }

    def _check_there(self, agent: AgentRecord) -> None:
        if agent.state == "failed":
            raise AgentGone(agent.agent_id, "it has ended for good")
        if agent.suspended:
            raise AgentGone(agent.agent_id, "it is suspended and takes no work")

    def _say(self, running: Running, text: str) -> None:
        line = " ".join(text.split())
        cut = line if len(line) <= _SHOWN_CHARS else f"{line[:_SHOWN_CHARS]}…"
        self._book.publish(running.task.task_id, "progress", running.agent_id, cut)


def _messages(found: list[StoredMessage]) -> dict[str, Any]:
    return {
        "messages": [
            {"id": str(m.seq), "from": m.sender, "text": m.text, "sent_at": m.at} for m in found
        ]
    }
