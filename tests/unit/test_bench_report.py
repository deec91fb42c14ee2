"""Reports as files, tables and pictures."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from bench import report as files
from bench.errors import BenchError
from bench.model import Outcome, Question, Report, Run
from bench.picture import svg
from bench.table import table


def _report(noise: float = 0.0) -> Report:
    question = Question(
        "W1", "tell <400 B>", "per_s", "messages/s", more_is_better=True, subject="understudy",
        goals={"xoscar": 14.0}, also=("sent_per_s",),
    )  # fmt: skip
    rows = [
        {
            "xoscar": Run({"per_s": 30_000.0 + number}),
            "understudy": Run({"per_s": 450_000.0, "sent_per_s": 5e5}, others_during=noise),
            "ray": Run(error="ray took more than 60 s and was ended"),
        }
        for number in range(3)
    ]
    curve = [
        Outcome(
            Question(f"depth@{x}", "fill", "per_s", "1/s", more_is_better=True, subject="us"),
            [{"us": Run({"per_s": 10.0 * x}), "pykka": Run({"per_s": 5.0})}],
        )
        for x in (1, 10, 100)
    ]
    return Report({"cpus": 2}, "python -m bench run", 7, [Outcome(question, rows), *curve])


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    files.write(tmp_path / "a.json", _report())
    assert files.read(tmp_path / "a.json") == _report()


@pytest.mark.parametrize("text", ["", "[]", '{"machine": 1}', "{", '{"outcomes": []}'])
def test_another_file_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchError, match=r"other\.json is no report of this harness"):
        files.read(path)


def test_a_report_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    files.write(path, _report())
    path.write_text(path.read_text("utf-8").replace('"format": 2', '"format": 1'), "utf-8")
    with pytest.raises(BenchError, match="has format 1"):
        files.read(path)


def test_a_missing_file_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"cannot read .*nothing\.json: No such file"):
        files.read(tmp_path / "nothing.json")
    with pytest.raises(BenchError, match="there is no folder"):
        files.check_writable(tmp_path / "no" / "a.json")


def test_the_table_has_values_ratios_goals_failures_and_points_of_curves() -> None:
    text = table(_report())
    assert "| understudy | 450k / **450k** / 450k (sent_per_s 500k) | 3 |  |" in text
    assert "| xoscar | 30.0k / **30.0k** / 30.0k | 3 | 15.0 / **15.0\u00d7** / 15.0 |" in text
    assert "| W1 | xoscar | \u2265 14.0\u00d7 | 15.0 | reached |" in text
    assert "| ray | failed | 0 |  |" in text
    assert "W1, ray: failed in 3 of 3 rounds: ray took more than 60 s" in text
    assert "| 100 | 1000 / **1000** / 1000 | 5.00 / **5.00** / 5.00 |" in text


def test_a_noisy_run_says_so() -> None:
    assert "The machine was quiet" in table(_report())
    assert "**This run was noisy**: in 3 of 6 rounds" in table(_report(noise=0.4))


def test_the_picture_is_well_formed_and_names_who_was_measured() -> None:
    root = ET.fromstring(svg(_report()))  # noqa: S314 - it was made above
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "W1: tell <400 B> (messages/s; more is better)" in texts
    assert {"understudy", "xoscar", "pykka"} <= set(texts)
    assert "ray" not in texts


def test_the_picture_of_a_report_in_which_all_failed_is_well_formed_too() -> None:
    question = Question("W1", "tell", "per_s", "1/s", more_is_better=True, subject="us")
    report = Report({}, "", 1, [Outcome(question, [{"us": Run(error="no")}])])
    assert ET.fromstring(svg(report)) is not None  # noqa: S314 - likewise
