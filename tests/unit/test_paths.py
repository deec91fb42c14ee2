from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from understudy.actors.errors import UnsafeDirectory
from understudy.actors.paths import cache_dir, run_root, state_dir

if TYPE_CHECKING:
    from pathlib import Path


def test_the_xdg_variables_are_followed(tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "c"), "XDG_STATE_HOME": str(tmp_path / "s")}
    assert cache_dir(env) == tmp_path / "c" / "understudy"
    assert state_dir(env) == tmp_path / "s" / "understudy"
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("given", [{}, {"XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "relative"}])
def test_without_a_usable_variable_the_home_is_taken(given: dict[str, str]) -> None:
    env = {"HOME": "/home/me", **given}
    assert str(cache_dir(env)) == "/home/me/.cache/understudy"
    assert str(state_dir(env)) == "/home/me/.local/state/understudy"


def test_the_folder_for_sockets_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = run_root({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert path == tmp_path / "understudy"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert run_root({"XDG_RUNTIME_DIR": str(tmp_path)}) == path


@pytest.mark.parametrize("given", [{}, {"XDG_RUNTIME_DIR": "/nowhere/at/all"}])
def test_without_a_runtime_folder_it_is_below_tmp_with_the_users_number(
    given: dict[str, str],
) -> None:
    path = run_root(given)
    assert str(path) == f"/tmp/understudy-{os.geteuid()}"
    assert path.stat().st_uid == os.geteuid()


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "understudy").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeDirectory, match="is not a folder"):
        run_root({"XDG_RUNTIME_DIR": str(tmp_path)})


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "understudy").mkdir()
    (tmp_path / "understudy").chmod(mode)
    with pytest.raises(UnsafeDirectory, match=f"{mode:04o}"):
        run_root({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = os.getuid() + 1
    monkeypatch.setattr("os.geteuid", lambda: stranger)
    with pytest.raises(UnsafeDirectory, match="belongs to user"):
        run_root({"XDG_RUNTIME_DIR": str(tmp_path)})
