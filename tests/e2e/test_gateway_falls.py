"""The gateway of a real fleet is killed: no task is run on another one's account."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from understudy import Orchestrator, Task
from understudy.fakeapi import FakeApiThread

pytestmark = pytest.mark.podman


def test_a_task_that_comes_while_the_gateway_is_down_has_its_own_account(
    home: Path, image: str, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    del image
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key")
    settings = {
        "orchestrator.num_agents": 1,
        "storage.state_dir": str(home / "kept"),
        "agent.model": "claude-sonnet-4-5",
        "budget.task_turns": 1,
    }
    with FakeApiThread() as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
        with Orchestrator(overrides=settings) as fleet:
            say = '@@ [{"text":"done"}] @@'
            first = fleet.submit(Task(description=say))
            assert first.wait(timeout_s=90).error is None
            until(lambda: fleet.get_agent_status()["agent_000"]["state"] == "ready")
            os.kill(fleet.status()["services"]["gateway"]["pid"], signal.SIGKILL)
            second = fleet.submit(Task(description=say))
            # Its one answer is its own, and not the second of the task before.
            result = second.wait(timeout_s=90)
            assert (result.error, result.attempts) == (None, 1)
    with closing(sqlite3.connect(home / "kept" / "ledger.db")) as ledger:
        rows = ledger.execute("select task_id from asks order by asked_at").fetchall()
    assert [task_id for (task_id,) in rows] == [first.task_id, second.task_id]
