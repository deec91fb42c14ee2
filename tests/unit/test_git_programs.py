"""Which programs git runs when a task's work is taken over."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from understudy.actors.repository.origin import find_origin
from understudy.actors.repository.programs import without_programs_of


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a user with a home, and a configuration there."""
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture
def repo(tmp_path: Path, env: dict[str, str]) -> Path:
    made = tmp_path / "repo"
    made.mkdir()
    git(made, env, "init", "-q")
    (made / ".gitattributes").write_text("*.txt filter=f merge=m\n")
    (made / "a.txt").write_text("one\ntwo\nthree\n")
    commit(made, env)
    return made


def git(repo: Path, env: dict[str, str], *arguments: str, may: int = 0) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments],
        cwd=repo, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in (0, may), done.stderr
    return done.stdout


def configure(repo: Path, text: str) -> None:
    with (repo / ".git/config").open("a") as config:
        config.write(text)


def commit(repo: Path, env: dict[str, str]) -> None:
    git(repo, env, "add", "-A")
    git(repo, env, "commit", "-qm", "x")


def test_a_filter_of_the_repository_is_not_run_and_one_of_the_user_is(
    repo: Path, env: dict[str, str]
) -> None:
    configure(repo, '[filter "f"]\n\tsmudge = echo evil\n\trequired\n')
    (repo / "a.txt").unlink()
    git(repo, without_programs_of(repo, env), "checkout-index", "-f", "a.txt")
    assert (repo / "a.txt").read_text() == "one\ntwo\nthree\n"
    (repo / "a.txt").unlink()
    Path(env["HOME"], ".gitconfig").write_text('[filter "f"]\n\tsmudge = tr a-z A-Z\n')
    git(repo, without_programs_of(repo, env), "checkout-index", "-f", "a.txt")
    assert (repo / "a.txt").read_text() == "ONE\nTWO\nTHREE\n"


@pytest.mark.parametrize("name", ["a=b", "with space", "\u00e4", 'quo"te'])
def test_no_name_of_a_filter_escapes(repo: Path, env: dict[str, str], name: str) -> None:
    git(repo, env, "config", f"filter.{name}.smudge", "echo evil")
    safe = without_programs_of(repo, env)
    assert git(repo, safe, "config", f"filter.{name}.smudge") == "\n"


@pytest.mark.parametrize(("theirs", "code", "merged"), [("THREE", 0, True), ("zwei", 1, False)])
def test_instead_of_a_merge_driver_of_the_repository_git_merges_text(
    repo: Path, env: dict[str, str], theirs: str, code: int, merged: bool
) -> None:
    configure(repo, '[merge "m"]\n\tdriver = touch sprung\n')
    git(repo, env, "checkout", "-qb", "other")
    line = "three" if merged else "two"
    (repo / "a.txt").write_text("one\ntwo\nthree\n".replace(line, theirs))
    commit(repo, env)
    git(repo, env, "checkout", "-q", "-")
    (repo / "a.txt").write_text("ONE\ntwo\nthree\n" if merged else "one\ndeux\nthree\n")
    commit(repo, env)
    git(repo, without_programs_of(repo, env), "merge", "--no-edit", "other", may=code)
    assert not (repo / "sprung").exists()
    text = (repo / "a.txt").read_text()
    assert (text == "ONE\ntwo\nTHREE\n") is merged
    assert ("<<<<<<<" in text) is not merged


def test_a_repository_whose_files_lie_elsewhere_is_none(
    repo: Path, env: dict[str, str], tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert find_origin(repo) is not None
    git(repo, env, "config", "core.worktree", str(elsewhere))
    assert find_origin(repo) is None
    git(repo, env, "config", "core.worktree", "..")  # from .git: the usual place
    assert find_origin(repo) is not None
