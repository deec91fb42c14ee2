"""The fleet behind the agents' tools, played in memory: agents are functions that answer."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict, deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitTimeout
from dataclasses import replace
from typing import TYPE_CHECKING

from understudy.actors.claude.backend import (
    AgentGone,
    AgentInfo,
    AskCycle,
    AskTimeout,
    MailboxIsFull,
    Received,
    TaskView,
    UnknownAgent,
    UnknownTask,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from understudy.actors.claude import Cancellation

    Answer = Callable[[str, str], str]


class _Agent:
    def __init__(self, answer: Answer, interrupt: Callable[[], object]) -> None:
        self.answer = answer
        self.interrupt = interrupt
        self.alive = True
        self.asks: set[Future[str]] = set()


class MemoryBackend:
    """Implements `ToolBackend`. `join` an agent with what it answers when it is asked."""

    MAILBOX = 100

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._agents: dict[str, _Agent] = {}
        self._mail: dict[str, deque[Received]] = defaultdict(deque)
        self._tasks: dict[str, TaskView] = {}
        self._waits: dict[str, set[str]] = defaultdict(set)
        self._ids = itertools.count(1)
        self.interrupted: list[str] = []

    def join(
        self, name: str, answer: Answer, interrupt: Callable[[], object] = lambda: None
    ) -> None:
        self._agents[name] = _Agent(answer, interrupt)

    def die(self, name: str) -> None:
        """End an agent: whoever waits for it is told at once."""
        agent = self._agents[name]
        agent.alive = False
        for ask in list(agent.asks):
            if not ask.done():
                ask.set_exception(AgentGone(name, "it ended while it was asked"))

    def finish(self, task_id: str, result: dict[str, object]) -> None:
        with self._changed:
            view = self._tasks[task_id]
            self._tasks[task_id] = replace(view, state="completed", result=result)
            self._changed.notify_all()

    # -- ToolBackend --------------------------------------------------------------------------

    def list_agents(self, caller: str) -> Sequence[AgentInfo]:
        return [
            AgentInfo(name, "worker", "idle" if agent.alive else "gone")
            for name, agent in self._agents.items()
            if name != caller
        ]

    def ask_agent(
        self,
        caller: str,
        to: str,
        question: str,
        files: Sequence[str],
        timeout_s: float,
        cancellation: Cancellation,
    ) -> str:
        del files
        agent = self._living(to)
        with self._changed:
            chain = self._chain(to, caller)
            if chain:
                raise AskCycle((caller, *chain))
            self._waits[caller].add(to)
        ask: Future[str] = Future()
        agent.asks.add(ask)

        def cancel() -> None:
            self.interrupted.append(to)
            agent.interrupt()
            if not ask.done():
                ask.set_exception(AgentGone(to, "the question was withdrawn"))

        def work() -> None:
            try:
                answer = agent.answer(caller, question)
            except Exception as error:  # noqa: BLE001 - told to the one who asked
                if not ask.done():
                    ask.set_exception(AgentGone(to, str(error)))
            else:
                if not ask.done():
                    ask.set_result(answer)

        cancellation.on_cancel(cancel)
        worker = threading.Thread(target=work, name="understudy-fake-ask", daemon=True)
        worker.start()
        try:
            return ask.result(timeout_s)
        except WaitTimeout:
            agent.interrupt()
            raise AskTimeout(to, timeout_s) from None
        finally:
            agent.asks.discard(ask)
            with self._changed:
                self._waits[caller].discard(to)

    def send_message(self, caller: str, to: str, text: str) -> str:
        self._living(to)
        with self._changed:
            if len(self._mail[to]) >= self.MAILBOX:
                raise MailboxIsFull(to)
            message = Received(f"m{next(self._ids)}", caller, text, time.time())
            self._mail[to].append(message)
            self._changed.notify_all()
        return message.message_id

    def read_messages(
        self, caller: str, limit: int, wait_s: float, cancellation: Cancellation
    ) -> Sequence[Received]:
        mail = self._mail[caller]
        cancellation.on_cancel(self._wake)
        with self._changed:
            self._changed.wait_for(lambda: mail or cancellation.requested, wait_s)
            return [mail.popleft() for _ in range(min(limit, len(mail)))]

    def delegate_task(
        self,
        caller: str,
        task_type: str,
        description: str,
        files: Sequence[str],
        to: str | None,
    ) -> str:
        del caller, task_type, description, files
        task_id = f"t{next(self._ids)}"
        self._tasks[task_id] = TaskView(task_id, "submitted", to)
        return task_id

    def get_task(self, caller: str, task_id: str) -> TaskView:
        del caller
        if task_id not in self._tasks:
            raise UnknownTask(task_id)
        return self._tasks[task_id]

    def wait_task(
        self, caller: str, task_id: str, timeout_s: float, cancellation: Cancellation
    ) -> TaskView:
        self.get_task(caller, task_id)
        cancellation.on_cancel(self._wake)

        def is_over() -> bool:
            return self._tasks[task_id].state == "completed" or cancellation.requested

        with self._changed:
            self._changed.wait_for(is_over, timeout_s)
        return self._tasks[task_id]

    # -- inside -------------------------------------------------------------------------------

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _living(self, name: str) -> _Agent:
        if name not in self._agents:
            raise UnknownAgent(name)
        if not self._agents[name].alive:
            raise AgentGone(name)
        return self._agents[name]

    def _chain(self, start: str, target: str) -> tuple[str, ...]:
        """How `start` waits for `target`, or nothing when it does not."""
        todo: list[tuple[str, ...]] = [(start,)]
        seen: set[str] = set()
        while todo:
            path = todo.pop()
            if path[-1] == target:
                return path
            if path[-1] not in seen:
                seen.add(path[-1])
                todo += [(*path, other) for other in self._waits[path[-1]]]
        return ()
