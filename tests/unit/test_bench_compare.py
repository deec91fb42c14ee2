"""What counts as worse than before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bench import report as files
from bench.__main__ import BAD_INPUT, FAILED, main
from bench.compare import regressions, worse
from bench.model import Outcome, Question, Report, Run

if TYPE_CHECKING:
    from pathlib import Path

_MACHINE = {"cpu": "x", "cpus": 2, "python": "3.11", "kernel": "6"}


def _question(key: str = "W1") -> Question:
    return Question(key, "tell", "per_s", "messages/s", more_is_better=True, subject="understudy")


def _report(
    ours: list[float], theirs: list[float], noise: list[float] | None = None, cpu: str = "x"
) -> Report:
    rows = [
        {
            "understudy": Run({"per_s": us}, others_during=share),
            "raw": Run({"per_s": them}),
        }
        for us, them, share in zip(ours, theirs, noise or [0.0] * len(ours), strict=True)
    ]
    return Report({**_MACHINE, "cpu": cpu}, "", 1, [Outcome(_question(), rows)])


def _names(old: Report, new: Report) -> list[str]:
    return [one.key for one in regressions(old, new)]


_OLD = _report([100, 102, 98], [200, 200, 200])


def test_a_loss_of_own_value_and_of_ratio_is_named() -> None:
    new = _report([80, 82, 81], [200, 201, 199])
    (found,) = regressions(_OLD, new)
    assert found.key == "W1"
    assert "100 \u2192 81.0 messages/s" in found.text
    assert "of raw" in found.text


def test_a_slower_machine_is_no_loss() -> None:
    assert _names(_OLD, _report([80, 82, 81], [160, 161, 162])) == []


def test_others_who_became_quicker_are_no_loss() -> None:
    assert _names(_OLD, _report([100, 101, 99], [300, 301, 302])) == []


def test_ranges_that_touch_are_no_loss() -> None:
    assert _names(_OLD, _report([60, 62, 99], [200, 200, 200])) == []


def test_runs_during_which_others_used_the_machine_do_not_hide_a_loss() -> None:
    new = _report([80, 82, 81, 120], [200] * 4, [0.0, 0.0, 0.0, 0.9])
    assert _names(_OLD, new) == ["W1"]


def test_noisy_runs_are_taken_when_there_are_no_others() -> None:
    assert _names(_OLD, _report([80, 82, 81], [200] * 3, [0.9, 0.9, 0.9])) == ["W1"]


def test_on_another_machine_the_ratio_alone_decides() -> None:
    assert _names(_OLD, _report([800, 820, 810], [2000, 2010, 1990], cpu="y")) == ["W1"]
    assert _names(_OLD, _report([10, 10, 10], [20, 20, 20], cpu="y")) == []


def test_a_subject_that_fails_now_is_worse() -> None:
    row = {"understudy": Run(error="it hung"), "raw": Run({"per_s": 200.0})}
    new = Report(_MACHINE, "", 1, [Outcome(_question(), [row])])
    (found,) = regressions(_OLD, new)
    assert found.text == "understudy failed: it hung"


def test_a_question_that_was_not_asked_before_is_not_compared() -> None:
    new = Report(_MACHINE, "", 1, [Outcome(_question("W9"), _report([1], [1]).outcomes[0].rounds)])
    assert _names(_OLD, new) == []


def test_a_time_is_worse_when_it_is_longer() -> None:
    assert worse([10, 11, 12], [20, 21, 22], more_is_better=False) == "11.0 \u2192 21.0"
    assert worse([10, 11, 12], [5, 6, 7], more_is_better=False) == ""


def test_a_loss_within_five_percent_is_none() -> None:
    assert worse([100, 100, 100], [96, 96, 96], more_is_better=True) == ""
    assert worse([100, 100, 100], [94, 94, 94], more_is_better=True) != ""


def test_of_one_run_only_a_large_loss_counts() -> None:
    assert worse([100], [80], more_is_better=True) == ""
    assert worse([100], [70], more_is_better=True) == "100 \u2192 70.0"


def _written(folder: Path, name: str, report: Report) -> str:
    files.write(folder / name, report)
    return str(folder / name)


def test_reports_without_a_bench_in_common_cannot_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = _written(tmp_path, "old.json", _OLD)
    other = Report(_MACHINE, "", 1, [Outcome(_question("W9"), _OLD.outcomes[0].rounds)])
    new = _written(tmp_path, "new.json", other)
    assert main(["show", new, "--compare", old]) == BAD_INPUT
    said = capsys.readouterr().out
    assert "Nothing can be compared" in said
    assert "became worse" not in said


def test_a_run_whose_benches_the_old_report_does_not_have_is_not_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = _written(tmp_path, "old.json", _OLD)
    assert main(["run", "W7", "--peers", "none", "--compare", old]) == BAD_INPUT
    assert "old.json has none of these benches" in capsys.readouterr().err


def test_without_a_ratio_nothing_of_two_machines_can_be_compared(tmp_path: Path) -> None:
    alone = [Outcome(_question(), [{"understudy": Run({"per_s": 100.0})}])]
    old = _written(tmp_path, "old.json", Report(_MACHINE, "", 1, alone))
    for cpu, code in (("x", 0), ("y", BAD_INPUT)):
        new = _written(tmp_path, "new.json", Report({**_MACHINE, "cpu": cpu}, "", 1, alone))
        assert main(["show", new, "--compare", old]) == code


@pytest.mark.parametrize(
    ("name", "code"), [("understudy", FAILED), ("understudy-msgpack", FAILED), ("raw", 0)]
)
def test_the_exit_code_tells_of_a_contender_of_ours_that_failed(
    tmp_path: Path, name: str, code: int
) -> None:
    row = {"understudy": Run({"per_s": 1.0}), "raw": Run({"per_s": 1.0})}
    report = Report(_MACHINE, "", 1, [Outcome(_question(), [row | {name: Run(error="it hung")}])])
    assert main(["show", _written(tmp_path, "new.json", report)]) == code
