"""`understudy audit` on the agents of a running service."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from fakes.program import CANARY, Program

pytestmark = pytest.mark.podman


def container_when_ready(program: Program, until: Callable[..., Any]) -> str:
    def ready() -> str | None:
        agent = program.run("status", "--json").json["agents"]["agent_000"]
        return str(agent["container"]) if agent["state"] == "ready" else None

    return str(until(ready))


def test_an_agent_of_the_service_is_as_promised_until_something_is_put_into_it(
    program: Program, until: Callable[..., Any]
) -> None:
    program.env |= {"ANTHROPIC_API_KEY": CANARY, "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    service = program.serve("--agents", "1")
    # The command need not have the key: it is found where the service has it.
    del program.env["ANTHROPIC_API_KEY"]
    container = container_when_ready(program, until)
    done = program.run("audit", "agent_000", "--json")
    assert [line for line in done.json["lines"] if line["verdict"] != "ok"] == []
    assert (done.code, done.json["container"]) == (0, container)
    assert CANARY not in done.out
    put = ["podman", "exec", "-i", container, "sh", "-c", "cat > /tmp/left"]
    subprocess.run(put, input=CANARY, text=True, check=True, timeout=30)
    done = program.run("audit", "agent_000")
    assert done.code == 1
    assert "DIFFERS  canary" in done.out
    assert "found in /tmp/left" in done.out
    assert CANARY not in done.out + done.err
    unknown = program.run("audit", "agent_007")
    assert unknown.code == 3
    assert "it has: agent_000" in unknown.err
    program.end(service)


def test_without_a_service_there_is_nothing_to_look_at(program: Program) -> None:
    done = program.run("audit", "agent_000", "--json")
    assert done.code == 3
    assert "no service answers" in done.json["error"]
