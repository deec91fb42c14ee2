"""The command line of the benches: what it lists, and what it says of wrong arguments."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bench.__main__ import BAD_INPUT, listed, main
from bench.catalogue import Choice, check_peers, chosen, groups, messaging
from bench.contenders import CONTENDERS, read_values
from bench.errors import BenchError
from bench.messaging.job import Job, message, percentile
from bench.questions import WORKLOADS, curves, for_seconds


def test_every_bench_is_listed() -> None:
    text = listed()
    keys = {q.curve or q.key for questions in groups().values() for q in questions}
    assert all(f"  {key} " in text for key in keys)


def test_a_bench_is_chosen_by_its_name_its_curve_or_its_group() -> None:
    assert chosen(["w1", "W2b"]) == ["W1", "W2b"]
    assert chosen(["depth"]) == [f"depth@{10**power}" for power in range(6)]
    assert "W5" in chosen(["messaging"])
    assert len(chosen([])) == sum(len(questions) for questions in groups().values())


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run", "W99"], "there is no bench 'W99'"),
        (["run", "W1", "--rounds", "0"], "--rounds takes 1 or more"),
        (["run", "W1", "--seconds", "0"], "--seconds more than 0"),
        (["run", "W1", "--seconds", "nan"], "--seconds more than 0"),
        (["run", "W1", "--seconds", "inf"], "--seconds more than 0"),
        (["run", "W1", "--peers", ""], "--peers takes names"),
        (["run", "W1", "--peers", ","], "--peers takes names"),
        (["run", "W1", "--peers", "nobody"], "there is no contender 'nobody'"),
        (["run", "W1", "--peers-venv", "/nowhere"], "is no virtual environment"),
        (["run", "W1", "--json", "/nowhere/a.json"], "there is no folder /nowhere"),
        (["run", "W1", "--compare", "/nowhere/a.json"], "cannot read /nowhere/a.json"),
        (["show", "/nowhere/a.json"], "cannot read /nowhere/a.json"),
    ],
)
def test_wrong_arguments_end_at_once_with_one_line(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == BAD_INPUT
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_peer_that_was_named_and_is_not_installed_is_an_error() -> None:
    with pytest.raises(BenchError, match="xoscar is not installed; make bench-peers"):
        check_peers(["raw", "xoscar"], None)


def test_without_the_peers_environment_they_are_left_out() -> None:
    (bench,) = messaging(["W1"], Choice(None, None, 1.0))
    ours = {"understudy", "understudy-peers", "understudy-msgpack"}
    assert set(bench.contenders) == {*ours, "raw", "mp-pipe"}


def test_the_subject_is_measured_whoever_else_is_chosen() -> None:
    (bench,) = messaging(["W1"], Choice(None, frozenset({"raw"}), 1.0))
    assert set(bench.contenders) == {"understudy", "raw"}


def test_every_goal_is_against_one_who_is_measured_in_that_question() -> None:
    for workload in (*WORKLOADS, *curves()):
        question = workload.question
        assert {question.subject, *question.goals} <= set(workload.contenders)
        assert set(workload.contenders) <= set(CONTENDERS)


def test_a_job_crosses_a_command_line() -> None:
    job = Job("fan", 10, workers=8, seconds=1.5)
    assert Job.from_json(job.to_json()) == job


def test_a_slow_contender_does_less_of_what_is_a_rate_and_all_of_what_is_a_number() -> None:
    slow = replace(CONTENDERS["raw"], scale=0.01)
    assert slow.fitted(Job("tell", 100_000)).n == 1_000
    assert slow.fitted(Job("tell", 500)).n == 20
    assert slow.fitted(Job("depth", 100_000)).n == 100_000


def test_the_seconds_are_those_of_the_overload_alone() -> None:
    seconds = {w.question.key: for_seconds(w, 9.0).job.seconds for w in WORKLOADS}
    assert seconds.pop("overload") == 9.0
    assert set(seconds.values()) == {0.0}


@pytest.mark.parametrize("text", ["", "hello", "[1]", '{"per_s": null}'])
def test_a_program_that_prints_no_numbers_has_failed(text: str) -> None:
    with pytest.raises(BenchError, match="xoscar printed no numbers"):
        read_values("xoscar", text)


def test_the_last_line_of_a_program_holds_its_numbers() -> None:
    assert read_values("ray", 'starting\n{"per_s": 3}\n') == {"per_s": 3.0}


def test_messages_are_as_large_as_is_asked() -> None:
    assert len(message(1, 1000)["payload"]["data"]) == 1000
    assert 300 < len(json.dumps(message(1))) < 600


def test_a_percentile_of_few_values_is_one_of_them() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0


def test_the_present_folder_needs_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "nothing", "--json", "a.json"]) == BAD_INPUT
    assert not Path("a.json").exists()
