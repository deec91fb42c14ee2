"""Real agents before an API that refuses: they wait, and nothing is counted against anybody."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy import Orchestrator, Task
from understudy.actors.gateway.ledger import Ledger
from understudy.fakeapi import FakeApiThread

pytestmark = pytest.mark.podman

COMMAND = '{"tool":"Bash","input":{"command":"true"}}'
# Three requests: two commands and the last word. And one more than that.
TURN = f'@@ [{COMMAND},{COMMAND},{{"text":"done"}}] @@'
LONG_TURN = f'@@ [{COMMAND},{COMMAND},{COMMAND},{{"text":"done"}}] @@'
# Two at once, then two every three seconds.
PATIENT = {"gateway.api_retries": 0, "gateway.api_timeout": 1.0}
LIMITS = {"requests_per_minute": 40, "burst": 0.05}


@pytest.fixture
def settings(
    home: Path, image: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, Any]]:
    del image

    def of(url: str) -> dict[str, Any]:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "key")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        return {
            "orchestrator.num_agents": 2,
            "storage.state_dir": str(home / "kept"),
            "agent.model": "claude-sonnet-4-5",
        }

    return of


def test_at_the_apis_limit_tasks_wait_and_over_their_budget_they_end(
    settings: Callable[[str], dict[str, Any]], home: Path, until: Callable[..., Any]
) -> None:
    with (
        FakeApiThread({"limits": LIMITS}) as api,
        Orchestrator(overrides=settings(api.url) | {"budget.task_turns": 3}) as fleet,
    ):
        turns = [TURN, LONG_TURN, TURN]
        handles = [fleet.submit(Task(description=turn, timeout=90)) for turn in turns]
        agents = fleet.get_agent_status
        until(lambda: "rate_limit" in {agent["waits_for"] for agent in agents().values()})
        results = [handle.wait(timeout_s=90) for handle in handles]
        assert [each.failure_kind for each in results] == [None, "budget", None]
        assert "has used 3 turns of 3 turns (budget.task_turns)" in str(results[1].error)
        assert [each.attempts for each in results] == [1, 1, 1]
        assert [agent["restarts"] for agent in agents().values()] == [0, 0]
        seen = [entry["ev"] for entry in api.requests]
    assert seen.count("refused") <= 2
    ledger = Ledger(home / "kept" / "ledger.db")
    spent = [ledger.of_task(handle.task_id) for handle in handles]
    ledger.close()
    assert sum(each.asks for each in spent) == seen.count("request")
    assert all(each.turns == 3 and each.dollars > 0 for each in spent)


def begin_storm(
    api: FakeApiThread, storm: dict[str, Any], fleet: Orchestrator, until: Callable[..., Any]
) -> None:
    """Have the API refuse from now on, when the agents are there: its time runs at once."""
    until(lambda: {agent["state"] for agent in fleet.get_agent_status().values()} == {"ready"})
    body = json.dumps({"storm": storm}).encode()
    request = urllib.request.Request(f"{api.url}/_fake/scenarios", body)  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
        assert answer.status == 200


def test_the_queue_waits_for_as_long_as_the_api_asks(
    settings: Callable[[str], dict[str, Any]], until: Callable[..., Any]
) -> None:
    storm = {"status": 429, "seconds": 19, "retry_after": 20}
    short = {"gateway.api_retries": 0, "gateway.max_wait": 1.0, "supervision.backoff_max": 2.0}
    with (
        FakeApiThread() as api,
        Orchestrator(overrides=settings(api.url) | short) as fleet,
    ):
        begin_storm(api, storm, fleet, until)
        # No task may work for as long as the API wants nobody to ask.
        handles = [fleet.submit(Task(description=TURN, timeout=15)) for _ in range(3)]
        until(lambda: fleet.status()["blocked_by"] == "rate_limit")
        results = [handle.wait(timeout_s=90) for handle in handles]
        assert [(each.status, each.attempts) for each in results] == [("success", 1)] * 3
        # Those that were on their way at one moment, and nobody later.
        assert [entry["ev"] for entry in api.requests].count("refused") in (1, 2)


def test_a_storm_is_waited_out_in_the_middle_of_a_turn(
    settings: Callable[[str], dict[str, Any]], until: Callable[..., Any]
) -> None:
    storm = {"status": 529, "seconds": 25}
    with (
        FakeApiThread() as api,
        # The CLI may not try again, and is told after a third of a second to be patient.
        Orchestrator(overrides=settings(api.url) | PATIENT) as fleet,
    ):
        begin_storm(api, storm, fleet, until)
        # Longer than the task may work: what it waits is none of its time.
        result = fleet.submit(Task(description=TURN, timeout=15)).wait(timeout_s=90)
        assert (result.status, result.attempts, result.error) == ("success", 1, None)
        assert result.execution_time > 15
        assert {a["restarts"] for a in fleet.get_agent_status().values()} == {0}
