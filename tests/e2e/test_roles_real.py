"""Roles with real agents: who does which task, with which tools and limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy import Orchestrator, Task
from understudy.fakeapi import FakeApiThread

pytestmark = pytest.mark.podman

ROLES = """\
orchestrator: {num_agents: 1}
agent: {model: claude-sonnet-4-5}
roles:
  careful:
    tasks: [analysis]
    count: 1
    model: claude-haiku-4-5
    system_prompt: "CAREFUL-MARK"
    budget: {turns: 1}
  guarded:
    deny: ["Bash(touch *)"]
"""
TOUCH = '@@ [{"tool":"Bash","input":{"command":"touch /work/made"}},{"text":"{{tool_result}}"}] @@'


def test_tasks_go_to_their_role_with_its_model_budget_and_denials(
    home: Path, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del home, image
    file = tmp_path / "fleet.yaml"
    file.write_text(ROLES)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key")
    with FakeApiThread() as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
        with Orchestrator(file) as fleet:
            status = fleet.get_agent_status()
            assert {name: agent["role"] for name, agent in status.items()} == {
                "agent_000": None,
                "agent_001": "careful",
            }
            read = '@@ [{"tool":"Glob","input":{"pattern":"*"}},{"text":"never"}] @@'
            careful = fleet.submit(Task(task_type="analysis", description=read, timeout=60))
            plain = fleet.submit(Task(description=TOUCH, timeout=60))
            assert plain.wait(60).agent_id == "agent_000"
            over = careful.wait(60)
            assert (over.agent_id, over.failure_kind) == ("agent_001", "budget")
            assert {entry["model"] for entry in api.requests if "model" in entry} == {
                "claude-sonnet-4-5",
                "claude-haiku-4-5",
            }
            guarded = fleet.execute_task(Task(description=TOUCH, role="guarded", timeout=60))
            assert "denied" in guarded.result["output"]
            assert guarded.result["diff"] == ""
            assert "made" in plain.wait(1).result["diff"]
