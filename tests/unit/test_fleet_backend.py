"""An agent's end of its tools: requests over the bus, answers, withdrawals, a lost bus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from understudy.actors.claude import Cancellation
from understudy.actors.claude.backend import OutOfReach, Refused, TurnOver
from understudy.actors.team.backend import FleetBackend
from understudy.transport import (
    Agent2AgentProtocol,
    AgentMessage,
    ChannelClosed,
    MemoryChannel,
    MessageType,
)

SOON_S = 10.0
Answer = Callable[[AgentMessage], dict[str, Any] | None]


class Root:
    """The orchestrator's end of a bus in memory, which answers as a test says."""

    def __init__(self) -> None:
        self.bus = MemoryChannel(name="orchestrator")
        self.protocol = Agent2AgentProtocol("orchestrator", self.bus)
        self.agent = MemoryChannel(self.bus, name="agent_000")
        self.agent_protocol = Agent2AgentProtocol("agent_000", self.agent)
        self.work: tuple[str, int] | None = ("t1", 7)
        self.backend = FleetBackend(self.agent_protocol, lambda: self.work)
        self.asked: list[dict[str, Any]] = []
        self.withdrawn = threading.Event()
        self.answer: Answer = lambda _: {}
        self.protocol.register_handler(MessageType.TASK_REQUEST, self._on_request)
        self.protocol.register_handler(MessageType.STATUS_UPDATE, self._on_status)
        self._threads = [
            threading.Thread(target=self._pump, args=(end,), name="understudy-test-pump")
            for end in (self.protocol, self.agent_protocol)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self.agent.close()
        self.bus.close()
        for thread in self._threads:
            thread.join(SOON_S)

    def _on_request(self, message: AgentMessage) -> None:
        self.asked.append(message.payload)
        answer = self.answer(message)
        if answer is not None:
            self.protocol.send_task_response(message, answer)

    def _on_status(self, message: AgentMessage) -> None:
        if message.payload.get("kind") == "withdraw":
            self.withdrawn.set()

    @staticmethod
    def _pump(protocol: Agent2AgentProtocol) -> None:
        try:
            while True:
                protocol.process_messages(0.05)
        except ChannelClosed:
            return


@pytest.fixture
def root() -> Iterator[Root]:
    made = Root()
    yield made
    made.close()


def ask(root: Root, cancellation: Cancellation | None = None) -> str:
    cancellation = cancellation or Cancellation()
    return root.backend.ask_agent("agent_000", "bob", "why?", ["a.py"], 5, cancellation)


def test_a_call_names_its_task_its_run_and_its_arguments(root: Root) -> None:
    root.answer = lambda _: {"answer": "because"}
    assert ask(root) == "because"
    assert root.asked == [
        {
            "team": "ask_agent",
            "task_id": "t1",
            "number": 7,
            "to": "bob",
            "question": "why?",
            "files": ["a.py"],
            "timeout_s": 5,
        }
    ]


def test_a_refusal_is_told_in_the_fleets_words(root: Root) -> None:
    root.answer = lambda _: {"refused": "not you"}
    with pytest.raises(Refused, match="not you"):
        ask(root)


def test_a_cancelled_call_ends_at_once_and_is_withdrawn(root: Root) -> None:
    cancellation = Cancellation()
    root.answer = lambda _: cancellation.cancel()
    with pytest.raises(TurnOver):
        ask(root, cancellation)
    assert root.withdrawn.wait(SOON_S)


def test_between_two_turns_there_is_nothing_to_ask_for(root: Root) -> None:
    root.work = None
    with pytest.raises(TurnOver):
        ask(root)
    assert root.asked == []


def test_when_the_bus_goes_whoever_waits_is_told(root: Root) -> None:
    root.answer = lambda _: root.agent.close()
    with pytest.raises(OutOfReach, match="out of reach"):
        ask(root)
    with pytest.raises(OutOfReach):
        ask(root)


def test_a_task_is_shown_with_result_error_and_branch(root: Root) -> None:
    view = {"id": "t2", "state": "completed", "agent": "bob", "result": {"n": 1}, "error": None}
    root.answer = lambda _: {**view, "branch": "understudy/t2"}
    seen = root.backend.wait_task("agent_000", "t2", 5, Cancellation())
    assert (seen.state, seen.result, seen.branch) == ("completed", {"n": 1}, "understudy/t2")
    assert root.backend.get_task("agent_000", "t2") == seen


def test_messages_and_agents_come_as_they_are_told(root: Root) -> None:
    answers: dict[str, dict[str, Any]] = {
        "list_agents": {"agents": [{"name": "bob", "role": "any", "state": "idle"}]},
        "send_message": {"sent": "4"},
        "read_messages": {"messages": [{"id": "4", "from": "bob", "text": "x", "sent_at": 1.0}]},
        "delegate_task": {"id": "t9"},
    }
    root.answer = lambda m: answers[m.payload["team"]]
    backend = root.backend
    assert backend.list_agents("agent_000")[0].state == "idle"
    assert backend.send_message("agent_000", "bob", "x") == "4"
    assert backend.read_messages("agent_000", 9, 0, Cancellation())[0].sender == "bob"
    assert backend.delegate_task("agent_000", "generic", "do", [], None) == "t9"
