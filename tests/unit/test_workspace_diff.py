"""The diff of a workspace: whole, applicable, and never led astray by what the workspace holds."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from understudy.actors.diffing import Baseline, _deletions  # pyright: ignore[reportPrivateUsage]
from understudy.actors.untrusted_tree import MAX_DEPTH, LeftOut, empty_folder
from understudy.actors.workspace import Diff, Workspace, WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# What must never be read.
CANARY = "canary-7c1f-of-the-host"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "seat")
    made.create()
    return made


def git(folder: Path, *arguments: str, text: str | None = None) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments],
        cwd=folder,
        env=env,
        input=text.encode() if text is not None else None,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode()


def changed(workspace: Workspace, change: Callable[[Path], object]) -> Diff:
    workspace.baseline()
    change(workspace.work_dir)
    return workspace.diff()


def tree(folder: Path) -> dict[str, tuple[bool, bytes]]:
    """All files: path, whether executable, content (of a link: where it points)."""
    found: dict[str, tuple[bool, bytes]] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = (False, os.fsencode(path.readlink()))
        elif path.is_file():
            found[name] = (bool(path.stat().st_mode & 0o100), path.read_bytes())
    return found


def test_nothing_changed_is_an_empty_diff(workspace: Workspace) -> None:
    (workspace.work_dir / "a.py").write_text("a = 1\n")
    assert changed(workspace, lambda _: None) == Diff()


def test_a_diff_without_a_baseline_is_refused(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="no baseline"):
        workspace.diff()


def test_the_diff_carries_every_kind_of_change_to_another_copy(
    workspace: Workspace, tmp_path: Path
) -> None:
    work, copy = workspace.work_dir, tmp_path / "copy"
    (work / "sub").mkdir()
    (work / "sub" / "edited.py").write_text("one\ntwo\nthree\n")
    (work / "deleted.txt").write_text("x\n")
    (work / "run.sh").write_text("#!/bin/sh\n")
    (work / "picture.bin").write_bytes(bytes(range(256)))
    (work / "latin.txt").write_bytes("gr\xfcn\n".encode("latin-1"))
    (work / "file-to-folder").write_text("f\n")
    (work / "no-newline").write_text("end")
    (work / "bom.txt").write_bytes(b"\xef\xbb\xbfb\r\n")
    subprocess.run(["cp", "-a", work, copy], check=True)

    def change(work: Path) -> None:
        (work / "sub" / "edited.py").write_text("one\n2\nthree\n")
        (work / "deleted.txt").unlink()
        (work / "run.sh").chmod(0o755)
        (work / "picture.bin").write_bytes(bytes(reversed(range(256))))
        (work / "latin.txt").write_bytes("gr\xfcner\n".encode("latin-1"))
        (work / "file-to-folder").unlink()
        (work / "file-to-folder").mkdir()
        (work / "file-to-folder" / "inner").write_text("i\n")
        (work / "no-newline").write_text("end\nmore")
        (work / "bom.txt").write_bytes(b"\xef\xbb\xbfc\r\n")
        (work / "empty").touch()
        (work / "link").symlink_to("run.sh")
        (work / 'a "b"\n\tü*[x].txt').write_text("odd name\n")
        (work / "sub" / "new.bin").write_bytes(b"\0\1\2")

    diff = changed(workspace, change)
    git(copy, "init", "-q")
    git(copy, "apply", "--whitespace=nowarn", text=diff.text)
    subprocess.run(["rm", "-rf", copy / ".git"], check=True)
    assert tree(copy) == tree(work)
    assert not diff.truncated
    assert {"sub/edited.py", "deleted.txt", 'a "b"\n\tü*[x].txt'} <= set(diff.files_changed)
    assert "--- a/sub/edited.py" in diff.text
    assert "+++ b/sub/edited.py" in diff.text


def test_the_diff_may_be_taken_again_after_more_work(workspace: Workspace) -> None:
    changed(workspace, lambda work: (work / "first").write_text("1\n"))
    (workspace.work_dir / "first").unlink()
    (workspace.work_dir / "second").write_text("2\n")
    assert workspace.diff().files_changed == ["second"]


def test_a_git_folder_of_the_workspace_runs_nothing_and_is_no_part_of_the_diff(
    workspace: Workspace, tmp_path: Path
) -> None:
    trap = tmp_path / "sprung"

    def change(work: Path) -> None:
        for folder in (work, work / "nested", work / "deep" / "er"):
            folder.mkdir(parents=True, exist_ok=True)
            git(folder, "init", "-q")
            (folder / "code.py").write_text("x = 1\n")
            git(folder, "add", "code.py")
            git(folder, "commit", "-q", "-m", "x")
            (folder / "code.py").write_text("x = 2\n")
            for hook in ("post-index-change", "reference-transaction", "pre-commit", "post-commit"):
                path = folder / ".git" / "hooks" / hook
                path.parent.mkdir(exist_ok=True)
                path.write_text(f"#!/bin/sh\ntouch {trap}\n")
                path.chmod(0o755)
            with (folder / ".git" / "config").open("a") as config:
                for key in ("fsmonitor", "sshCommand", "pager", "editor"):
                    config.write(f"[core]\n\t{key} = touch {trap}\n")
                config.write(f"[diff]\n\texternal = touch {trap}\n")
                config.write(f'[filter "evil"]\n\tclean = touch {trap}\n\tsmudge = touch {trap}\n')
                config.write(f'[diff "evil"]\n\ttextconv = touch {trap}\n')
            (folder / ".gitattributes").write_text("* filter=evil diff=evil\n")

    diff = changed(workspace, change)
    assert not trap.exists()
    assert diff.files_changed == [
        ".gitattributes",
        "code.py",
        "deep/er/.gitattributes",
        "deep/er/code.py",
        "nested/.gitattributes",
        "nested/code.py",
    ]
    # The trap is one: git itself, let into the workspace, springs it.
    subprocess.run(["git", "status"], cwd=workspace.work_dir, check=False, capture_output=True)
    assert trap.exists()


def test_configuration_and_variables_of_the_user_have_no_effect(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "sprung"
    hook = tmp_path / "hooks" / "reference-transaction"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {trap}\n")
    hook.chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(
        f"[core]\n\tattributesFile = {tmp_path}/attributes\n\tquotePath = false\n"
        f"\thooksPath = {hook.parent}\n"
        f'[diff]\n\texternal = touch {trap}\n\tnoprefix = true\n[diff "evil"]\n'
        f"\ttextconv = touch {trap}\n[color]\n\tui = always\n"
    )
    (tmp_path / "attributes").write_text("* diff=evil\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", f"touch {trap}")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    diff = changed(workspace, lambda work: (work / "ü.txt").write_text("a\n"))
    name = r"\303\274.txt"
    assert diff.text.startswith(f'diff --git "a/{name}" "b/{name}"\nnew file')
    assert not trap.exists()


def test_attributes_of_the_workspace_change_nothing_in_the_patch(workspace: Workspace) -> None:
    work = workspace.work_dir
    (work / ".gitattributes").write_text(
        "*.txt -diff\n*.py text eol=crlf ident\n*.md working-tree-encoding=UTF-16\n"
    )
    (work / "a.txt").write_text("a\n")

    def change(work: Path) -> None:
        (work / "a.txt").write_text("b\n")
        (work / "b.py").write_bytes(b"# $Id$\r\nx\n")
        (work / "c.md").write_text("plain\n")

    diff = changed(workspace, change)
    assert "-a\n+b\n" in diff.text
    assert "+# $Id$\r\n+x\n" in diff.text
    assert "+plain\n" in diff.text
    assert "GIT binary patch" not in diff.text


def test_links_out_of_the_workspace_are_shown_as_links_and_never_followed(
    workspace: Workspace, tmp_path: Path
) -> None:
    secret = tmp_path / "secrets"
    secret.mkdir()
    (secret / "key").write_text(CANARY)

    def change(work: Path) -> None:
        (work / "file").symlink_to(secret / "key")
        (work / "folder").symlink_to(secret)
        (work / "passwd").symlink_to("/etc/passwd")
        (work / "loop").symlink_to("loop")

    diff = changed(workspace, change)
    assert CANARY not in diff.text
    assert "root:" not in diff.text
    assert diff.files_changed == ["file", "folder", "loop", "passwd"]
    assert diff.text.count("new file mode 120000") == 4


def test_a_folder_that_turns_into_a_link_is_not_entered(
    workspace: Workspace, tmp_path: Path
) -> None:
    secret = tmp_path / "secrets"
    secret.mkdir()
    (secret / "a").write_text(CANARY)
    (workspace.work_dir / "d").mkdir()
    (workspace.work_dir / "d" / "a").write_text("mine\n")

    def change(work: Path) -> None:
        (work / "d" / "a").unlink()
        (work / "d").rmdir()
        (work / "d").symlink_to(secret)

    diff = changed(workspace, change)
    assert CANARY not in diff.text
    assert diff.files_changed == ["d", "d/a"]


def test_a_folder_swapped_for_a_link_in_the_moment_of_reading_leaks_nothing(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secrets"
    secret.mkdir()
    (secret / "a").write_text(CANARY)
    workspace.baseline()
    victim = workspace.work_dir / "d"
    victim.mkdir()
    real_open = os.open

    def open_after_the_swap(path: str, flags: int, mode: int = 0o777, **at: int) -> int:
        if path == "d" and not victim.is_symlink():
            victim.rmdir()
            victim.symlink_to(secret)
        return real_open(path, flags, mode, **at)

    monkeypatch.setattr(os, "open", open_after_the_swap)
    diff = workspace.diff()
    assert victim.is_symlink()
    assert CANARY not in diff.text
    assert list(diff.left_out) == ["d"]


def test_pipes_and_sockets_neither_block_nor_show(workspace: Workspace) -> None:
    diff = changed(workspace, lambda work: os.mkfifo(work / "pipe"))
    assert diff == Diff()


def test_a_file_over_the_limit_is_named_and_the_rest_of_the_patch_still_applies(
    tmp_path: Path,
) -> None:
    workspace = Workspace(tmp_path / "seat", max_file_bytes=1000, max_total_bytes=10_000)
    workspace.create()
    (workspace.work_dir / "grows").write_text("small\n")

    def change(work: Path) -> None:
        (work / "grows").write_text("x" * 1001)
        (work / "huge").write_text("x" * 1001)
        (work / "fine").write_text("fine\n")

    diff = changed(workspace, change)
    assert diff.truncated
    assert diff.files_changed == ["fine", "grows", "huge"]
    assert diff.left_out == {"grows": "it has 1,001 bytes", "huge": "it has 1,001 bytes"}
    assert "deleted file" not in diff.text
    assert "+fine" in diff.text


def test_a_patch_over_its_limit_ends_after_a_whole_file(
    workspace: Workspace, tmp_path: Path
) -> None:
    work = workspace.work_dir
    base = Baseline(tmp_path / "b.git", work, max_file_bytes=10**6, max_total_bytes=10**6)
    for name in ("a", "b", "c"):
        (work / name).write_text("line of text\n" * 100)
    whole = base.diff()
    cut = base.diff(max_diff_bytes=len(whole.text) - 1)
    assert cut.truncated
    assert cut.files_changed == ["a", "b", "c"]
    assert whole.text.startswith(cut.text)
    (tmp_path / "copy").mkdir()
    git(tmp_path / "copy", "init", "-q")
    git(tmp_path / "copy", "apply", text=cut.text)
    assert sorted(p.name for p in (tmp_path / "copy").iterdir()) == [".git", "a", "b"]


def test_folders_nested_without_end_are_refused_and_removed(workspace: Workspace) -> None:
    workspace.baseline()
    nest(workspace.work_dir, 3000)
    with pytest.raises(WorkspaceError, match=f"nested more than {MAX_DEPTH} deep"):
        workspace.diff()
    workspace.clean()
    assert list(workspace.work_dir.iterdir()) == []


def nest(root: Path, depth: int) -> None:
    folder = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)


def test_emptying_removes_links_and_leaves_what_they_point_to(
    workspace: Workspace, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    (workspace.work_dir / "to-folder").symlink_to(outside)
    (workspace.work_dir / "to-file").symlink_to(outside / "precious")
    (workspace.work_dir / "sub").mkdir()
    (workspace.work_dir / "sub" / "to-folder").symlink_to(outside)
    workspace.clean()
    assert list(workspace.work_dir.iterdir()) == []
    assert (outside / "precious").read_text() == "keep"


def test_a_folder_without_rights_is_emptied_by_its_owner(tmp_path: Path) -> None:
    root = tmp_path / "r"
    (root / "a" / "b" / "c").mkdir(parents=True)
    (root / "a" / "b" / "file").touch()
    for folder in ("a/b/c", "a/b", "a"):
        (root / folder).chmod(0)
    empty_folder(root)
    assert list(root.iterdir()) == []


def test_emptying_a_folder_that_fills_up_again_ends(tmp_path: Path) -> None:
    times = iter(range(0, 10_000, 30))

    def clock_that_sees_new_files() -> float:
        (tmp_path / "again").touch()
        return float(next(times))

    with pytest.raises(OSError, match="filled while"):
        empty_folder(tmp_path, clock=clock_that_sees_new_files)


def test_removing_takes_the_whole_workspace_and_may_be_done_twice(workspace: Workspace) -> None:
    workspace.baseline()
    nest(workspace.home_dir, 50)
    workspace.remove()
    workspace.remove()
    assert not workspace.root.exists()


def test_a_branch_of_files_that_cannot_be_read_does_not_show_as_deleted() -> None:
    gone = [b"a", b"closed/b", b"closed/c/d", b"closedish"]
    assert _deletions(gone, [LeftOut(b"closed", "Permission denied")]) == [b"a", b"closedish"]


def test_texts_for_the_agent_are_no_part_of_its_work(workspace: Workspace) -> None:
    (workspace.work_dir / "a").write_text("x")
    workspace.baseline()
    path = workspace.leave("answer.txt", "long")
    assert path == "/work/.understudy-answers/answer.txt"
    assert (workspace.work_dir / ".understudy-answers" / "answer.txt").read_text() == "long"
    assert (workspace.diff().files_changed, workspace.names(9)) == ([], ["a"])


def test_a_text_for_the_agent_follows_no_link_that_it_made(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "host").mkdir()
    (workspace.work_dir / ".understudy-answers").symlink_to(tmp_path / "host")
    with pytest.raises(WorkspaceError):
        workspace.leave("answer.txt", "long")
    assert list((tmp_path / "host").iterdir()) == []
