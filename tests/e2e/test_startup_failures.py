"""What no restart can mend is tried once, and the error says what to do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.actors.tasks.store import SERVICE_RUN, TaskStore

if TYPE_CHECKING:
    from fakes.program import Program

pytestmark = pytest.mark.podman


def starts_of(program: Program) -> Counter[str]:
    """How often the service started each of its processes."""
    path = Path(program.env["XDG_STATE_HOME"]) / "understudy" / "tasks.db"
    if not path.exists():
        return Counter()
    with TaskStore(path) as store:
        return Counter(life.agent_id for life in store.incarnations.of(SERVICE_RUN))


def test_without_a_key_nothing_is_started(program: Program) -> None:
    done = program.run("serve")
    assert done.code == 3
    assert "ANTHROPIC_API_KEY" in done.err
    assert not starts_of(program)


def test_without_the_image_nothing_is_started(program: Program) -> None:
    done = program.run("serve", "--fake", "--set", "agent.image=localhost/none:1")
    assert done.code == 3
    assert "localhost/none:1" in done.err
    assert "understudy image build" in done.err
    assert not starts_of(program)


def test_an_image_that_cannot_start_the_cli_is_tried_once_by_each_agent(
    program: Program, plain_image: str
) -> None:
    options = ["--fake", "--agents", "2", "--set", f"agent.image={plain_image}"]
    done = program.run("serve", *options)
    assert done.code == 3
    assert plain_image in done.err
    assert "understudy image build" in done.err
    assert starts_of(program) == {"scripted_model": 1, "gateway": 1, "agent_000": 1, "agent_001": 1}
    # The first one that cannot be started ends the start of the service, and so the other one.
    events = program.run("logs", "agent_000").out + program.run("logs", "agent_001").out
    assert "gave_up incarnation 1, image: " in events


def test_a_task_that_finds_such_an_image_is_kept_for_a_service_that_is_mended(
    program: Program, plain_image: str
) -> None:
    cold = ["--fake", "--agents", "1", "--set", "agent.warm_for=null"]
    service = program.serve(*cold, "--set", f"agent.image={plain_image}")
    task_id = program.run("submit", "hello").out.strip()
    assert service.wait(60) == 3
    assert starts_of(program)["agent_000"] == 1
    (task,) = program.run("tasks", "--json").json["tasks"]
    assert (task["task_id"], task["state"]) == (task_id, "submitted")
