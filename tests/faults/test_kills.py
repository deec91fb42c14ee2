"""Each kind of kill once; `make kills` does a hundred."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from faults import victims
from faults.kills import KINDS, kills
from faults.service import wait_for
from faults.step_model import StepModel, order, said_at_the_end
from faults.twins import Twins, conversation_of

from understudy.fakeapi.conversation import Conversation

CUT_OFF = {"role": "user", "content": "You were cut off in the middle of this task"}
TASK = {"role": "user", "content": f"Please:\n{order('t', 2)}\nThank you."}


@pytest.mark.podman
@pytest.mark.timeout(180)  # half a minute on a machine of its own
def test_kills_lose_no_step_do_none_twice_and_leave_nothing(image: str) -> None:
    del image
    figures, findings = kills(len(KINDS), 1, os.environ)
    assert not findings, (figures, findings)
    assert figures["kills"] == dict.fromkeys(KINDS, 1)
    assert figures["ended"] == {"success": figures["tasks"]}


def called(command: str, result: str | None) -> list[dict[str, Any]]:
    """A call with what came of it; None while nothing did."""
    call = {"type": "tool_use", "id": command, "name": "Bash", "input": {"command": command}}
    came = {"type": "tool_result", "tool_use_id": command, "content": result}
    answered = [{"role": "user", "content": [came]}] if result is not None else []
    return [{"role": "assistant", "content": [call]}, *answered]


def test_the_model_does_what_has_no_result_and_looks_first_only_after_a_cut() -> None:
    model = StepModel()

    def next_of(*messages: dict[str, Any]) -> str | None:
        choice = model(Conversation({"messages": [TASK, *messages]}))
        assert choice is not None
        return choice.step.text or choice.step.input["command"]

    first = next_of()
    assert first is not None
    assert first.startswith("echo 1 >> steps;")
    second = next_of(*called(first, "did 1"))
    assert second is not None
    assert second.startswith("echo 2 >> steps;")
    again = next_of(*called(first, "did 1"), *called(second, None), CUT_OFF)
    assert again is not None
    assert again.startswith("grep -sqx 2 steps || echo 2 >> steps;")
    end = next_of(*called(first, "did 1"), CUT_OFF, *called(again, "did 2"))
    assert end == said_at_the_end("t", 2)
    assert not model.went_back
    next_of(CUT_OFF)
    assert model.went_back == {2: 1}
    assert model(Conversation({"messages": [CUT_OFF]})) is None


def test_two_clis_on_one_conversation_are_seen(tmp_path: Path) -> None:
    def cli(name: str) -> subprocess.Popen[bytes]:
        words = ["claude", "-c", "import time; time.sleep(60)", name]
        return subprocess.Popen(words, executable=sys.executable, env={"HOME": str(tmp_path)})

    older, processes = victims.all_processes(), list[subprocess.Popen[bytes]]()
    try:
        with Twins(tmp_path, older) as twins:
            processes += [cli("--session-id=a"), cli("--resume=b")]
            wait_for(lambda: all(conversation_of(one.pid) for one in processes), 10.0, "CLIs")
            looks = twins.looks
            wait_for(lambda: twins.looks > looks + 1, 10.0, "a whole look")
            assert not twins.seen
            processes.append(cli("--resume=a"))
            wait_for(lambda: twins.seen, 10.0, "two are seen")
        assert list(twins.seen) == [(processes[0].pid, processes[2].pid)]
    finally:
        for process in processes:
            process.kill()
            process.wait()
