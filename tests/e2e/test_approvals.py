"""A role that asks first: approved, denied, told otherwise, and left without an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fakes.program import Program

pytestmark = pytest.mark.podman

TOUCH = '@@ [{"tool":"Bash","input":{"command":"touch /work/made"}},{"text":"{{tool_result}}"}] @@'
ASK = ["--set", "roles.asker.permission=ask", "--set", "roles.asker.tasks=generic"]


def test_a_call_waits_for_an_answer_and_without_one_is_denied(
    program: Program, until: Callable[..., Any]
) -> None:
    hasty = ["--set", "roles.hasty.permission=ask", "--set", "roles.hasty.permission_timeout=21"]
    service = program.serve("--fake", "--agents", "1", *ASK, *hasty)

    def asked(*command: str) -> dict[str, Any]:
        role = [] if command else ["--role", "hasty", "--timeout", "20"]
        # What somebody thinks it over is none of the task's own time.
        task_id = program.run("submit", TOUCH, *role).out.strip()
        if command:
            calls = until(lambda: program.run("status", "--json").json["input_required"])
            assert f"--call {calls[0]['request_id']}  Bash" in program.run("status").out
            gone = program.run("approve", task_id[:8], "--call", "gone")
            assert (gone.code, "nothing was answered" in gone.err) == (1, True)
            assert task_id in program.run("tasks", "--state", "input_required").out
            meant = ("--call", calls[0]["request_id"]) if command[0] == "approve" else ()
            done = program.run(command[0], task_id[:8], *command[1:], *meant)
            assert (done.code, "touch /work/made" in done.out) == (0, True)
        until(lambda: program.run("result", task_id, "--json").code == 0, timeout_s=90)
        result: dict[str, Any] = program.run("result", task_id, "--json").json["result"]
        return result

    assert "made" in asked("approve")["diff"]
    denied = asked("deny")
    assert (denied["diff"], "not on the list" in denied["output"]) == ("", True)
    assert "use the other file" in asked("answer", "use the other file")["output"]
    assert "Nobody answered" in asked()["output"]
    until(lambda: program.run("status", "--json").json["agents"]["agent_000"]["state"] == "ready")
    task_id = program.run("submit", TOUCH, "--deadline", "6").out.strip()
    until(lambda: task_id in program.run("tasks", "--state", "failed").out)
    late = program.run("result", task_id, "--json").json
    assert (late["status"], late["error"]) == ("timeout", "its deadline passed while it ran")
    assert program.run("approve", "nothing").code == 1
    assert program.end(service).code == 0
