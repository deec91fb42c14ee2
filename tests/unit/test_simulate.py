from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner

from understudy.cli.app import run_app
from understudy.cli.simulate import simulate
from understudy.supervision.scenario import parse
from understudy.supervision.simulate import play
from understudy.supervision.written import Miswritten

if TYPE_CHECKING:
    from pathlib import Path

THREE = """
supervisor:
  strategy: rest_for_one
  intensity: 2
  period: 5
  children: [{id: a}, {id: b, restart: transient}, {id: t, restart: temporary}]
"""


def played(text: str) -> list[str]:
    """The events in short."""
    return [" ".join(event.values()) for event in play(parse(yaml.safe_load(text)))]


def test_a_step_and_all_that_follows_from_it_comes_before_the_next_step() -> None:
    assert played(f"{THREE}\nsteps: [{{exit: a, reason: killed}}, {{exit: t}}]") == [
        "start a",
        "start b",
        "start t",
        "exit a killed",
        "stop t",
        "stop b",
        "start a",
        "start b",
        "not_running t",
        "child a running",
        "child b running",
        "stop b",
        "stop a",
        "supervisor_exit shutdown",
    ]


def test_every_request_is_answered_in_otps_words() -> None:
    steps = "[{terminate: b}, {start: {id: b}}, {restart: b}, {delete: b}, {terminate: x}]"
    results = [e for e in played(f"{THREE}\nsteps: {steps}") if e.startswith("result")]
    assert results == [
        "result terminate b ok",
        "result start_child b already_present",
        "result restart b ok",
        "result delete b running",
        "result terminate x not_found",
    ]


def test_too_many_failed_starts_end_the_scenario() -> None:
    events = played(f"{THREE}\nsteps: [{{fail_start: b, times: 9}}, {{exit: b}}, {{exit: a}}]")
    assert events[4:] == [
        "stop t",
        "start_failed b",
        "start_failed b",
        "stop a",
        "supervisor_exit shutdown",
    ]


def test_waiting_lets_the_budget_recover() -> None:
    steps = "[{exit: a}, {exit: a}, {wait: 6}, {exit: a}]"
    assert "child a running" in played(f"{THREE}\nsteps: {steps}")
    assert "child a running" not in played(f"{THREE}\nsteps: {steps.replace('{wait: 6}, ', '')}")


def test_as_in_otp_time_is_counted_in_whole_seconds() -> None:
    spec = "supervisor: {intensity: 1, period: 5, children: [{id: a}]}"
    for wait, ends in ((5.5, True), (5.99, True), (6, False)):
        events = played(f"{spec}\nsteps: [{{exit: a}}, {{wait: {wait}}}, {{exit: a}}]")
        assert ("child a running" not in events) is ends, wait
    # Three waits that are six seconds together, and a little less as floating point has it.
    steps = "[{exit: a}, {wait: 0.6}, {wait: 4.6}, {wait: 0.8}, {exit: a}]"
    assert "child a running" in played(f"{spec}\nsteps: {steps}")


def test_without_our_additions_the_defaults_are_otps() -> None:
    crashes = "steps: [{exit: a}, {exit: a}]"
    assert "child a running" not in played(f"supervisor: {{children: [{{id: a}}]}}\n{crashes}")
    spec = parse(yaml.safe_load("supervisor: {children: [{id: a}]}")).supervisor
    assert (spec.exact, spec.intensity, spec.period_s) == (True, 1, 5.0)
    spec = parse(yaml.safe_load("supervisor: {backoff: true, children: [{id: a}]}")).supervisor
    assert (spec.exact, spec.intensity, spec.period_s) == (False, 3, 5.0)


def test_with_a_backoff_a_child_comes_back_when_its_time_has_come() -> None:
    spec = "supervisor: {backoff: {min: 2, jitter: 0}, children: [{id: a}]}"
    restarting = played(f"{spec}\nsteps: [{{exit: a}}, {{wait: 1.9}}]")
    assert "child a restarting" in restarting
    running = played(f"{spec}\nsteps: [{{exit: a}}, {{wait: 2}}]")
    assert running[:4] == ["start a", "exit a crash", "start a", "child a running"]
    spec = "supervisor: {backoff: {min: 0.2, jitter: 0}, children: [{id: a}]}"
    running = played(f"{spec}\nsteps: [{{wait: 0.1}}, {{exit: a}}, {{wait: 0.2}}]")
    assert "child a running" in running


def test_steps_together_are_all_there_before_the_supervisor_looks() -> None:
    steps = "[{together: [{fail_start: b, times: 1}, {exit: b}, {restart: b}]}]"
    assert played(f"{THREE}\nsteps: {steps}")[3:7] == [
        "exit b crash",
        "stop t",
        "start_failed b",
        "start b",
    ]
    assert "result restart b restarting" in played(f"{THREE}\nsteps: {steps}")


BAD: list[tuple[object, str]] = [
    ([], "the file: must be a mapping"),
    ({}, "the file: needs supervisor"),
    ({"supervisor": {"strategy": "all"}}, "supervisor strategy: .*one_for_one, one_for_all"),
    ({"supervisor": {"strategie": "x"}}, "supervisor strategie: is not known"),
    ({"supervisor": {"intensity": -1}}, "supervisor intensity: must be a whole number"),
    ({"supervisor": {"period": True}}, "supervisor period: must be a number"),
    (
        {"supervisor": {"period": 0}},
        "^supervisor period: must be more than 0 seconds .invalid_period.$",
    ),
    ({"supervisor": {"children": {}}}, "supervisor children: must be a list"),
    ({"supervisor": {"children": [{}]}}, "supervisor child 1: needs id"),
    ({"supervisor": {"children": [{"id": "a"}] * 2}}, "more than one is named a"),
    ({"supervisor": {"children": [{"id": "a", "significant": True}]}}, "never ends for good"),
    ({"supervisor": {"children": [{"id": "a", "significant": 1}]}}, "child 1 significant: must be"),
    ({"supervisor": {"auto_shutdown": []}}, "supervisor auto_shutdown: must be one of never"),
    (
        {"supervisor": {"backoff": {"min": 9, "max": 1}}},
        "supervisor backoff max: must not",
    ),
    ({"supervisor": {}, "steps": [{}]}, "step 1: says nothing"),
    ({"supervisor": {}, "steps": [{"wait": 1}, {"wait": "x"}]}, "step 2 wait: must be"),
    ({"supervisor": {}, "steps": [{"exit": "a", "reason": "x"}]}, "step 1 reason: .*crash"),
    ({"supervisor": {}, "steps": [{"exit": "a", "times": 1}]}, "does not go with exit"),
    ({"supervisor": {}, "steps": [{"exit": None}]}, "must be the id of a child"),
    ({"supervisor": {}, "steps": [{"start": {"id": "a", "restart": "x"}}]}, "permanent"),
    ({"supervisor": {}, "steps": [{"together": [{"wait": 1}]}]}, "cannot be together"),
    ({"supervisor": {}, "steps": [{"fail_start": "a", "times": 1.5}]}, "whole number"),
]


@pytest.mark.parametrize(("data", "message"), BAD)
def test_what_is_wrong_with_a_scenario_is_said_with_its_place(data: object, message: str) -> None:
    with pytest.raises(Miswritten, match=message):
        parse(data)


def test_the_command_prints_one_json_object_a_line(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(THREE, "utf-8")
    done = CliRunner().invoke(simulate, [str(file)])
    assert done.exit_code == 0
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[1] == {"event": "start", "child": "b"}


def test_the_tree_shows_each_step_with_what_follows_from_it(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(f"{THREE}\nsteps: [{{exit: t}}, {{wait: 2}}, {{terminate: b}}]", "utf-8")
    lines = CliRunner().invoke(simulate, [str(file), "--tree"]).stdout.splitlines()
    assert lines[5:11] == [
        "├─ t ends: crash",
        "│  └─ x t crash",
        "├─ 2 s pass",
        "├─ request: terminate b",
        "│  ├─ - stop b",
        "│  └─ = terminate b: ok",
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("supervisor: [", ":1: this is not YAML"),
        (
            "supervisor:\n  children:\n    - id: a\n    - id: a\n",
            ":4: supervisor child 2 id: more than one is named a (duplicate_child)",
        ),
        ("supervisor: {? [a, b] : 1}", ":1: a key must be a word"),
        ("a: &x [*x]", ": cannot be read: "),
        ("supervisor:\n  children:\n    - id: 2020-13-45\n", ":3: cannot be read: month must"),
        ("supervisor: {}\nsteps:\n  - exit: a\n  - exit: b\n    reason: x\n", ":5: step 2 reason"),
        ("supervisor:\n  intensity: 1\n  intensity: 2\n", ":3: intensity: is there twice"),
        ("", ": the file: must be a mapping"),
        ("supervisor: !!python/name:os.system x\n", ":1: "),
    ],
)
def test_a_bad_file_gets_one_message_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, place: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text, "utf-8")
    assert run_app(["simulate", str(file)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"bad.yaml{place}" in told.err
    assert "defect" not in told.err


def test_a_missing_file_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["simulate", "/nowhere/at/all.yaml"]) == 2
    assert "/nowhere/at/all.yaml: the file cannot be read" in capsys.readouterr().err
