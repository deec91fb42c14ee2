from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from understudy.actors.claude.trace import read_trace, transcript_size
from understudy.actors.claude.transcript_file import PROJECT_PARTS

SESSION = "s"


def user(text: str) -> dict[str, Any]:
    return {"type": "user", "message": {"role": "user", "content": text}}


def call(number: int) -> dict[str, Any]:
    block = {"type": "tool_use", "id": f"t{number}", "name": "Bash", "input": {"n": number}}
    return {"type": "assistant", "message": {"content": [block]}}


def answered(number: int) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": f"t{number}", "content": "ok"}
    return {"type": "user", "message": {"content": [block]}}


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    path = tmp_path.joinpath(*PROJECT_PARTS) / f"{SESSION}.jsonl"
    path.parent.mkdir(parents=True)
    return path


def write(path: Path, *records: dict[str, Any]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_calls_without_a_result_were_in_flight(tmp_path: Path, transcript: Path) -> None:
    write(transcript, user("do it"), call(1), answered(1), call(2))
    trace = read_trace(tmp_path, SESSION)
    assert trace is not None
    assert (trace.prompted, trace.in_flight) == (True, ('Bash {"n": 2}',))


def test_what_comes_before_the_start_is_not_counted(tmp_path: Path, transcript: Path) -> None:
    write(transcript, user("an earlier task"), call(1))
    start = transcript_size(tmp_path, SESSION)
    trace = read_trace(tmp_path, SESSION, start=start)
    assert trace is not None
    assert not trace.prompted


def test_a_half_written_last_line_is_left_out(tmp_path: Path, transcript: Path) -> None:
    write(transcript, user("do it"))
    with transcript.open("a") as file:
        file.write('{"type":"assistant","mess')
    trace = read_trace(tmp_path, SESSION)
    assert trace is not None
    assert trace.prompted


@pytest.mark.parametrize("where", ["file", "folder"])
def test_no_link_in_the_home_is_followed(tmp_path: Path, transcript: Path, where: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    write(outside / f"{SESSION}.jsonl", user("a secret of the host"))
    if where == "file":
        transcript.symlink_to(outside / f"{SESSION}.jsonl")
    else:
        transcript.parent.rmdir()
        transcript.parent.symlink_to(outside)
    assert read_trace(tmp_path, SESSION) is None
    assert transcript_size(tmp_path, SESSION) == 0
