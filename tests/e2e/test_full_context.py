"""A conversation that has become too long for the model is summed up, or begun anew."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from understudy import Orchestrator, Task, TaskResult
from understudy.actors.paths import cache_dir, state_dir
from understudy.actors.podman import ensure_image
from understudy.actors.releases import DEFAULT_CLI_VERSION, OLDEST_CLI_VERSION
from understudy.actors.tasks.store import TaskStore
from understudy.fakeapi import FakeApiThread

pytestmark = [pytest.mark.podman, pytest.mark.usefixtures("home")]

FULL = {
    "error": 400,
    "type": "invalid_request_error",
    "message": "prompt is too long: 250000 tokens > 200000 maximum",
}
SUMMARY = {"text": "<analysis>so</analysis>\n<summary>I wrote the file.</summary>"}
WORK = {"tool": "Bash", "input": {"command": "echo before >> made"}}


@pytest.fixture(params=[DEFAULT_CLI_VERSION, OLDEST_CLI_VERSION])
def release(request: pytest.FixtureRequest) -> str:
    """The pinned release sums up unasked, the oldest when it is told to."""
    return ensure_image(str(request.param), cache_dir(os.environ), env=os.environ).tag


def model(summary: dict[str, Any], anew: dict[str, Any]) -> dict[str, Any]:
    """The newest text of the user decides: it is ours, or the CLI's own."""
    return {
        "rules": [
            {"match": "create a detailed summary", "steps": [summary]},
            {"match": "grew too long", "steps": [anew]},
            {"match": "was summed up|session is being continued", "steps": [{"text": "went on"}]},
            {"match": "MAKE IT", "steps": [WORK, FULL]},
        ]
    }


def run(
    monkeypatch: pytest.MonkeyPatch, image: str, scenarios: dict[str, Any]
) -> tuple[TaskResult, list[str]]:
    """The result, and the messages of each request."""
    with FakeApiThread(scenarios, bodies=True) as api:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
        overrides = {"orchestrator.num_agents": 1, "agent.image": image}
        with Orchestrator(overrides=overrides) as fleet:
            result = fleet.execute_task(Task(description="MAKE IT", timeout=60))
        bodies = [request["body"] for request in api.requests if request.get("body")]
    return result, [json.dumps(body["messages"]) for body in bodies if body.get("messages")]


def test_the_task_goes_on_after_the_summary(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    result, asked = run(monkeypatch, release, model(SUMMARY, FULL))
    assert (result.status, result.attempts) == ("success", 1), result.error
    assert result.result["output"] == "went on"
    assert result.result["diff"].count("+before") == 1
    assert "I wrote the file." in asked[-1]


def test_without_a_summary_a_new_conversation_is_told_what_is_known(
    monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    result, asked = run(monkeypatch, release, model(FULL, {"text": "anew"}))
    assert (result.status, result.attempts) == ("success", 1), result.error
    assert result.result["output"] == "anew"
    assert result.result["diff"].count("+before") == 1
    # Whoever takes it up would go on there.
    with TaskStore(state_dir(os.environ) / "tasks.db") as store:
        conversation = store.conversation_of(result.task_id)
    assert conversation is not None
    assert conversation.session_id == result.context_id
    for known in ("MAKE IT", "Files changed so far", "- made", "Bash echo before"):
        assert known in asked[-1]


@pytest.mark.parametrize("release", [OLDEST_CLI_VERSION], indirect=True)
def test_when_neither_helps_the_task_fails_as_what_it_is(
    monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    result, asked = run(monkeypatch, release, model(FULL, FULL))
    assert (result.status, result.failure_kind) == ("failed", "context_full")
    assert result.result["files_changed"] == ["made"]
    assert len(asked) < 20
