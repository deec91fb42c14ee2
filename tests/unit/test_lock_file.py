from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from understudy.actors.housekeeping import take_lock
from understudy.actors.lock_file import try_lock
from understudy.transport.path_lock import is_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def before_flock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something happen between the open and the lock, each time."""

    def arrange(what: Callable[[], object]) -> None:
        flock = fcntl.flock

        def held_up(fd: int, operation: int) -> None:
            what()
            flock(fd, operation)

        monkeypatch.setattr(fcntl, "flock", held_up)

    return arrange


def test_a_free_file_is_locked_and_one_that_is_held_is_not(tmp_path: Path) -> None:
    first, got_first = try_lock(tmp_path / "lock")
    second, got_second = try_lock(tmp_path / "lock")
    assert (got_first, got_second) == (True, False)
    os.close(first)
    third, got_third = try_lock(tmp_path / "lock")
    assert got_third
    for fd in (second, third):
        assert not os.get_inheritable(fd)
        os.close(fd)


def test_a_file_that_is_removed_before_it_is_locked_is_opened_again(
    tmp_path: Path, before_flock: Callable[[Callable[[], object]], None]
) -> None:
    path = tmp_path / "lock"
    looks = iter(range(10))

    def remove_twice() -> None:
        if next(looks) < 2:
            path.unlink()

    before_flock(remove_twice)
    fd, is_locked = try_lock(path)
    assert is_locked
    assert is_at(fd, path)
    os.close(fd)


def test_a_file_that_is_removed_each_time_is_not_locked(
    tmp_path: Path, before_flock: Callable[[Callable[[], object]], None]
) -> None:
    path = tmp_path / "lock"
    before_flock(path.unlink)
    fd, is_locked = try_lock(path)
    os.close(fd)
    assert not is_locked


def test_a_run_whose_folder_is_swept_away_before_it_has_its_lock_does_not_go_on_without(
    tmp_path: Path, before_flock: Callable[[Callable[[], object]], None]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()

    def sweep_away() -> None:
        (folder / "lock").unlink()
        folder.rmdir()

    before_flock(sweep_away)
    with pytest.raises(FileNotFoundError):
        take_lock(folder / "lock")
