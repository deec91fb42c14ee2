"""Whether a home is clean for the next task, on homes made by the test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from understudy.actors.claude.errors import ClaudeUnresponsive
from understudy.actors.claude.transcript import leftovers, settle_and_archive

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "11111111-aaaa", "22222222-bbbb"
SAID = json.dumps({"type": "user", "message": {"role": "user", "content": "SECRET"}}) + "\n"
TAKEN = "".join(
    json.dumps({"type": "queue-operation", **fields}) + "\n"
    for fields in ({"operation": "enqueue", "content": "/clear"}, {"operation": "dequeue"})
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home as the CLI leaves it after a turn and a `/clear`."""
    home = tmp_path / "home"
    state = {"firstStartTime": "now", "projects": {"/work": {"lastCost": 1, "lastSessionId": OLD}}}
    write(home / ".claude.json", json.dumps(state))
    write(home / ".claude/backups/.claude.json.backup.17", "{}")
    write(home / ".claude/sessions/6.json", json.dumps({"pid": 6, "sessionId": NEW}))
    write(home / ".claude/.last-cleanup", "2026-11-22T18:55:43.093Z\n")
    write(project(home) / f"{OLD}.jsonl", SAID + TAKEN)
    write(project(home) / f"{NEW}.jsonl", "{}\n")
    return home


def project(home: Path) -> Path:
    return home / ".claude/projects/-work"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def archive(home: Path, timeout_s: float = 0.0) -> Path | None:
    return settle_and_archive(home, OLD, home.parent / "archive", timeout_s)


def test_a_cleared_conversation_is_moved_out_whole(home: Path) -> None:
    write(project(home) / OLD / "tool-results/t.txt", "SECRET")
    kept = archive(home)
    assert kept is not None
    assert kept.read_text() == SAID + TAKEN
    assert (home.parent / "archive" / OLD / "tool-results/t.txt").exists()
    assert leftovers(home, NEW) == []


def test_a_home_with_the_old_transcript_is_not_clean(home: Path) -> None:
    assert leftovers(home, NEW) == [project(home) / f"{OLD}.jsonl"]


def test_the_end_of_the_transcript_is_waited_for(home: Path) -> None:
    transcript = project(home) / f"{OLD}.jsonl"
    transcript.write_text(SAID)
    steps = iter([SAID, SAID + TAKEN[:30], SAID + TAKEN])

    def write_more(seconds: float) -> None:
        assert seconds < 0.01
        transcript.write_text(next(steps))

    kept = settle_and_archive(home, OLD, home.parent / "archive", 9.0, sleep=write_more)
    assert kept is not None
    assert kept.read_text() == SAID + TAKEN


def test_an_unfinished_transcript_is_left_where_it_is(home: Path) -> None:
    (project(home) / f"{OLD}.jsonl").write_text(SAID)
    with pytest.raises(ClaudeUnresponsive, match="finish its transcript"):
        archive(home)
    assert (project(home) / f"{OLD}.jsonl").exists()


def test_a_prompt_that_speaks_of_clear_is_not_taken_for_the_end(home: Path) -> None:
    fake = json.dumps({"type": "user", "content": "/clear", "text": TAKEN})
    (project(home) / f"{OLD}.jsonl").write_text(SAID + fake + "\n")
    with pytest.raises(ClaudeUnresponsive):
        archive(home)


def test_a_conversation_without_a_transcript_has_nothing_to_move(home: Path) -> None:
    (project(home) / f"{OLD}.jsonl").unlink()
    assert archive(home) is None


@pytest.mark.parametrize(
    "name",
    [
        "note.txt",
        ".claude/projects/-work/memory/MEMORY.md",
        f".claude/projects/-work/{OLD}/tool-results/t.txt",
        ".claude/projects/-tmp/x.jsonl",
        ".claude/history.jsonl",
        ".claude/todos/t.json",
        ".claude/shell-snapshots/s.sh",
        ".claude/file-history/f",
        ".claude/CLAUDE.md",
        ".claude/settings.json",
    ],
)
def test_any_file_that_the_cli_is_not_known_to_need_is_a_leftover(home: Path, name: str) -> None:
    archive(home)
    write(home / name, "{}")
    assert home / name in leftovers(home, NEW)


@pytest.mark.parametrize(
    "state",
    [
        '{"history": ["SECRET"]}',
        '{"projects": {"/work": {"lastPrompt": "SECRET"}}}',
        '{"projects": {"/work": {"exampleFiles": ["secret.py"]}}}',
        '{"half": ',
    ],
)
def test_a_text_in_the_state_file_is_a_leftover(home: Path, state: str) -> None:
    archive(home)
    (home / ".claude.json").write_text(state)
    assert leftovers(home, NEW) == [home / ".claude.json"]


def test_a_text_in_the_time_stamp_is_a_leftover(home: Path) -> None:
    archive(home)
    (home / ".claude/.last-cleanup").write_text("SECRET")
    assert leftovers(home, NEW) == [home / ".claude/.last-cleanup"]


def test_a_link_is_a_leftover_and_is_not_followed(home: Path) -> None:
    archive(home)
    (home / ".claude/plugins").symlink_to("/proc/1")
    assert leftovers(home, NEW) == [home / ".claude/plugins"]


def test_a_state_file_that_is_being_rewritten_is_waited_for(home: Path) -> None:
    archive(home)
    lock, half = home / ".claude.json.lock", home / ".claude.json.tmp.6.f65263b5caf8"
    lock.mkdir()
    half.write_text('{"half": ')

    def finish(seconds: float) -> None:
        assert seconds < 0.01
        lock.rmdir()
        half.rename(home / ".claude.json")

    assert leftovers(home, NEW, sleep=finish) == [home / ".claude.json"]


def test_a_rewrite_that_never_ends_is_a_leftover(home: Path) -> None:
    archive(home)
    (home / ".claude.json.lock").mkdir()
    times = iter(range(100))
    left = leftovers(home, NEW, clock=lambda: next(times), sleep=lambda _: None)
    assert left == [home / ".claude.json.lock"]
