"""Agents that reach each other: real processes, containers and CLIs; only the model is scripted."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.program import Program

from understudy import Orchestrator, Task, TaskHandle, TaskState
from understudy.actors.paths import cache_dir
from understudy.actors.podman import ensure_image
from understudy.actors.releases import DEFAULT_CLI_VERSION, OLDEST_CLI_VERSION
from understudy.fakeapi import FakeApiThread

pytestmark = pytest.mark.podman

SOON_S = 30.0
SAY = {"text": "{{tool_result}}"}


def tool(name: str, **arguments: object) -> dict[str, Any]:
    return {"tool": f"mcp__bus__{name}", "input": arguments}


def ask(to: str, question: str, **more: object) -> dict[str, Any]:
    return tool("ask_agent", to=to, question=question, **more)


def bash(command: str) -> dict[str, Any]:
    return {"tool": "Bash", "input": {"command": command}}


# What a task says is the name of a script; what is asked is found by a rule.
SCRIPTS: dict[str, Any] = {
    "asks": [tool("list_agents"), ask("agent_001", "Q-ANSWER"), SAY],
    "asks_role": [ask("expert", "Q-FILE", files=["shop/cart.py"]), SAY],
    "asks_back": [ask("agent_001", "Q-BACK"), SAY],
    "asks_much": [ask("agent_001", "Q-LONG"), bash("cat .understudy-answers/* | wc -c"), SAY],
    "asks_slow": [ask("agent_001", "Q-SLOW"), SAY, SAY],
    "writes": [tool("send_message", to="agent_001", text="meet me"), SAY],
    "reads": [tool("read_messages"), SAY],
    "waits_itself": [
        tool("delegate_task", description="Q-ANSWER", to="agent_000"),
        bash("true"),
        SAY,
    ],
    "delegates": [
        tool("delegate_task", description="Q-SLEEP", to="agent_001"),
        bash("sleep 30"),
        SAY,
    ],
    "reader": [tool("delegate_task", description="Q-TOUCH", to="expert"), SAY],
    "rules": [
        {"match": "You were cut off", "steps": [{"text": "at last"}]},
        {"match": "Q-ANSWER", "steps": [{"text": "it is 42"}]},
        {"match": "Q-SLOW", "steps": [{"text": "at last", "delay": 3}, {"text": "at last"}]},
        {"match": "Q-LONG", "steps": [{"text": "long " * 20_000}]},
        {"match": "Q-BACK", "steps": [ask("agent_000", "Q-ANSWER"), SAY]},
        {"match": "Q-FILE", "steps": [{"tool": "Glob", "input": {"pattern": "**/*"}}, SAY]},
        {"match": "Q-TOUCH", "steps": [bash("touch /work/made"), SAY]},
        {"match": "Q-SLEEP", "steps": [bash("sleep 30"), SAY]},
    ],
}


@pytest.fixture
def api(home: Path, image: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApiThread]:
    del home, image
    with FakeApiThread(SCRIPTS, bodies=True) as made:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", made.url)
        yield made


def a_fleet(**settings: Any) -> Orchestrator:  # noqa: ANN401 - any setting
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return Orchestrator(overrides={"orchestrator.num_agents": 2, **named})


def script(name: str, **fields: Any) -> Task:  # noqa: ANN401 - fields of a task
    return Task(description=f"@@{name}@@", agent="agent_000", timeout=60, **fields)


def said(result: Any) -> str:  # noqa: ANN401 - a result
    assert result.status == "success", result.error
    return str(result.result["output"])


def given(fleet: Orchestrator) -> list[dict[str, Any]]:
    """The tasks that agents gave to each other, as `understudy tasks` shows them."""
    del fleet
    rows = Program(Path.cwd(), dict(os.environ)).run("tasks", "--json").json["tasks"]
    return [row for row in rows if row["parent"]]


@pytest.mark.parametrize("release", [DEFAULT_CLI_VERSION, OLDEST_CLI_VERSION])
def test_an_agent_asks_another_and_gets_its_answer_as_data(
    api: FakeApiThread, release: str
) -> None:
    image = ensure_image(release, cache_dir(os.environ), env=os.environ).tag
    with a_fleet(agent__image=image, orchestrator__max_workers=1) as fleet:
        task = script("asks")
        answer = json.loads(said(fleet.execute_task(task)))
        assert (answer["from"], answer["answer"]) == ("agent_001", "it is 42")
        assert "not by your user" in answer["note"]
        (row,) = given(fleet)
        assert (row["parent"], row["given_by"], row["agent_id"]) == (
            task.task_id,
            "agent_000",
            "agent_001",
        )
        assert (row["task_type"], row["state"], row["is_ask"]) == ("question", "completed", True)
    asked = [r for r in api.requests if "Q-ANSWER" in json.dumps(r.get("body", ""))]
    (first,) = [r for r in asked if "it is 42" not in json.dumps(r["body"])][:1]
    assert "another agent of your team, agent_000" in json.dumps(first["body"])
    tools = {name for r in api.requests for name in r.get("tools", ())}
    assert {"mcp__bus__ask_agent", "mcp__bus__wait_task"} <= tools


def test_a_role_answers_with_the_files_that_it_was_given_and_no_others(
    api: FakeApiThread, repo: Path
) -> None:
    del api
    with a_fleet(orchestrator__num_agents=1, roles__expert__count=1) as fleet:
        task = script("asks_role", repo=str(repo), files=["shop"])
        answer = json.loads(said(fleet.execute_task(task)))
        assert answer["answer"].split() == ["shop/cart.py"]
        few = script("asks_role", repo=str(repo), files=["shop/orders.py"])
        assert "not among the files" in said(fleet.execute_task(few))


def test_what_a_reader_delegates_can_write_nothing(
    api: FakeApiThread, until: Callable[..., Any]
) -> None:
    del api
    settings = {"roles__expert__count": 1, "roles__reader__read_only": True}
    with a_fleet(orchestrator__num_agents=1, **settings) as fleet:
        told = json.loads(said(fleet.execute_task(script("reader", role="reader"))))
        result = until(lambda: fleet.get_task_result(told["task_id"]))
        assert "No such tool available: Bash" in said(result)
        assert "diff" not in result.result


def test_a_ring_of_asks_is_refused_with_advice_and_messages_wait_until_they_are_read(
    api: FakeApiThread,
) -> None:
    del api
    with a_fleet() as fleet:
        answer = json.loads(said(fleet.execute_task(script("asks_back"))))
        assert "agent_001 waits for agent_000 waits for agent_001" in answer["answer"]
        assert "Do not try again" in answer["answer"]
        sent = json.loads(said(fleet.execute_task(script("writes"))))
        assert sent["to"] == "agent_001"
        reader = Task(description="@@reads@@", agent="agent_001", timeout=60)
        read = json.loads(said(fleet.execute_task(reader)))
        assert [(m["from"], m["text"]) for m in read["messages"]] == [("agent_000", "meet me")]
        again = Task(description="@@reads@@", agent="agent_001", timeout=60)
        assert json.loads(said(fleet.execute_task(again)))["messages"] == []


def test_a_long_answer_is_a_file_beside_the_work(api: FakeApiThread) -> None:
    del api
    with a_fleet() as fleet:
        result = fleet.execute_task(script("asks_much"))
        assert said(result).strip() == str(len("long " * 20_000))
        assert result.result["files_changed"] == []


def in_the_ask(fleet: Orchestrator, api: FakeApiThread, until: Callable[..., Any]) -> TaskHandle:
    """A task whose agent waits for the other one, which is in its turn."""
    handle = fleet.submit(script("asks_slow"))
    agents = fleet.get_agent_status
    until(lambda: fleet.status()["waits"] and agents()["agent_001"]["state"] == "busy")
    (wait,) = fleet.status()["waits"]
    assert (wait["agent_id"], wait["what"]) == ("agent_000", "ask_agent")
    assert wait["on"] == ["agent_001"]
    assert fleet.get_agent_status()["agent_001"]["current_task"] == wait["for_task"]
    until(lambda: any("of your team" in json.dumps(r.get("body")) for r in api.requests))
    until(lambda: fleet.get_agent_status()["agent_001"]["container_pid"])
    return handle


@pytest.mark.parametrize(
    ("who", "what"),
    [("agent_000", "pid"), ("agent_001", "pid"), ("agent_001", "container_pid")],
)
def test_after_a_kill_in_the_middle_of_an_ask_both_tasks_come_to_their_ends(
    api: FakeApiThread, until: Callable[..., Any], who: str, what: str
) -> None:
    with a_fleet() as fleet:
        handle = in_the_ask(fleet, api, until)
        os.kill(fleet.get_agent_status()[who][what], signal.SIGKILL)
        result = handle.wait(timeout_s=60)
        assert result.status == "success", result.error
        states = [row["state"] for row in until(lambda: given(fleet))]
        if who == "agent_001":
            # The one who was asked goes on, and the one who asked waits for it.
            assert json.loads(said(result))["answer"] == "at last"
            assert (result.attempts, states) == (1, ["completed"])
        else:
            assert result.attempts == 2
            assert "canceled" in states
        until(lambda: fleet.status()["running"] == 0)
        assert fleet.status()["waits"] == []


def test_what_an_agent_delegated_is_canceled_with_its_task(
    api: FakeApiThread, until: Callable[..., Any]
) -> None:
    del api
    with a_fleet() as fleet:
        handle = fleet.submit(script("delegates"))
        until(lambda: len(fleet.status()["agents"]) and fleet.status()["running"] == 2)
        child = fleet.get_agent_status()["agent_001"]["current_task"]
        assert handle.cancel()
        assert handle.wait(SOON_S).failure_kind == TaskState.CANCELED
        ended = until(lambda: fleet.get_task_result(child))
        assert ended.failure_kind == TaskState.CANCELED
