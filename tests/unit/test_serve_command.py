"""What `serve` says when the service is up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.testing import CliRunner

from understudy import logs, service
from understudy.cli.service import serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def test_serve_counts_the_agents_of_roles_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "orchestrator: {num_agents: 1}\nroles: {architect: {tasks: [question], count: 3}}\n",
        encoding="utf-8",
    )

    def is_up_at_once(_orchestrator: object, _env: object, ready: Callable[[str], None]) -> None:
        ready("/run/understudy.sock")

    def logs_nothing(_folder: object, _level: object, *, on_stderr: int) -> None:
        del on_stderr

    monkeypatch.setattr(service, "serve", is_up_at_once)
    monkeypatch.setattr(logs, "configure_logging", logs_nothing)
    done = CliRunner().invoke(serve, ["--config", str(file), "--fake"])
    assert "ready: 4 agents, control socket /run/understudy.sock" in done.output, done
