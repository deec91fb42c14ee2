"""Calls that need somebody's yes: how an agent asks, and how the root keeps and answers them."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from ..tasks.task import TaskState
from .shown_call import SeveralCalls, call_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..claude import PermissionRequest
    from ..orders import Orders
    from ..task_book import TaskBook

# A longer input is one that nobody reads before saying yes.
_MAX_INPUT_CHARS = 1_000_000
_TOO_LONG = (
    "This call is too long for anybody to look at before it is allowed, so it is denied. Make it "
    "in smaller parts."
)


class AskedCalls:
    """The agent's side: the open requests of its CLI. Any thread.

    Args:
        tell: sends a payload to the root.
    """

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._open: dict[str, PermissionRequest] = {}

    def ask(self, request: PermissionRequest, task_id: str | None) -> None:
        """Hand the request on; without a task nobody could answer it."""
        if task_id is None:
            request.deny()
            return
        text = json.dumps(request.tool_input, ensure_ascii=False)
        if len(text) > _MAX_INPUT_CHARS:
            request.deny(_TOO_LONG)
            return
        with self._lock:
            self._open[request.request_id] = request
        self._tell(
            {
                "kind": "permission",
                "task_id": task_id,
                "request_id": request.request_id,
                "tool": request.tool,
                "input": text,
                "timeout_s": request.timeout_s,
            }
        )

    def answer(self, payload: dict[str, Any]) -> None:
        """Settle a request as the root says; one that is settled already stays so."""
        with self._lock:
            request = self._open.pop(str(payload.get("request_id")), None)
        if request is None:
            return
        if payload.get("allow"):
            request.allow()
        elif text := payload.get("text"):
            request.deny(str(text))
        else:
            request.deny()

    def forget(self) -> None:
        """The turn is over, and with it all that was asked."""
        with self._lock:
            self._open.clear()


class Approvals:
    """The root's side: what tasks wait for. Used by the root actor alone."""

    def __init__(self, book: TaskBook, orders: Orders, clock: Callable[[], float]) -> None:
        self._book = book
        self._orders = orders
        self._clock = clock
        # Each with the time at which it is denied.
        self._open: list[tuple[float, dict[str, Any]]] = []

    def note(self, agent_id: str, payload: dict[str, Any]) -> None:
        """An agent's CLI asks: its task waits for somebody's word."""
        task_id = str(payload["task_id"])
        running = self._book.running.get(task_id)
        if running is None or running.agent_id != agent_id:
            return
        now, timeout_s = self._clock(), float(payload["timeout_s"])
        running.pauses.begin(payload["request_id"], now, at_most_s=timeout_s)
        ends = now + timeout_s
        self._open.append((ends, {**payload, "agent_id": agent_id, "number": running.number}))
        text = f"input required: {call_text(payload)}"
        self._book.mark(task_id, TaskState.INPUT_REQUIRED, agent_id, text)

    def waiting(self) -> list[dict[str, Any]]:
        """The open requests, oldest first; those of ended runs and those out of time are gone."""
        self._drop_ended()
        return [_told(asked) for _, asked in self._open]

    def answer(
        self, task_id: str, *, allow: bool, text: str | None = None, call: str | None = None
    ) -> dict[str, Any] | None:
        """Answer the open request of a task, or the one whose `request_id` is `call`.

        Returns:
            What was answered, as in `waiting`; None when there is no such request.

        Raises:
            SeveralCalls: the task has more than one, and `call` does not say which.
        """
        self._drop_ended()
        meant = [
            entry
            for entry in self._open
            if entry[1]["task_id"] == task_id and call in (None, entry[1]["request_id"])
        ]
        if len(meant) > 1:
            calls = (f"{asked['request_id']}  {call_text(asked)}" for _, asked in meant)
            raise SeveralCalls(task_id, tuple(calls))
        for entry in meant:
            self._open.remove(entry)
            self._settle(entry[1], allow=allow, text=text)
            return _told(entry[1])
        return None

    def _settle(self, asked: dict[str, Any], *, allow: bool, text: str | None) -> None:
        payload = {"command": "permission", "request_id": asked["request_id"]}
        self._orders.tell_agent(asked["agent_id"], payload | {"allow": allow, "text": text})
        said = "approved" if allow else f"denied: {text}" if text else "denied"
        self._go_on(asked, f"{said}: {call_text(asked)}")

    def tick(self) -> None:
        """Let tasks go on whose requests were denied because nobody answered."""
        self._drop_ended()

    def _drop_ended(self) -> None:
        now, running = self._clock(), self._book.running
        for entry in list(self._open):
            ends, asked = entry
            run = running.get(asked["task_id"])
            if run is None or run.number != asked["number"]:
                self._open.remove(entry)
            elif ends <= now:
                self._open.remove(entry)
                self._go_on(asked, f"denied, nobody answered: {call_text(asked)}")

    def _go_on(self, asked: dict[str, Any], text: str) -> None:
        task_id = asked["task_id"]
        if running := self._book.running.get(task_id):
            running.pauses.end(asked["request_id"], self._clock())
        if not any(other["task_id"] == task_id for _, other in self._open):
            self._book.mark(task_id, TaskState.WORKING, asked["agent_id"], text)


def _told(asked: dict[str, Any]) -> dict[str, Any]:
    """What others are told of a request."""
    shown = ("task_id", "agent_id", "tool", "input", "request_id")
    return {key: asked[key] for key in shown}
