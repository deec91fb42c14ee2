"""`understudy plan`, in this process: it needs neither podman nor a key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from understudy.cli.app import run_app


@pytest.fixture(autouse=True)
def bare(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No podman, no key, no handlers for signals."""
    del home
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("understudy.cli.app.arm_interrupt", lambda: None)


def plan(*args: str) -> int:
    return run_app(["plan", *args])


def test_a_file_is_planned_without_podman_and_without_a_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text("orchestrator:\n  num_agents: 2\nsupervision:\n  intensity: 1\n")
    assert plan(str(file), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    agents = found["tree"]["children"][1]
    assert (agents["intensity"], len(agents["children"])) == (1, 2)
    assert [warning["kind"] for warning in found["warnings"]] == ["mass_fall", "poison_ends_fleet"]
    assert plan(str(file)) == 0
    assert "bears 1 restarts within 5 s" in capsys.readouterr().out


def test_a_setting_may_be_tried_on_top(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan("--set", "supervision.intensity=0") == 0
    assert "the first fall of an agent ends the fleet" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_wrong_file_is_one_message_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: list[str]
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("supervision:\n  intensity: 3\n  strategy: one_for_non\n")
    assert plan(str(file), *as_json) == 2
    told = capsys.readouterr()
    assert "bad.yaml:3: supervision.strategy" in told.err
    assert "did you mean one_for_one?" in told.err
    if as_json:
        assert json.loads(told.out)["exit_code"] == 2


def test_a_file_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan("missing.yaml") == 2
    assert "missing.yaml" in capsys.readouterr().err
