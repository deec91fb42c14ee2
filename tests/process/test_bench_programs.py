"""Contenders as programs: measured, ended when they hang, reported when they die."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest
from bench import report as files
from bench.__main__ import main
from bench.contenders import measure_program, measure_with
from bench.errors import BenchError
from bench.isolate import run
from bench.messaging.job import Job


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_program_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    pathlib.Path('pid').write_text(str(os.getpid()))\n"
        "time.sleep(60)"
    )
    began = time.monotonic()
    # Time for it to start, however busy the machine.
    ended = run(_python(code), limit_s=8.0, cwd=tmp_path, env={})
    assert ended.code is None
    assert time.monotonic() - began < 40
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text("utf-8")))


def test_an_orphan_in_a_session_of_its_own_is_found_and_ended(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(60)\n"
        "    os._exit(0)\n"
        "os.wait()"
    )
    ended = run(_python(code), limit_s=20.0, cwd=tmp_path, env={})
    assert ended.code == 0
    assert len(ended.left) == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import time; time.sleep(60)", "peer took more than 1 s and was ended"),
        ("import os; os.kill(os.getpid(), 9)", "peer ended with code -9"),
        ("raise ValueError('no such port')", "code 1: ValueError: no such port"),
        ("print('nothing to say')", "peer printed no numbers"),
        ("import sys; sys.stderr.write('x is not installed'); sys.exit(69)", "x is not installed"),
    ],
)
def test_a_contender_that_fails_says_how(code: str, said: str) -> None:
    with pytest.raises(BenchError) as failed:
        measure_program("peer", _python(code), 1.0 if "sleep" in code else 20.0)
    assert said in failed.value.message


@pytest.mark.parametrize("name", ["understudy", "understudy-peers", "understudy-local", "mp-pipe"])
def test_a_contender_does_a_small_job_and_leaves_no_process_behind(name: str) -> None:
    values = measure_with(name, Job("tell", 200), None, None)()
    assert values["per_s"] > 0
    assert "left_processes" not in values


def test_a_run_measures_writes_and_compares(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.rounds._PATIENCE_S", 0.0)
    found = tmp_path / "found.json"
    picture = tmp_path / "found.svg"
    argv = ["run", "depth@10", "--rounds", "2", "--seed", "5", "--peers", "pykka"]
    assert main([*argv, "--json", str(found), "--picture", str(picture)]) == 0
    report = files.read(found)
    (outcome,) = report.outcomes
    assert report.seed == 5
    assert [set(row) for row in outcome.rounds] == [{"understudy-local", "pykka"}] * 2
    assert len(outcome.values("pykka")) == 2
    assert picture.read_text("utf-8").startswith("<svg")
    assert main(["show", str(found), "--compare", str(found)]) == 0
    assert "Nothing became worse" in capsys.readouterr().out
