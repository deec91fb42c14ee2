"""A rate limit and a storm before real agents: containers and CLIs are real, the model scripted."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

from understudy import Orchestrator, Task, TaskResult
from understudy.actors.gateway.ledger import LEDGER_NAME
from understudy.fakeapi import FakeApiThread

_LOOK = {"tool": "Read", "input": {"file_path": "/work/nothing"}}
_TURN = json.dumps([_LOOK, _LOOK, {"text": "done"}])
_REQUESTS = 3
_BURST = 0.05
_MINUTE_S = 60.0
_MODEL = "claude-sonnet-4-5"


def _fleet(url: str, folder: str, agents: int) -> Orchestrator:
    os.environ |= {"ANTHROPIC_API_KEY": "bench", "ANTHROPIC_BASE_URL": url}
    return Orchestrator(
        overrides={
            "orchestrator.num_agents": agents,
            "orchestrator.max_workers": agents,
            "storage.state_dir": folder,
            "agent.model": _MODEL,
            "agent.container_memory": "512m",
            # Agents that only read keep their containers from task to task.
            "roles.reader.tasks": ["generic"],
            "roles.reader.read_only": True,
        }
    )


def _run(scenarios: dict[str, Any], agents: int, tasks: int, seconds: float) -> dict[str, Any]:
    """Give the agents their tasks, and look at what was answered until the time is over."""
    with (
        mock.patch.dict(os.environ),
        tempfile.TemporaryDirectory(prefix="us-bench-", dir="/tmp") as folder,
        FakeApiThread(scenarios) as api,
        _fleet(api.url, folder, agents) as fleet,
    ):
        begun = time.time()
        work = [Task(description=f"@@ {_TURN} @@", timeout=60.0) for _ in range(tasks)]
        handles = [fleet.submit(task) for task in work]
        for handle in handles[: tasks if not seconds else 0]:
            handle.wait(timeout_s=600.0)
        time.sleep(seconds)
        ended = time.time()
        results = [handle.wait(timeout_s=1.0) for handle in handles if handle.done()]
        asked = _answered_between(Path(folder) / LEDGER_NAME, begun, ended)
        restarts = sum(agent["restarts"] for agent in fleet.get_agent_status().values())
        return _said(results, asked, restarts) | {"seconds": round(ended - begun, 1)}


def _answered_between(ledger: Path, begun: float, ended: float) -> Counter[int]:
    """The API's answers in that time, by status: the model itself keeps the newest 1000 only."""
    sql = "SELECT status FROM asks WHERE state = 'done' AND asked_at + seconds BETWEEN ? AND ?"
    with contextlib.closing(sqlite3.connect(ledger)) as db:
        return Counter(status for (status,) in db.execute(sql, (begun, ended)))


def _said(done: list[TaskResult], asked: Counter[int], restarts: int) -> dict[str, Any]:
    return {
        "tasks_done": len(done),
        "tasks_failed": sum(result.status != "success" for result in done),
        "attempts_most": max((result.attempts for result in done), default=0),
        "restarts": restarts,
        "answered": asked[200],
        "refused_by_api": asked.total() - asked[200],
    }


def agents_at_a_limit(agents: int, per_minute: float, seconds: float) -> dict[str, Any]:
    """The share of a limit that real agents make use of."""
    tasks = int(per_minute * (_BURST + seconds / _MINUTE_S) / _REQUESTS) + 2 * agents
    limits = {"requests_per_minute": per_minute, "burst": _BURST}
    found = _run({"limits": limits}, agents, tasks, seconds)
    possible = per_minute * (_BURST + found["seconds"] / _MINUTE_S)
    share = round(found["answered"] / possible, 3)
    return {"what": "agents at a limit", "agents": agents, "per_minute": per_minute, **found,
            "possible": round(possible, 1), "share": share}  # fmt: skip


def agents_in_a_storm(agents: int, seconds: float) -> dict[str, Any]:
    """Tasks given to agents while the API answers 529 and nothing else."""
    storm = {"status": 529, "seconds": seconds}
    return {"what": "agents in a storm", "agents": agents, "storm_s": seconds,
            **_run({"storm": storm}, agents, 2 * agents, 0.0)}  # fmt: skip
