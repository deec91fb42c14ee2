"""Work in progress is copied at intervals, and before its folder is given up."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from understudy.actors import diffing
from understudy.actors.diffing import SavingStopped
from understudy.actors.places import Places
from understudy.actors.saved_copies import SavedCopies
from understudy.actors.saving import Saving, pause_s
from understudy.actors.taking_up import take_up
from understudy.actors.tasks.rows import Conversation
from understudy.actors.tasks.task import Task
from understudy.actors.untrusted_tree import TreeFile
from understudy.actors.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with a, b and sub/c, whose task has begun."""
    return begun(tmp_path / "seat", tmp_path)


@pytest.fixture
def copies(tmp_path: Path) -> SavedCopies:
    (tmp_path / "saved").mkdir()
    return SavedCopies(tmp_path / "saved", "t", max_bytes=100_000)


def begun(root: Path, tmp_path: Path) -> Workspace:
    repo = tmp_path / "repo"
    (repo / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        (repo / name).write_text("1\n")
    workspace = Workspace(root)
    workspace.create()
    workspace.stage(Task(task_id="t", repo=str(repo)))
    workspace.baseline()
    workspace.mark("t", 0)
    return workspace


def saved(workspace: Workspace, tmp_path: Path) -> str | None:
    with (tmp_path / "patch").open("w+b") as file:
        is_new = workspace.save(file)
        file.seek(0)
        return file.read().decode() if is_new else None


def test_a_copy_is_a_patch_of_all_that_has_changed(workspace: Workspace, tmp_path: Path) -> None:
    work = workspace.work_dir
    assert saved(workspace, tmp_path) is None
    (work / "a").write_text("2\n")
    (work / "b").unlink()
    (work / "binary").write_bytes(bytes(range(256)) * 10)
    (work / "link").symlink_to("/etc/passwd")
    (work / "sub" / "c").chmod(0o755)
    workspace.leave("answer", "no work")
    patch = saved(workspace, tmp_path)
    assert patch is not None
    subprocess.run(["git", "apply"], cwd=tmp_path / "repo", input=patch.encode(), check=True)
    repo = tmp_path / "repo"
    names = {path.relative_to(repo) for path in repo.rglob("*") if path.name != "repo"}
    assert {str(name) for name in names} == {"a", "binary", "link", "sub", "sub/c"}
    assert (repo / "a").read_text() == "2\n"
    assert (repo / "binary").read_bytes() == bytes(range(256)) * 10
    assert os.access(repo / "sub" / "c", os.X_OK)
    assert saved(workspace, tmp_path) is None  # nothing is new
    assert patch == workspace.diff().text  # and the end is the same


def test_what_looks_as_at_the_beginning_is_not_read(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    write_file = diffing._write_file  # pyright: ignore[reportPrivateUsage]

    def spy(to: IO[bytes], item: TreeFile) -> None:
        read.append(item.path)
        write_file(to, item)

    monkeypatch.setattr(diffing, "_write_file", spy)
    before = (workspace.work_dir / "a").stat()
    (workspace.work_dir / "a").write_text("2\n")
    # The time of the last change cannot be put back, only the other one.
    os.utime(workspace.work_dir / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "+2" in (saved(workspace, tmp_path) or "")
    assert read == [b"a"]
    again = Workspace(workspace.root)
    again.take_up()
    assert "+2" in (saved(again, tmp_path) or "")
    assert sorted(read[1:]) == [b"a", b"b", b"sub/c"]  # another process does not know yet
    (workspace.work_dir / "b").write_text("3\n")
    assert "+3" in (saved(again, tmp_path) or "")
    assert read[4:] == [b"a", b"b"]


def test_saving_ends_when_its_task_does(workspace: Workspace, tmp_path: Path) -> None:
    (workspace.work_dir / "a").write_text("2\n")
    with (tmp_path / "patch").open("wb") as file, pytest.raises(SavingStopped):
        workspace.save(file, lambda: True)


def patch(**files: str | None) -> Callable[[IO[bytes]], bool]:
    """Writes a patch that leaves these contents; None is a file that is gone."""

    def write(file: IO[bytes]) -> bool:
        for name, text in files.items():
            kind = "deleted" if text is None else "new"
            lines = f"diff --git a/{name} b/{name}\n{kind} file mode 100644\n{text}\n"
            file.write(lines.encode())
        return True

    return write


def test_a_newer_copy_takes_the_place_of_one_that_it_covers(copies: SavedCopies) -> None:
    copies.add(patch(a="1"))
    copies.add(patch(a="2", b="1"))
    (one,) = copies.files()
    assert "2" in one.read_text()
    assert not copies.add(lambda _: False)
    assert copies.files() == [one]


@pytest.mark.parametrize("after", [{"b": "2"}, {"a": None, "b": "2"}])
def test_what_was_undone_or_removed_stays_in_the_copy_before(
    copies: SavedCopies, after: dict[str, str | None]
) -> None:
    copies.add(patch(a="1", b="1"))
    copies.add(patch(**after))
    copies.add(patch(b="3"))
    newest, before = copies.files()
    assert "3" in newest.read_text()
    assert "diff --git a/a b/a\nnew" in before.read_text()


def test_of_too_many_those_go_first_that_lose_least(copies: SavedCopies) -> None:
    copies.add(patch(**{f"work{number}": "1" for number in range(20)}))
    for number in range(20):
        copies.add(patch(**{f"temporary{number}": "1"}))
    assert len(copies.files()) == 5
    assert "work19" in copies.files()[-1].read_text()
    assert "temporary19" in copies.files()[0].read_text()


def test_copies_are_bounded_in_bytes_and_the_newest_stays(copies: SavedCopies) -> None:
    for name in "abc":
        copies.add(patch(**{name: name * 40_000}))
    assert ["ccc" in copies.files()[0].read_text(), len(copies.files())] == [True, 2]
    assert not copies.add(patch(d="d" * 100_001))
    assert len(copies.files()) == 2


def test_copies_are_told_apart_by_task(copies: SavedCopies, tmp_path: Path) -> None:
    other = SavedCopies(tmp_path / "saved", "t.1", max_bytes=1000)
    other.add(patch(a="other"))
    copies.add(patch(a="1"))
    copies.remove()
    assert (copies.files(), len(other.files())) == ([], 1)


def until(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_it_is_done_at_intervals_while_a_task_runs(
    workspace: Workspace, copies: SavedCopies, tmp_path: Path
) -> None:
    saving = Saving(tmp_path / "saved", 0.01, 100_000)
    with saving.during(workspace, "t"):
        (workspace.work_dir / "made").write_text("mine\n")
        until(copies.files)
        (workspace.work_dir / "made").unlink()
        (workspace.work_dir / "other").write_text("mine\n")
        until(lambda: len(copies.files()) == 2)
    assert "b/made" in copies.files()[1].read_text()
    assert not list((tmp_path / "saved").glob(".*"))


def test_zero_is_never(workspace: Workspace, tmp_path: Path) -> None:
    with Saving(tmp_path / "nowhere", 0, 1).during(workspace, "t"):
        pass


def test_what_cannot_be_saved_does_not_disturb_the_task(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (workspace.work_dir / "a").write_text("2\n")
    with caplog.at_level(logging.WARNING):
        assert not Saving(tmp_path / "nowhere", 1, 1).save(workspace, "t")
    assert "not saved" in caplog.text


def test_saving_takes_at_most_a_twentieth_of_the_time() -> None:
    assert pause_s(30.0, 1.0) == 30.0
    assert pause_s(30.0, 10.0) == 190.0


@pytest.mark.parametrize("damaged", [False, True])
def test_a_place_that_cannot_be_gone_on_with_is_saved_before_it_is_emptied(
    tmp_path: Path, copies: SavedCopies, damaged: bool
) -> None:
    conversation, places = Conversation.new(), Places(tmp_path / "conversations", {})
    left = begun(places.live(conversation.place), tmp_path)
    (left.work_dir / "made").write_text("mine\n")
    if damaged:
        (left.root / "source.json").write_text("{")
        (left.root / "baseline.git" / "HEAD").unlink()
    saving = Saving(tmp_path / "saved", 30.0, 100_000)
    opened = take_up(places, conversation, Task(task_id="t"), Workspace, None, saving)
    assert opened.trace is None
    assert not list(opened.workspace.work_dir.iterdir())
    assert ["+mine" in file.read_text() for file in copies.files()] == ([] if damaged else [True])
