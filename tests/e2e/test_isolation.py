"""What a container can see: no key, and nothing of the task before."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.program import CANARY

from understudy import Orchestrator, Task
from understudy.fakeapi import FakeApiThread

pytestmark = pytest.mark.podman

# Looks at everything a process in the container can read, itself left out.
SEARCH = """
for word in "$@"; do
  grep -rIsl --exclude-dir=proc --exclude-dir=sys -- "$word" / 2>/dev/null
  for pid in /proc/[0-9]*; do
    [ "$pid" = "/proc/$$" ] && continue
    [ "$(cat $pid/comm 2>/dev/null)" = grep ] && continue
    grep -sl -- "$word" $pid/environ $pid/cmdline 2>/dev/null
  done
done
true
"""


@pytest.fixture
def api(home: Path) -> Iterator[FakeApiThread]:
    """A scripted model outside the fleet, that wants the canary as its key."""
    del home
    with FakeApiThread(require_key=CANARY, bodies=True) as made:
        yield made


@pytest.fixture
def fleet(
    api: FakeApiThread, image: str, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Orchestrator]:
    del image
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
    monkeypatch.chdir(repo)
    settings = {"orchestrator.num_agents": 1, "agent.warm_for": "code_review"}
    with Orchestrator(overrides=settings) as made:
        yield made


def search(container: str, *words: str) -> str:
    """The files of the container that hold one of the words."""
    done = subprocess.run(
        ["podman", "exec", container, "bash", "-c", SEARCH, "search", *words],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def test_the_key_reaches_the_api_and_is_nowhere_in_the_container(
    fleet: Orchestrator, api: FakeApiThread
) -> None:
    result = fleet.execute_task(
        Task(task_type="code_review", description="Look", files=["shop/cart.py"])
    )
    assert result.status == "success", result.error
    assert {request["key"] for request in api.requests} == {CANARY}
    container = fleet.get_agent_status()["agent_000"]["container"]
    # The search finds what is there: the placeholder in the CLI's environment.
    assert "environ" in search(container, "ANTHROPIC_API_KEY=placeholder")
    assert search(container, CANARY) == ""
    inspected = subprocess.run(
        ["podman", "inspect", container], capture_output=True, text=True, timeout=60, check=True
    )
    assert CANARY not in inspected.stdout
    for child in Path("/proc").glob("[0-9]*/environ"):
        if child.parent.name in agent_pids(fleet):
            assert CANARY.encode() not in child.read_bytes()


def agent_pids(fleet: Orchestrator) -> set[str]:
    return {str(agent["pid"]) for agent in fleet.get_agent_status().values()}


def test_a_container_that_is_used_again_shows_nothing_of_the_task_before(
    fleet: Orchestrator, api: FakeApiThread, repo: Path, until: Callable[..., Any]
) -> None:
    (repo / "secret.py").write_text("PLANS = 'CANARY-IN-A-FILE'\n")
    first = fleet.execute_task(
        Task(task_type="code_review", description="CANARY-IN-THE-PROMPT", files=["secret.py"])
    )
    assert first.status == "success", first.error
    agent = until(lambda: ready(fleet))
    assert search(agent["container"], "CANARY-IN-A-FILE", "CANARY-IN-THE-PROMPT") == ""
    asked_before = len(api.requests)
    second = fleet.execute_task(
        Task(task_type="code_review", description="Look", files=["shop/cart.py"])
    )
    assert second.status == "success", second.error
    assert fleet.get_agent_status()["agent_000"]["container"] == agent["container"]
    for request in api.requests[asked_before:]:
        assert "CANARY-IN" not in str(request["body"])
    assert first.context_id != second.context_id


def test_a_container_in_which_commands_ran_is_not_used_again(
    fleet: Orchestrator, until: Callable[..., Any]
) -> None:
    script = (
        '@@ [{"tool":"Bash","input":{"command":'
        '"echo CANARY-LEFT > /tmp/left; echo CANARY-LEFT > ~/left"}},{"text":"ok"}] @@'
    )
    until(lambda: ready(fleet))
    assert fleet.execute_task(Task(description=script)).status == "success"
    first = until(lambda: ready(fleet))["container"]
    assert fleet.execute_task(Task(description=script)).status == "success"
    second = until(lambda: ready(fleet))
    assert second["container"] != first
    assert second["warm_for"] == "generic"
    assert search(second["container"], "CANARY-LEFT") == ""


def ready(fleet: Orchestrator) -> dict[str, Any] | None:
    agent = fleet.get_agent_status()["agent_000"]
    return agent if agent["state"] == "ready" else None
