"""A few conversations with a CLI, played with the real one to record it, and with the record.

A record is a file of lines, each with who wrote it. Ids and times are the CLI's own; long texts
and lists are cut.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import pytest
from fakes.memory_backend import MemoryBackend
from fakes.played_cli import PlayedCli
from fakes.real_cli import scripted

from understudy.actors.claude import ClaudeClient, PermissionRequest, TurnStalled
from understudy.actors.claude.argv import CliRole
from understudy.actors.claude.tools import agent_tools
from understudy.actors.failure import classify_result

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path(__file__).resolve().parents[1] / "data" / "transcripts"
TURN_S = 60.0
_KEPT_CHARS = 200
_KEPT_ITEMS = 3
_ECHO = {"tool": "Bash", "input": {"command": "touch /work/made && echo hello"}}
_GOT = {"text": "got {{tool_result}}"}


class Conversations:
    """What is said, and what is expected to come of it. Used with `options` for the client."""

    def __init__(self) -> None:
        self._fleet = MemoryBackend()
        self._fleet.join("bob", lambda caller, question: f"{caller} asked: {question}")
        self._server = agent_tools("alice", self._fleet)
        self.events: list[dict[str, Any]] = []
        self.asked: list[PermissionRequest] = []
        self.role = CliRole(
            ("Bash",),
            model="claude-sonnet-4-5",
            asks_permission=True,
            servers=((self._server.name, self._server.tool_names),),
        )
        self.options: dict[str, Any] = {
            "servers": [self._server],
            "on_permission": self._decide,
            "on_event": self.events.append,
        }

    def _decide(self, request: PermissionRequest) -> None:
        self.asked.append(request)
        if len(self.asked) == 1:
            request.allow()
        else:
            request.deny("once is enough")

    def play(self, client: ClaudeClient) -> None:
        """Hold them all, one after the other."""
        assert "commands" in client.initialize(TURN_S)
        self._turns(client)
        self._faults(client)
        client.set_model("claude-haiku-4-5")
        client.set_permission_mode("acceptEdits")
        assert client.mcp_status() == {"bus": "connected"}
        before = client.session_id
        assert client.clear() != before

    def _turns(self, client: ClaudeClient) -> None:
        allowed = self._turn(client, _ECHO, _GOT)
        assert allowed["result"] == "got hello"
        denied = self._turn(client, _ECHO, _GOT)
        assert "once is enough" in denied["result"]
        assert denied["permission_denials"][0]["tool_name"] == "Bash"
        assert [request.tool for request in self.asked] == ["Bash", "Bash"]
        ask = {"tool": "mcp__bus__ask_agent", "input": {"to": "bob", "question": "who?"}}
        asked = self._turn(client, ask, _GOT)
        assert "alice asked: who?" in asked["result"]
        assert client.session_id == asked["session_id"]

    def _faults(self, client: ClaudeClient) -> None:
        failed = self._turn(client, {"error": 429})
        words = [event.get("error") for event in self.events if event["type"] == "assistant"]
        kind = classify_result(failed, words[-1], needs_structured=False)
        assert kind == "rate_limited"
        prompt = scripted({"hang": 60, "at": "mid", "text": "half"})
        with pytest.raises(TurnStalled) as caught:
            client.run_turn(prompt, timeout_s=TURN_S, stall_s=1.0)
        assert caught.value.settled

    @staticmethod
    def _turn(client: ClaudeClient, *steps: dict[str, Any]) -> dict[str, Any]:
        return client.run_turn(scripted(*steps), timeout_s=TURN_S)


class Tap:
    """Stands between a CLI's pipes and its client, and keeps each line with who wrote it."""

    def __init__(self, stdin: BinaryIO, stdout: BinaryIO) -> None:
        self.lines: list[dict[str, Any]] = []
        read_in, write_in = os.pipe()
        read_out, write_out = os.pipe()
        self.stdin, self.stdout = os.fdopen(write_in, "wb"), os.fdopen(read_out, "rb")
        pumps = (
            ("us", os.fdopen(read_in, "rb"), stdin),
            ("cli", stdout, os.fdopen(write_out, "wb")),
        )
        self._threads = [
            threading.Thread(target=self._pump, args=pump, name="understudy-tap", daemon=True)
            for pump in pumps
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        for thread in self._threads:
            thread.join(10)

    def _pump(self, who: str, source: BinaryIO, target: BinaryIO) -> None:
        with contextlib.suppress(OSError), source, target:  # the CLI is killed in the end
            for line in source:
                self.lines.append({"from": who, "line": json.loads(line)})
                target.write(line)
                target.flush()


class PlayedRecord(PlayedCli):
    """Plays the CLI's side of a record, and expects ours."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._lines = [json.loads(line) for line in path.read_text().splitlines()]
        self._thread = threading.Thread(target=self._play, name="understudy-record", daemon=True)
        self.wrong: list[str] = []

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._thread.join(10)
        self.die()

    def _play(self) -> None:
        for who, entries in itertools.groupby(self._lines, key=itemgetter("from")):
            if who == "cli":
                self.say(*(entry["line"] for entry in entries))
            elif not self._hear_all(sorted(shape("us", entry["line"]) for entry in entries)):
                self.end_output()
                return

    def _hear_all(self, expected: list[str]) -> bool:
        """Hear these lines in any order: several threads of ours may write."""
        heard: list[str] = []
        try:
            heard += [shape("us", self.hear()) for _ in expected]
        except AssertionError as error:
            self.wrong.append(f"{error}; expected {expected}")
            return False
        if sorted(heard) != expected:
            self.wrong.append(f"{heard} in place of {expected}")
        return True


def shape(who: str, line: dict[str, Any]) -> str:
    """Who says what kind of thing."""
    inner: dict[str, Any] = line.get("request") or line.get("response") or line
    message: dict[str, Any] = inner.get("message") or {}
    method = message.get("method") if who == "cli" else None
    words: list[object] = [who, line.get("type"), inner.get("subtype"), method]
    return " ".join(str(word) for word in words if word)


def scrubbed(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines with what is long cut."""
    return [cast("dict[str, Any]", _cut(line)) for line in lines]


def _cut(value: object) -> object:
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return {key: _cut(each) for key, each in items}
    if isinstance(value, list):
        return [_cut(each) for each in cast("list[object]", value)[:_KEPT_ITEMS]]
    if isinstance(value, str) and len(value) > _KEPT_CHARS:
        return value[:_KEPT_CHARS] + "…"
    return value
