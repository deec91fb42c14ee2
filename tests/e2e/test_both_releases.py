"""The whole chain with the oldest supported release of Claude Code and with the pinned one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy import Orchestrator, Task
from understudy.actors.paths import cache_dir
from understudy.actors.podman import ensure_image
from understudy.actors.releases import DEFAULT_CLI_VERSION, OLDEST_CLI_VERSION

pytestmark = pytest.mark.podman

WORK = {
    "code_review": "shop/cart.py",
    "refactor": "shop/payments.py",
    "test_generation": "shop/stock.py",
    "analysis": "shop/users.py",
    "generic": "shop/report.py",
}


@pytest.fixture(scope="module", params=[OLDEST_CLI_VERSION, DEFAULT_CLI_VERSION])
def version(request: pytest.FixtureRequest) -> str:
    wanted: str = request.param
    ensure_image(wanted, cache_dir(os.environ), env=os.environ)
    return wanted


@pytest.fixture
def fleet(
    home: Path, repo: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Orchestrator]:
    del home
    monkeypatch.chdir(repo)
    settings = {
        "orchestrator.num_agents": 1,
        "agent.cli_version": version,
        "agent.warm_for": "code_review",
        "gateway.scripted_model": True,
    }
    with Orchestrator(overrides=settings) as made:
        yield made


def test_every_task_type_succeeds(fleet: Orchestrator, version: str) -> None:
    del version
    for task_type, name in WORK.items():
        task = Task(task_type=task_type, description="Do it well", files=[name], timeout=60)
        result = fleet.execute_task(task)
        assert result.status == "success", f"{task_type}: {result.error}"
        assert result.usage["output_tokens"] > 0
        assert result.cost_usd is not None


def test_a_warm_agent_reviews_again_and_again_in_one_container(
    fleet: Orchestrator, version: str
) -> None:
    del version
    containers: set[str] = set()
    for _ in range(5):
        task = Task(task_type="code_review", description="Look", files=["shop/cart.py"])
        assert fleet.execute_task(task).status == "success"
        containers.add(fleet.get_agent_status()["agent_000"]["container"])
    assert len(containers) == 1
