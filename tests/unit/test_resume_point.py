"""The transcript's pointer, on transcripts made here; a container test has the real CLIs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from understudy.actors.claude.resume_point import move_forward
from understudy.actors.claude.transcript_file import PROJECT_PARTS
from understudy.actors.places import Places
from understudy.actors.saving import Saving
from understudy.actors.taking_up import take_up
from understudy.actors.tasks.rows import Conversation
from understudy.actors.tasks.task import Task
from understudy.actors.workspace import Workspace

SESSION = "11111111-2222-3333-4444-555555555555"


def message(uuid: str, parent: str | None, kind: str = "user", **fields: object) -> dict[str, Any]:
    said = {"message": {"role": kind, "content": f"said {uuid}"}} if kind != "system" else {}
    return {"type": kind, "uuid": uuid, "parentUuid": parent, **said, **fields}


def pointer(leaf: str) -> dict[str, Any]:
    return {"type": "last-prompt", "lastPrompt": "do it", "leafUuid": leaf, "sessionId": SESSION}


# Killed in a try of the API, which `e` tells of; the next CLI went on from `b`, and was killed too.
LAGS = [
    message("a", None),
    message("b", "a", "assistant"),
    message("e", "b", "system", subtype="api_error"),
    pointer("e"),
    message("c", "b"),
    message("d", "c", "assistant"),
]


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    path = tmp_path.joinpath(*PROJECT_PARTS) / f"{SESSION}.jsonl"
    path.parent.mkdir(parents=True)
    return path


def text(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)


def test_a_pointer_to_another_branch_is_moved_to_the_newest_message(
    tmp_path: Path, transcript: Path
) -> None:
    transcript.write_text(text(*LAGS))
    assert move_forward(tmp_path, SESSION)
    # Byte by byte as it was, and a line in the shape that the CLI gives it.
    assert transcript.read_text() == text(*LAGS, pointer("d"))
    assert not move_forward(tmp_path, SESSION)


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([message("a", None)], id="no pointer"),
        pytest.param([message("a", None), pointer("a")], id="at the newest"),
        pytest.param([message("a", None), pointer("a"), message("b", "a")], id="above it"),
        pytest.param(LAGS[:4], id="at a try that failed, and nothing came since"),
        pytest.param([*LAGS, pointer("not there")], id="at nothing"),
        pytest.param([*LAGS[:4], message("x", "b", isSidechain=True)], id="a subagent's message"),
        pytest.param([*LAGS[:4], {"type": "mode", "uuid": 7}, {"type": "user"}], id="no messages"),
    ],
)
def test_any_other_transcript_stays_as_it_is(
    tmp_path: Path, transcript: Path, records: list[dict[str, Any]]
) -> None:
    transcript.write_text(text(*records))
    assert not move_forward(tmp_path, SESSION)
    assert transcript.read_text() == text(*records)


def test_a_half_written_last_line_is_ended_and_counts_for_nothing(
    tmp_path: Path, transcript: Path
) -> None:
    half = '{"parentUuid":"d","uuid":"h","type":"us'
    transcript.write_text(text(*LAGS) + half)
    assert move_forward(tmp_path, SESSION)
    assert transcript.read_text() == f"{text(*LAGS)}{half}\n{text(pointer('d'))}"


def test_messages_that_follow_each_other_in_a_ring_are_no_trap(
    tmp_path: Path, transcript: Path
) -> None:
    ring = [message("a", "b"), message("b", "a"), pointer("a"), message("c", "d")]
    transcript.write_text(text(*ring, message("d", "c")))
    assert move_forward(tmp_path, SESSION)


@pytest.mark.parametrize("where", ["file", "folder", "pipe"])
def test_nothing_is_written_through_what_the_workload_put_there(
    tmp_path: Path, transcript: Path, where: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    theirs = outside / f"{SESSION}.jsonl"
    theirs.write_text(text(*LAGS))
    if where == "file":
        transcript.symlink_to(theirs)
    elif where == "pipe":
        os.mkfifo(transcript)
    else:
        transcript.parent.rmdir()
        transcript.parent.symlink_to(outside)
    assert not move_forward(tmp_path, SESSION)
    assert theirs.read_text() == text(*LAGS)


@pytest.mark.parametrize("is_later_task", [False, True])
def test_whoever_takes_a_conversation_up_moves_it(tmp_path: Path, is_later_task: bool) -> None:
    places = Places(tmp_path, {})
    conversation = Conversation(SESSION, Conversation.new().place)
    workspace = Workspace(places.live(conversation.place))
    workspace.create()
    transcript = workspace.home_dir.joinpath(*PROJECT_PARTS) / f"{SESSION}.jsonl"
    transcript.parent.mkdir(parents=True)
    transcript.write_text(text(*LAGS))
    task = Task(description="x", context_id=SESSION if is_later_task else None)
    if not is_later_task:
        workspace.mark(task.task_id, 0)
    opened = take_up(places, conversation, task, Workspace, None, Saving(tmp_path, 0, 0))
    assert opened.resumes
    assert transcript.read_text() == text(*LAGS, pointer("d"))
