"""What users are told of each kind of failure, and what it costs them, through the real CLI."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from understudy import Orchestrator, Task, TaskResult
from understudy.actors.failure import FailureKind
from understudy.actors.gateway.ledger import Ledger
from understudy.actors.paths import cache_dir
from understudy.actors.podman import ensure_image
from understudy.actors.releases import DEFAULT_CLI_VERSION, OLDEST_CLI_VERSION
from understudy.fakeapi import FakeApiThread

pytestmark = pytest.mark.podman

NO_CREDIT = "Your credit balance is too low to access the Anthropic API."
TOO_LONG = "prompt is too long: 250000 tokens > 200000 maximum"
LOOK = {"tool": "Read", "input": {"file_path": "/work/nothing"}}
FINE = {"text": "fine"}


def steps(*each: dict[str, Any]) -> list[dict[str, Any]]:
    return list(each)


class Row(NamedTuple):
    """What the model does and the user is told; `asks`: how often the API is asked, or more."""

    steps: list[dict[str, Any]]
    kind: FailureKind | None
    says: str = ""
    asks: int | None = None
    task_type: str = "generic"


# The task's own failures: one try, at the API as in the fleet.
ENDS = {
    "bad request": Row(steps({"error": 400}), FailureKind.INTERNAL, "400"),
    "no credit": Row(steps({"error": 400, "message": NO_CREDIT}), FailureKind.CONFIG, "billing"),
    "payment": Row(steps({"error": 402}), FailureKind.CONFIG, "billing", asks=1),
    "no such model": Row(steps({"error": 404}), FailureKind.CONFIG, "model"),
    "prompt too long": Row(
        steps({"error": 400, "message": TOO_LONG}), FailureKind.CONTEXT_FULL, "fewer or smaller"
    ),
    "too large": Row(steps({"error": 413}), FailureKind.CONTEXT_FULL, "fewer or smaller"),
    "refusal": Row(
        [{"text": "no", "stop_reason": "refusal"}] * 8, FailureKind.REFUSAL, "word the task"
    ),
    "too many turns": Row(steps(LOOK, LOOK, LOOK, LOOK, FINE), FailureKind.MAX_TURNS, "max_turns"),
    "no structured result": Row(
        steps(FINE, FINE, FINE), FailureKind.SCHEMA_MISSED, "'fine'", task_type="code_review"
    ),
    "answer too long": Row(
        [{"text": "part", "stop_reason": "max_tokens"}] * 8, FailureKind.OUTPUT_LIMIT, "less in one"
    ),
}
# The API's: the gateway asks again, and neither the CLI nor the fleet sees anything of it.
PASSES = {
    "rate limit": Row(steps({"error": 429, "times": 2, "then": FINE}), None, asks=3),
    "rate limit that says when": Row(
        steps({"error": 429, "headers": {"retry-after": 1}, "times": 1, "then": FINE}), None, asks=2
    ),
    "overloaded": Row(steps({"error": 529, "times": 2, "then": FINE}), None, asks=3),
    "500": Row(steps({"error": 500, "times": 1, "then": FINE}), None, asks=2),
    "503": Row(steps({"error": 503, "times": 1, "then": FINE}), None, asks=2),
    "reset": Row(steps({"reset": "before", "times": 1, "then": FINE}), None, asks=2),
    # Here the CLI itself asks again: what has begun to answer is not the gateway's to repeat.
    "reset in the middle": Row(
        steps({"reset": "mid", "text": "half", "times": 1, "then": FINE}), None
    ),
    "no answer in it": Row(steps({"malformed": "html", "times": 1, "then": FINE}), None),
}
# A stream that ends too soon: 2.1.197 passes half of it off as the whole, and the task runs again;
# the pinned one has the model go on.
CUT = Row(
    steps({"malformed": "truncated", "text": "half", "times": 1, "then": FINE}, FINE, FINE), None
)


@pytest.fixture
def api(home: Path, image: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApiThread]:
    del home, image
    with FakeApiThread() as made:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", made.url)
        yield made


def a_fleet(agents: int = 1, **settings: Any) -> Orchestrator:  # noqa: ANN401 - any setting
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return Orchestrator(overrides={"orchestrator.num_agents": agents, **named})


# Containers of agents that only read serve one task after the other.
READING: dict[str, Any] = {"roles__reader__tasks": ["generic"], "roles__reader__read_only": True}


def prompt(name: str, row: Row) -> str:
    return f"({name}) @@ {json.dumps(row.steps)} @@"


def run_all(fleet: Orchestrator, rows: dict[str, Row]) -> dict[str, TaskResult]:
    handles = {
        name: fleet.submit(Task(task_type=row.task_type, description=prompt(name, row), timeout=60))
        for name, row in rows.items()
    }
    return {name: handle.wait(timeout_s=120) for name, handle in handles.items()}


def restarts(fleet: Orchestrator) -> int:
    return sum(agent["restarts"] for agent in fleet.get_agent_status().values())


def asked(result: TaskResult) -> int:
    """How often the API was asked for a task, by the books."""
    state = Path(os.environ["XDG_STATE_HOME"]) / "understudy"
    ledger = Ledger(state / "ledger.db")
    asks = ledger.of_task(result.task_id).asks
    ledger.close()
    return asks


def check(name: str, row: Row, result: TaskResult) -> None:
    """One row: the task's result says what it should, after one attempt."""
    status = "success" if row.kind is None else "failed"
    found = (result.status, result.failure_kind, result.attempts)
    assert found == (status, row.kind, 1), f"{name}: {result}"
    assert row.says in str(result.error), f"{name}: {result.error}"
    if row.kind is None:
        assert result.result["output"] == "fine", name
    if row.asks is not None:
        assert asked(result) >= row.asks, name


@pytest.mark.usefixtures("api")
def test_what_is_the_tasks_own_fault_ends_it_at_once_and_says_how_to_mend_it() -> None:
    with a_fleet(2, agent__max_turns=3, **READING) as fleet:
        results = run_all(fleet, ENDS)
        assert restarts(fleet) == 0
    for name, row in ENDS.items():
        check(name, row, results[name])


@pytest.mark.usefixtures("api")
def test_what_is_the_apis_fault_is_waited_out_and_costs_nobody_anything() -> None:
    with a_fleet(2, **READING) as fleet:
        results = run_all(fleet, PASSES)
        assert restarts(fleet) == 0
    for name, row in PASSES.items():
        check(name, row, results[name])


@pytest.mark.parametrize("version", [DEFAULT_CLI_VERSION, OLDEST_CLI_VERSION])
@pytest.mark.usefixtures("api")
def test_half_an_answer_is_no_success(version: str) -> None:
    image = ensure_image(version, cache_dir(os.environ), env=os.environ).tag
    with a_fleet(agent__image=image) as fleet:
        (result,) = run_all(fleet, {"cut": CUT}).values()
        assert (result.status, result.attempts, restarts(fleet)) == ("success", 1, 0)
    assert result.result["output"].endswith("fine")
    assert asked(result) == 2


def test_an_api_that_stays_away_ends_a_task_in_its_time_without_an_attempt(
    api: FakeApiThread,
) -> None:
    # The gateway holds a request for a second, the CLI asks no more, the task tries again once.
    hasty: dict[str, Any] = {
        "gateway__max_wait": 1.0,
        "gateway__api_retries": 0,
        "supervision__backoff_min": 4.0,
    }
    row = Row(steps({"error": 529}), FailureKind.OVERLOADED, "the API has too much to do")
    with a_fleet(**hasty, **READING) as fleet:
        task = Task(description=prompt("away", row), timeout=10)
        check("away", row, fleet.submit(task).wait(timeout_s=60))
        assert restarts(fleet) == 0
        # The key is refused: nobody asks again, and there is nothing to wait for.
        denied = Row(steps({"error": 401}), FailureKind.AUTH, "check the API key", asks=1)
        check("denied", denied, *run_all(fleet, {"denied": denied}).values())
        asked_before = len(api.requests)
        told = Row(steps(FINE), FailureKind.AUTH, "check the API key", asks=0)
        check("told", told, *run_all(fleet, {"told": told}).values())
        assert (len(api.requests), restarts(fleet)) == (asked_before, 0)


@pytest.mark.usefixtures("api")
def test_a_cli_that_hangs_is_ended_and_its_task_done_by_the_next(
    until: Callable[..., Any],
) -> None:
    again = [{"delay": 1.0, "text": "done"}] * 3
    with a_fleet(agent__stall_timeout=6.0) as fleet:
        handle = fleet.submit(Task(description=f"@@ {json.dumps(again)} @@", timeout=60))
        os.kill(the_cli(fleet, until), signal.SIGSTOP)
        result = handle.wait(timeout_s=60)
        assert (result.status, result.attempts) == ("success", 2)
        assert fleet.get_agent_status()["agent_000"]["last_failure_kind"] == "hung"
        assert restarts(fleet) == 1


@pytest.mark.usefixtures("api")
def test_a_task_that_runs_out_of_memory_runs_once_more_with_twice_as_much() -> None:
    # What is in /tmp is in memory, and the kernel ends the largest process: the CLI.
    fill = {"tool": "Bash", "input": {"command": "head -c 220m /dev/zero > /tmp/full"}}
    with a_fleet(agent__container_memory="300m") as fleet:
        script = json.dumps([fill, fill, fill, FINE, FINE])
        result = fleet.submit(Task(description=f"@@ {script} @@", timeout=60)).wait(timeout_s=90)
        assert (result.status, result.attempts) == ("success", 2), result
        assert fleet.get_agent_status()["agent_000"]["last_failure_kind"] == "oom"


def the_cli(fleet: Orchestrator, until: Callable[..., Any]) -> int:
    """The CLI's process, once it works on a task."""
    agent = until(lambda: busy(fleet))
    return psutil.Process(agent["container_pid"]).children()[0].pid


def busy(fleet: Orchestrator) -> dict[str, Any] | None:
    agent = fleet.get_agent_status()["agent_000"]
    is_busy = agent["state"] == "busy" and agent["container_pid"]
    return agent if is_busy else None
