"""What becomes of an actor's start when the process that asked for it dies meanwhile."""

# pyright: reportPrivateUsage=false
# ruff: noqa: ANN401 - fields of messages
from __future__ import annotations

from typing import Any, cast

import pytest

from understudy.supervision.desk import Desk
from understudy.supervision.events import ChildEvent, ExitReason
from understudy.supervision.member_base import INCARNATION_SHIFT


class NoProcesses:
    """Starts nothing, and says what it was to start."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def start(self, name: str, _args: object, _options: object) -> None:
        self.started.append(name)

    def has(self, name: str) -> bool:
        return name in self.started

    def stop(self, name: str) -> None:
        pass


class World:
    """A root's desk in this thread, and what it answers."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.processes = NoProcesses()
        self.desk = Desk(
            "root", lambda node, what: self.said.append((node, what)), print, {"folder": "/tmp/x"}
        )
        self.desk.processes = cast("Any", self.processes)
        self.begin("root", 1, "parent")
        self.happens("ready", "parent", 1, {"address": ["parent", "parent"]})

    def ask(self, node: str, incarnation: int, op: str, **fields: Any) -> dict[str, Any]:
        number = (incarnation << INCARNATION_SHIFT) + len(self.said)
        self.said.clear()
        self.desk._take(node, {"op": op, "id": number, **fields})
        return {k: v for _, what in self.said if what.get("id") == number for k, v in what.items()}

    def claim(self, node: str, incarnation: int, name: str, **fields: Any) -> dict[str, Any]:
        whose = {"parent": node, "class_name": "A", "process": True, **fields}
        return self.ask(node, incarnation, "claim", name=name, **whose)

    def spawn(self, node: str, incarnation: int, name: str) -> dict[str, Any]:
        options: dict[str, Any] = {"class": "m:A", "arguments": [], "restart": "permanent"}
        return self.ask(node, incarnation, "spawn", name=name, actor_id=name, **options)

    def begin(self, node: str, incarnation: int, name: str) -> None:
        assert "result" in self.claim(node, incarnation, name)
        assert self.spawn(node, incarnation, name) == {}

    def happens(self, kind: Any, name: str, incarnation: int, info: Any = None) -> None:
        reason = ExitReason("crash") if kind == "exited" else None
        self.desk._take_event(ChildEvent(name, kind, incarnation, reason=reason, info=info or {}))

    def names(self) -> list[str]:
        return list(self.ask("root", 1, "names")["result"]["names"])


@pytest.mark.parametrize("process", [True, False])
def test_the_claims_of_a_process_that_ends_are_over(process: bool) -> None:
    world = World()
    world.claim("parent", 1, "child", process=process)
    assert world.names() == ["parent", "child"]
    world.happens("exited", "parent", 1)
    assert world.names() == ["parent"]


def test_a_start_that_is_asked_for_by_a_dead_process_does_not_begin() -> None:
    world = World()
    world.claim("parent", 1, "child")
    world.happens("exited", "parent", 1)
    assert "given back" in world.spawn("parent", 1, "child")["error"]["args"][1]
    assert world.processes.started == ["parent"]
    assert world.names() == ["parent"]


def test_the_last_words_of_a_dead_incarnation_take_no_name() -> None:
    world = World()
    world.happens("exited", "parent", 1)
    assert "has ended" in world.claim("parent", 1, "child")["error"]["args"][1]
    # The next one starts children also before it is ready.
    assert "result" in world.claim("parent", 2, "child")
    world.happens("ready", "parent", 2, {"address": ["parent", "parent"]})
    assert "has ended" in world.claim("parent", 1, "late")["error"]["args"][1]
    assert world.names() == ["parent", "child"]


def test_a_start_that_has_begun_is_no_claim_any_more() -> None:
    world = World()
    world.begin("root", 1, "other")
    world.begin("parent", 1, "child")
    world.happens("ready", "child", 1, {"address": ["child", "child"]})
    assert world.names() == ["parent", "other", "child"]
    assert "given back" in world.spawn("parent", 1, "child")["error"]["args"][1]
    assert world.processes.started == ["parent", "other", "child"]
