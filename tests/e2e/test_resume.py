"""A conversation that is cut off goes on: same workspace, same messages, one result."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from understudy import Orchestrator, Task, TaskHandle
from understudy.actors.paths import cache_dir
from understudy.actors.podman import ensure_image
from understudy.actors.releases import DEFAULT_CLI_VERSION, OLDEST_CLI_VERSION
from understudy.fakeapi import FakeApiThread

pytestmark = pytest.mark.podman

# Two steps say the same: 2.1.197 forgets the call that was in flight, 2.1.330 does not.
SCRIPT = json.dumps(
    [
        {"tool": "Bash", "input": {"command": "echo before >> /work/made"}},
        {"tool": "Bash", "input": {"command": "echo begun >> /work/made; sleep 3"}},
        {"text": "done at last"},
        {"text": "done at last"},
    ]
)
VICTIMS = ("agent", "container", "cli")


@pytest.fixture
def api(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApiThread]:
    del home
    with FakeApiThread(bodies=True) as made:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", made.url)
        yield made


def a_fleet(**settings: Any) -> Orchestrator:  # noqa: ANN401 - any setting
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return Orchestrator(overrides={"orchestrator.num_agents": 1, **named})


def in_the_second_call(
    fleet: Orchestrator, until: Callable[..., Any], state: Path, repo: Path | None = None
) -> TaskHandle:
    """A task in the middle of its second command."""
    where = str(repo) if repo else None
    handle = fleet.submit(Task(description=f"say it @@ {SCRIPT} @@", timeout=90, repo=where))
    until(lambda: "begun" in "".join(file.read_text() for file in state.glob("live/*/work/made")))
    return handle


def victim(fleet: Orchestrator, what: str) -> int:
    agent = fleet.get_agent_status()["agent_000"]
    if what == "cli":
        return psutil.Process(agent["container_pid"]).children()[0].pid
    return int(agent["pid"] if what == "agent" else agent["container_pid"])


def conversations(home: Path) -> Path:
    del home
    return Path(os.environ["XDG_STATE_HOME"]) / "understudy" / "conversations"


def texts(request: dict[str, Any]) -> str:
    return json.dumps(request["body"]["messages"])


@pytest.mark.parametrize("release", [DEFAULT_CLI_VERSION, OLDEST_CLI_VERSION])
@pytest.mark.parametrize("what", VICTIMS)
def test_the_conversation_and_the_workspace_go_on_after_a_kill(
    api: FakeApiThread, home: Path, until: Callable[..., Any], release: str, what: str
) -> None:
    image = ensure_image(release, cache_dir(os.environ), env=os.environ).tag
    with a_fleet(agent__image=image) as fleet:
        handle = in_the_second_call(fleet, until, conversations(home))
        os.kill(victim(fleet, what), signal.SIGKILL)
        result = handle.wait(timeout_s=60)
        assert result.status == "success", result.error
        assert result.result["output"] == "done at last"
        assert (result.attempts, result.result["files_changed"]) == (2, ["made"])
        # What was made before the fall is in the workspace, and was not made again.
        assert result.result["diff"].count("+before") == 1
    asked = texts(api.requests[-1])
    assert "say it" in asked
    assert "echo before" in asked
    assert "You were cut off in the middle of this task" in asked
    assert "sleep 3" in asked
    assert not list((conversations(home) / "live").iterdir())
    assert not list((conversations(home) / "locks").iterdir())


def git(repo: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=repo, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.usefixtures("api", "image")
def test_who_goes_on_makes_the_branch_on_the_commit_that_the_task_began_from(
    home: Path, repo: Path, until: Callable[..., Any]
) -> None:
    git(repo, "init", "-q")
    for _ in range(2):
        git(repo, "add", "-A")
        git(repo, "commit", "-q", "--allow-empty", "-m", "start")
    start = git(repo, "rev-parse", "HEAD").strip()
    with a_fleet() as fleet:
        handle = in_the_second_call(fleet, until, conversations(home), repo)
        git(repo, "reset", "-q", "--soft", "HEAD^")
        os.kill(victim(fleet, "agent"), signal.SIGKILL)
        result = handle.wait(timeout_s=60)
    assert (result.status, result.attempts) == ("success", 2), result.error
    assert (result.result["base"], result.result.get("branch_error")) == (start, None)
    assert git(repo, "diff", "--name-only", f"{start}..{result.branch}").split() == ["made"]


def test_a_task_goes_on_in_the_context_of_an_earlier_one(
    api: FakeApiThread, home: Path, image: str
) -> None:
    del image, home
    write = json.dumps([{"tool": "Bash", "input": {"command": "echo FIRST > a"}}, {"text": "1"}])
    with a_fleet() as fleet:
        first = fleet.execute_task(Task(description=f"one @@ {write} @@", timeout=60))
        assert first.status == "success", first.error
        again = Task(description="two @@ [{}] @@", timeout=60, context_id=first.context_id)
        second = fleet.execute_task(again)
        assert second.status == "success", second.error
        assert second.context_id == first.context_id
        assert "echo FIRST" in texts(api.requests[-1])
        assert "- a" in texts(api.requests[-1])
        unknown = Task(description="three", context_id="../../../etc")
        third = fleet.execute_task(unknown)
        assert (third.status, third.failure_kind) == ("failed", "context_gone")


def test_a_reading_task_can_be_gone_on_with_though_its_container_served_another(
    api: FakeApiThread, repo: Path, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del image
    monkeypatch.chdir(repo)
    with a_fleet(agent__warm_for="analysis") as fleet:
        tasks = [
            Task(task_type="analysis", description=f"question {n}", files=["shop/cart.py"])
            for n in (1, 2)
        ]
        first, second = (fleet.execute_task(task) for task in tasks)
        assert (first.status, second.status) == ("success", "success"), first.error
        last = Task(
            task_type="analysis", description="question 3", context_id=first.context_id, timeout=60
        )
        third = fleet.execute_task(last)
        assert third.status == "success", third.error
    assert "question 1" in texts(api.requests[-1])
    assert "question 2" not in texts(api.requests[-1])


def test_a_conversation_that_is_not_there_any_more_begins_again(
    api: FakeApiThread, home: Path, image: str, until: Callable[..., Any]
) -> None:
    del image
    with a_fleet() as fleet:
        handle = in_the_second_call(fleet, until, conversations(home))
        for transcript in conversations(home).glob("live/*/home/.claude/projects/-work/*.jsonl"):
            transcript.unlink()
        os.kill(victim(fleet, "agent"), signal.SIGKILL)
        result = handle.wait(timeout_s=60)
        assert result.status == "success", result.error
    assert "may have run already" in texts(api.requests[-1])


def test_random_kills_end_in_one_result_of_one_conversation(
    api: FakeApiThread, home: Path, image: str, until: Callable[..., Any]
) -> None:
    """UNDERSTUDY_RESUME_KILLS says how many, UNDERSTUDY_RESUME_SEED which."""
    del image
    dice = random.Random(int(os.environ.get("UNDERSTUDY_RESUME_SEED", "1")))  # noqa: S311 - the same again, by its seed
    kills = int(os.environ.get("UNDERSTUDY_RESUME_KILLS", "2"))
    with a_fleet(supervision__intensity=1000) as fleet:
        for _ in range(kills):
            handle = in_the_second_call(fleet, until, conversations(home))
            os.kill(victim(fleet, dice.choice(VICTIMS)), signal.SIGKILL)
            result = handle.wait(timeout_s=60)
            assert result.status == "success", result.error
            assert result.result["diff"].count("+before") == 1
            until(lambda: fleet.get_agent_status()["agent_000"]["state"] == "ready")
    assert "You were cut off" in texts(api.requests[-1])
