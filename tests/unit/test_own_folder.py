"""The folder of a system: a later one of the same user removes it, when its root is dead."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.supervision.own_folder import LOCK_NAME, OwnFolder, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path)
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith("us-")] == []


def leave_dead(parent: str, name: str) -> Path:
    """As a killed root leaves it."""
    folder = Path(parent, name)
    folder.mkdir(mode=0o700)
    (folder / LOCK_NAME).touch()
    (folder / "root.sock").touch()
    return folder


def test_it_is_for_this_user_alone_and_gone_at_the_end(parent: str) -> None:
    folder = OwnFolder(parent)
    assert Path(folder.path).stat().st_mode & 0o777 == 0o700
    folder.remove()
    folder.remove()
    assert not Path(folder.path).exists()


def test_what_a_dead_root_left_is_removed_by_the_next(parent: str) -> None:
    dead = leave_dead(parent, "us-dead")
    OwnFolder(parent).remove()
    assert not dead.exists()


def test_the_folder_of_the_living_is_not_swept(parent: str) -> None:
    first = OwnFolder(parent)
    second = OwnFolder(parent)
    sweep(parent)
    assert Path(first.path).is_dir()
    assert Path(second.path).is_dir()
    first.remove()
    second.remove()


def test_what_is_not_known_as_a_systems_folder_stays(tmp_path: Path) -> None:
    strange = tmp_path / "us-strange"
    strange.mkdir()
    (strange / "letter").touch()
    other = leave_dead(str(tmp_path), "them-dead")
    (tmp_path / "us-file").touch()
    elsewhere = leave_dead(str(tmp_path), "elsewhere")
    (tmp_path / "us-link").symlink_to(elsewhere)
    locked_by_link = tmp_path / "us-lock-is-a-link"
    locked_by_link.mkdir()
    (locked_by_link / LOCK_NAME).symlink_to(elsewhere / LOCK_NAME)
    sweep(str(tmp_path))
    for left in (strange / "letter", other, tmp_path / "us-file", elsewhere, locked_by_link):
        assert left.exists()


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(
    parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = fcntl.flock, list[str]()

    def swept_first(fd: int, operation: int) -> None:
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        if not swept:
            swept.append(path)
            sweep(parent)
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", swept_first)
    folder = OwnFolder(parent)
    assert not Path(swept[0]).exists()
    assert Path(folder.path, LOCK_NAME).exists()
    folder.remove()
