from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fakes.program import Program

pytestmark = pytest.mark.podman

SCRIPT = json.dumps(
    [
        {"tool": "Bash", "input": {"command": "echo before >> /work/made; sleep 4"}},
        {"text": "done at last"},
        {"text": "done at last"},
    ]
)


def test_the_next_service_goes_on_in_the_workspace_of_a_killed_one(
    program: Program, until: Callable[..., Any]
) -> None:
    service = program.serve("--fake", "--agents", "1")
    task_id = program.run("submit", f"@@ {SCRIPT} @@").out.strip()
    state = Path(program.env["XDG_STATE_HOME"]) / "understudy" / "conversations"
    until(lambda: any(file.read_text() for file in state.glob("live/*/work/made")))
    service.kill()
    service.communicate(timeout=30)
    following = program.serve("--fake", "--agents", "1")
    until(lambda: program.run("result", task_id, "--json").code == 0, 40.0)
    result = program.run("result", task_id, "--json").json
    assert result["status"] == "success"
    # The next one did not run the command: what is in the workspace is of the one before.
    assert result["result"]["diff"].count("+before") == 1
    assert program.end(following).code == 0
    assert list((state / "live").iterdir()) == []
