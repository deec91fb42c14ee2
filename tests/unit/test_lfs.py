"""Pointers of git LFS stay pointers, byte for byte; no filter runs, and git-lfs is not needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.repositories import BRANCH, changed, commit_all, git, made, worked


def pointer(name: str) -> str:
    oid = name.encode().hex().ljust(64, "0")
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 9\n"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository of pointers, cloned without git-lfs; its own filter is a trap."""
    repo = made(tmp_path / "repo", a__bin=pointer("a"), b__bin=pointer("b"), c__bin=pointer("c"))
    (repo / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    commit_all(repo)
    for way in ("clean", "smudge", "process"):
        git(repo, "config", f"filter.lfs.{way}", f"touch {tmp_path}/sprung")
    git(repo, "config", "filter.lfs.required", "true")
    return repo


@pytest.mark.parametrize("committed", [False, True])
def test_pointers_go_through_workspace_commit_branch_and_merge(
    tmp_path: Path, repo: Path, committed: bool
) -> None:
    def change(work: Path) -> None:
        assert (work / "a.bin").read_text() == pointer("a")
        (work / "b.bin").rename(work / "moved.bin")
        (work / "c.bin").write_text(pointer("c2"))
        (work / "code.py").write_text("code\n")

    _, published = worked(tmp_path / "seat", repo, change, include_uncommitted=not committed)
    assert published.left_out == {}
    assert changed(repo) == ["D b.bin", "M c.bin", "A code.py", "A moved.bin"]
    for way in ("clean", "smudge", "process"):
        git(repo, "config", "--unset", f"filter.lfs.{way}")
    git(repo, "config", "filter.lfs.required", "false")
    git(repo, "merge", "-q", BRANCH)
    for name, text in {"a": "a", "moved": "b", "c": "c2"}.items():
        assert git(repo, "show", f"{BRANCH}:{name}.bin") + "\n" == pointer(text)
        assert (repo / f"{name}.bin").read_text() == pointer(text)
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_pointer_is_not_committed_in_a_pointer_s_place(
    tmp_path: Path, repo: Path
) -> None:
    (repo / "a.bin").write_text("real data, as git-lfs leaves it on disk\n")

    def change(work: Path) -> None:
        (work / "a.bin").rename(work / "moved.bin")
        (work / "c.bin").write_text("version https://git-lfs.github.com/spec/v1\nnot one\n")

    _, published = worked(tmp_path / "seat", repo, change)
    assert set(published.left_out) == {"c.bin", "moved.bin"}
    assert changed(repo) == ["D a.bin"]
    assert git(repo, "rev-list", "--count", BRANCH) == "3"
