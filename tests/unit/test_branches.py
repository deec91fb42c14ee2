"""A task's work in the user's repository: commits on a branch of its own, and nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.actors.repository.publish import About, branch_name
from understudy.actors.tasks.task import Task
from understudy.actors.workspace import Published, Workspace, WorkspaceError

BRANCH = "understudy/task-1"


def git(folder: Path, *arguments: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=m"]
    allowed = ["-c", "protocol.file.allow=always", "-c", "safe.directory=*"]
    done = subprocess.run(
        ["git", *identity, *allowed, *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode(errors="surrogateescape").rstrip("\n")


def commit_all(repo: Path, message: str = "start") -> str:
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", message)
    return git(repo, "rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with one commit: a.py, sub/b.py, run.sh (executable)."""
    made = tmp_path / "repo"
    (made / "sub").mkdir(parents=True)
    (made / "a.py").write_text("a = 1\n")
    (made / "sub" / "b.py").write_text("b = 1\n")
    (made / "run.sh").write_text("#!/bin/sh\n")
    (made / "run.sh").chmod(0o755)
    git(made, "init", "-q")
    commit_all(made)
    return made


@pytest.fixture
def work(tmp_path: Path) -> Callable[..., Published | None]:
    """Runs a task on a repository: stage, let the agent change something, publish."""
    count = 0

    def run(
        repo: Path,
        change: Callable[[Path], object],
        *files: str,
        committed: bool = False,
        title: str = "Do it",
        max_file_bytes: int = 100_000,
    ) -> Published | None:
        nonlocal count
        count += 1
        workspace = Workspace(tmp_path / f"seat{count}", max_file_bytes=max_file_bytes)
        workspace.create()
        task = Task(
            task_id="task-1",
            repo=str(repo),
            files=list(files),
            include_uncommitted=not committed,
        )
        workspace.stage(task)
        workspace.baseline()
        change(workspace.work_dir)
        workspace.diff()
        return workspace.publish(About("task-1", "refactor", "agent_000", title, 1_700_000_000))

    return run


Work = Callable[..., Published | None]


def changed(repo: Path, revision: str = BRANCH) -> list[str]:
    """What one commit did: status and path, as git names them."""
    told = git(repo, "show", "--format=", "--name-status", "--no-renames", revision)
    return told.replace("\t", " ").splitlines()


def nothing(_work: Path) -> None:
    pass


def write(name: str, text: str = "made\n") -> Callable[[Path], object]:
    def change(work: Path) -> None:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(text.encode())

    return change


def state(repo: Path) -> dict[str, bytes]:
    """Everything of the repository but its objects and the branches of tasks."""
    return {
        str(path.relative_to(repo)): path.read_bytes()
        for path in repo.rglob("*")
        if path.is_file() and ".git/objects" not in str(path) and "understudy" not in str(path)
    }


def test_work_is_one_commit_on_the_commit_that_the_task_began_from(repo: Path, work: Work) -> None:
    before, head = state(repo), git(repo, "rev-parse", "HEAD")
    published = work(repo, write("new.py"), title="Add new.py\nand more")
    assert published is not None
    assert (published.branch, published.base, published.left_out) == (BRANCH, head, {})
    assert git(repo, "rev-parse", BRANCH, f"{BRANCH}^").split() == [published.commit, head]
    assert changed(repo) == ["A new.py"]
    about = git(repo, "show", "-s", "--format=%an <%ae> %at %cn%n%B", BRANCH)
    assert about.splitlines() == [
        "Understudy <understudy@localhost> 1700000000 Understudy",
        "refactor: Add new.py",
        "",
        "Task: task-1",
        "Type: refactor",
        "Agent: agent_000",
    ]
    assert state(repo) == before
    git(repo, "fsck", "--strict", "--no-dangling")


def test_a_task_that_changes_nothing_makes_no_branch(repo: Path, work: Work) -> None:
    published = work(repo, nothing)
    assert published is not None
    assert published.branch is None
    assert git(repo, "for-each-ref", "refs/heads/understudy") == ""


def test_without_git_there_is_no_branch(tmp_path: Path, work: Work) -> None:
    (tmp_path / "plain").mkdir()
    assert work(tmp_path / "plain", write("new.py")) is None


def test_every_kind_of_change_arrives(repo: Path, work: Work) -> None:
    (repo / "file").write_text("f\n")
    (repo / "folder").mkdir()
    (repo / "folder" / "x").write_text("x\n")
    commit_all(repo)
    odd = 'o "dd"\n\tü*[x]\\.txt'

    def change(work: Path) -> None:
        (work / "a.py").write_text("a = 2\n")
        (work / "sub" / "b.py").unlink()
        (work / "run.sh").chmod(0o644)
        (work / "file").unlink()
        (work / "file").mkdir()
        (work / "file" / "inner").write_text("i\n")
        (work / "folder" / "x").unlink()
        (work / "folder").rmdir()
        (work / "folder").write_text("now a file\n")
        (work / odd).write_text("odd\n")
        (work / os.fsdecode(b"latin-\xfc")).write_bytes(b"\0\xff")
        (work / "tool").write_text("#!/bin/sh\n")
        (work / "tool").chmod(0o755)
        (work / "link").symlink_to("a.py")

    published = work(repo, change)
    assert published is not None
    assert published.left_out == {}
    git(repo, "checkout", "-q", BRANCH)
    assert (repo / "a.py").read_text() == "a = 2\n"
    assert not (repo / "sub").exists()
    assert (repo / "file" / "inner").read_text() == "i\n"
    assert (repo / "folder").read_text() == "now a file\n"
    assert (repo / odd).read_text() == "odd\n"
    assert (repo / os.fsdecode(b"latin-\xfc")).read_bytes() == b"\0\xff"
    assert os.access(repo / "tool", os.X_OK)
    assert not (repo / "run.sh").stat().st_mode & 0o100
    assert (repo / "link").readlink() == Path("a.py")
    git(repo, "fsck", "--strict", "--no-dangling")


def test_what_the_user_had_not_committed_is_a_commit_of_its_own(repo: Path, work: Work) -> None:
    head = git(repo, "rev-parse", "HEAD")
    (repo / "a.py").write_text("a = 'mine'\n")
    (repo / "sub" / "b.py").unlink()
    (repo / "added.py").write_text("mine\n")
    (repo / "untracked.py").write_text("mine\n")
    git(repo, "add", "added.py")
    published = work(repo, write("new.py"))
    assert published is not None
    assert changed(repo) == ["A new.py"]
    assert changed(repo, f"{BRANCH}^") == ["M a.py", "A added.py", "D sub/b.py"]
    subject = git(repo, "show", "-s", "--format=%s", f"{BRANCH}^")
    assert subject == "Uncommitted changes taken along"
    assert git(repo, "rev-parse", f"{BRANCH}^", f"{BRANCH}~2").split() == [published.base, head]


def test_only_what_the_task_names_is_taken_along(repo: Path, work: Work) -> None:
    (repo / "a.py").write_text("a = 'mine'\n")
    (repo / "sub" / "b.py").unlink()
    (repo / "untracked.py").write_text("mine\n")
    work(repo, write("new.py"), "a.py", "untracked.py")
    assert changed(repo, f"{BRANCH}^") == ["M a.py", "A untracked.py"]


def test_committed_gives_the_agent_what_head_has(repo: Path, work: Work) -> None:
    head = git(repo, "rev-parse", "HEAD")
    (repo / "a.py").write_text("a = 'mine'\n")
    (repo / "run.sh").unlink()
    seen: list[str] = []

    def change(work: Path) -> None:
        seen.append((work / "a.py").read_text())
        assert os.access(work / "run.sh", os.X_OK)
        (work / "sub" / "b.py").write_text("b = 2\n")

    published = work(repo, change, committed=True)
    assert seen == ["a = 1\n"]
    assert published is not None
    assert published.base == head
    assert changed(repo) == ["M sub/b.py"]


def test_committed_without_a_commit_is_refused(tmp_path: Path, work: Work) -> None:
    git(tmp_path, "init", "-q", "empty")
    with pytest.raises(WorkspaceError, match="there is no commit"):
        work(tmp_path / "empty", write("x"), committed=True)
    (tmp_path / "plain").mkdir()
    with pytest.raises(WorkspaceError, match="there is no commit"):
        work(tmp_path / "plain", write("x"), committed=True)


def test_committed_refuses_a_file_that_is_not_in_the_commit(repo: Path, work: Work) -> None:
    (repo / "later.py").write_text("x\n")
    with pytest.raises(WorkspaceError, match=r"later.py: it is not in the commit"):
        work(repo, write("x"), "later.py", committed=True)


def test_the_task_may_name_a_folder_below_the_top(repo: Path, work: Work) -> None:
    (repo / "sub" / "b.py").write_text("b = 'mine'\n")
    work(repo / "sub", write("new.py"))
    assert changed(repo) == ["A sub/new.py"]
    assert changed(repo, f"{BRANCH}^") == ["M sub/b.py"]


@pytest.mark.parametrize("committed", [False, True])
def test_a_sha256_repository_gets_its_branch(tmp_path: Path, work: Work, committed: bool) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "r")
    (tmp_path / "r" / "a").write_text("a\n")
    commit_all(tmp_path / "r")
    published = work(tmp_path / "r", write("new"), committed=committed)
    assert published is not None
    assert len(published.commit or "") == 64
    assert changed(tmp_path / "r") == ["A new"]


def test_a_linked_worktree_begins_from_its_own_commit(repo: Path, work: Work) -> None:
    git(repo, "worktree", "add", "-q", "../tree", "-b", "other")
    tree = repo.parent / "tree"
    (tree / "a.py").write_text("a = 'other'\n")
    head = commit_all(tree)
    published = work(tree, write("new.py"))
    assert published is not None
    assert published.base == head
    assert changed(repo) == ["A new.py"]


def test_a_bare_repository_gives_its_commit_and_gets_the_branch(repo: Path, work: Work) -> None:
    git(repo.parent, "clone", "-q", "--bare", "repo", "bare.git")
    bare = repo.parent / "bare.git"

    def change(work: Path) -> None:
        assert sorted(path.name for path in work.iterdir()) == ["a.py", "run.sh", "sub"]
        (work / "a.py").write_text("a = 2\n")

    work(bare, change)
    assert changed(bare) == ["M a.py"]


def test_a_shallow_clone_gets_its_branch(repo: Path, work: Work) -> None:
    (repo / "a.py").write_text("a = 2\n")
    commit_all(repo)
    git(repo.parent, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    shallow = repo.parent / "shallow"
    assert (shallow / ".git" / "shallow").exists()
    work(shallow, write("new.py"))
    assert changed(shallow) == ["A new.py"]
    git(shallow, "fsck", "--strict", "--no-dangling")


def test_the_first_commit_of_a_repository_can_be_a_task_s(tmp_path: Path, work: Work) -> None:
    git(tmp_path, "init", "-q", "empty")
    empty = tmp_path / "empty"
    published = work(empty, write("new.py"))
    assert published is not None
    assert published.base is None
    assert git(empty, "rev-list", "--count", BRANCH) == "1"
    (empty / "mine.py").write_text("mine\n")
    git(empty, "add", "mine.py")
    git(empty, "branch", "-D", BRANCH)
    work(empty, write("new.py"))
    assert changed(empty, f"{BRANCH}^") == ["A mine.py"]


def test_files_that_git_stores_translated_stay_as_they_are(repo: Path, work: Work) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (repo / ".gitattributes").write_text("*.bin filter=lfs -text\n")
    (repo / "big.bin").write_text(pointer)
    (repo / "other.bin").write_text(pointer)
    commit_all(repo)
    (repo / "big.bin").write_text("real data\n")  # as git lfs leaves it on disk

    def change(work: Path) -> None:
        (work / "other.bin").write_text("changed\n")
        (work / "new.bin").write_text("new\n")
        (work / "big.bin").chmod(0o755)

    published = work(repo, change)
    assert published is not None
    reason = "git stores it translated (filter=lfs); take it from the diff"
    assert published.left_out == {"new.bin": reason, "other.bin": reason}
    assert git(repo, "show", f"{BRANCH}:big.bin") == pointer.rstrip("\n")
    assert git(repo, "ls-tree", BRANCH, "big.bin").startswith("100755")
    assert git(repo, "rev-list", "--count", BRANCH) == "3"


def test_line_ends_of_the_disk_do_not_reach_the_repository(repo: Path, work: Work) -> None:
    (repo / "a.py").write_bytes(b"a = 1\r\n")  # as a checkout with core.autocrlf leaves it
    work(repo, write("a.py", "a = 1\r\nb = 2\r\n"))
    assert git(repo, "rev-list", "--count", BRANCH) == "2"
    assert git(repo, "show", f"{BRANCH}:a.py") == "a = 1\nb = 2"


def test_executable_bits_of_a_disk_without_them_do_not_count(repo: Path, work: Work) -> None:
    git(repo, "config", "core.fileMode", "false")
    (repo / "a.py").chmod(0o755)
    (repo / "run.sh").chmod(0o644)
    work(repo, write("run.sh", "#!/bin/sh -e\n"))
    assert git(repo, "rev-list", "--count", BRANCH) == "2"
    assert git(repo, "ls-tree", BRANCH, "run.sh").startswith("100755")


def test_links_of_the_repository_stay_links(repo: Path, work: Work) -> None:
    (repo / "to-file").symlink_to("a.py")
    (repo / "to-folder").symlink_to("sub")
    (repo / "away").symlink_to("/etc/passwd")
    commit_all(repo)
    before = git(repo, "ls-tree", "HEAD", "to-file", "to-folder", "away")

    def change(work: Path) -> None:
        assert (work / "to-file").read_text() == "a = 1\n"
        assert not (work / "away").exists()
        (work / "to-folder").mkdir()
        (work / "to-folder" / "x").write_text("x\n")
        (work / "a.py").write_text("a = 2\n")

    for committed in (False, True):
        published = work(repo, change, committed=committed)
        assert published is not None
        assert published.left_out == {"to-folder/x": "it is behind the link to-folder"}
        assert git(repo, "ls-tree", BRANCH, "to-file", "to-folder", "away") == before
        assert changed(repo) == ["M a.py"]
        git(repo, "branch", "-D", BRANCH)


def test_links_that_lead_out_are_left_out(repo: Path, work: Work) -> None:
    def change(work: Path) -> None:
        (work / "absolute").symlink_to("/etc/passwd")
        (work / "sub" / "up").symlink_to("../../outside")
        (work / "hooks").symlink_to(".git/hooks")
        (work / "sub" / "fine").symlink_to("../a.py")

    published = work(repo, change)
    assert published is not None
    reason = "it is a link that leads out of the repository"
    assert published.left_out == dict.fromkeys(("absolute", "hooks", "sub/up"), reason)
    assert changed(repo) == ["A sub/fine"]


def test_ignored_files_and_huge_ones_are_left_out_and_named(repo: Path, work: Work) -> None:
    (repo / ".gitignore").write_text("__pycache__/\n*.log\n")
    (repo / "kept.log").write_text("x\n")
    git(repo, "add", "-f", "kept.log")
    commit_all(repo)

    def change(work: Path) -> None:
        (work / "__pycache__").mkdir()
        (work / "__pycache__" / "a.pyc").write_text("x")
        (work / "kept.log").write_text("y\n")
        (work / "a.py").write_text("a" * 1001)

    published = work(repo, change, max_file_bytes=1000)
    assert published is not None
    reason = "the repository's ignore files name it"
    assert published.left_out == {"__pycache__/a.pyc": reason}
    assert changed(repo) == ["M kept.log"]


def test_what_a_sparse_checkout_leaves_out_is_not_removed(repo: Path, work: Work) -> None:
    git(repo, "sparse-checkout", "set", "--no-cone", "/a.py")
    assert not (repo / "sub").exists()
    work(repo, write("new.py"))
    assert git(repo, "rev-list", "--count", BRANCH) == "2"
    assert changed(repo) == ["A new.py"]


def test_a_branch_that_is_there_is_never_moved(repo: Path, work: Work) -> None:
    git(repo, "branch", BRANCH)
    before = git(repo, "rev-parse", BRANCH)
    published = work(repo, write("new.py"))
    assert published is not None
    assert published.branch == f"{BRANCH}-2"
    assert git(repo, "rev-parse", BRANCH) == before


def test_a_branch_in_the_way_of_ours_is_an_error_and_leaves_none(repo: Path, work: Work) -> None:
    git(repo, "branch", "understudy")
    with pytest.raises(WorkspaceError, match="update-ref failed"):
        work(repo, write("new.py"))
    assert git(repo, "for-each-ref", "--format=%(refname)", "refs/heads/understudy*") == (
        "refs/heads/understudy"
    )


def test_paths_that_git_takes_for_its_own_folder_are_refused(repo: Path, work: Work) -> None:
    with pytest.raises(WorkspaceError, match="unpack-objects failed"):
        work(repo, write("git~1/config"))
    assert git(repo, "for-each-ref", "refs/heads/understudy") == ""


def test_many_files_come_in_one_pack(repo: Path, work: Work) -> None:
    def change(work: Path) -> None:
        for number in range(200):
            (work / f"n{number}").write_text(f"{number}\n")

    work(repo, change)
    assert len(changed(repo)) == 200
    assert len(list((repo / ".git" / "objects" / "pack").glob("*.pack"))) == 1
    git(repo, "fsck", "--strict", "--no-dangling")


def test_nothing_of_the_workspace_or_of_the_repository_is_executed(
    repo: Path, work: Work, tmp_path: Path
) -> None:
    trap = tmp_path / "sprung"
    script = f"#!/bin/sh\ntouch {trap}\n"
    for hook in ("reference-transaction", "post-checkout", "pre-commit", "post-index-change"):
        (repo / ".git" / "hooks").mkdir(exist_ok=True)
        (repo / ".git" / "hooks" / hook).write_text(script)
        (repo / ".git" / "hooks" / hook).chmod(0o755)
    (repo / ".gitattributes").write_text("*.evil filter=evil diff=evil\n")
    (repo / "x.evil").write_text("x\n")
    commit_all(repo)
    with (repo / ".git" / "config").open("a") as config:
        config.write(f"[core]\n\tfsmonitor = touch {trap}\n\tpager = touch {trap}\n")
        config.write(f'[filter "evil"]\n\tclean = touch {trap}\n\tsmudge = touch {trap}\n')
        config.write(f'[diff "evil"]\n\ttextconv = touch {trap}\n\tcommand = touch {trap}\n')
        config.write(f"[uploadpack]\n\tpackObjectsHook = touch {trap}\n[gc]\n\tauto = 1\n")
    trap.unlink(missing_ok=True)

    def change(work: Path) -> None:
        (work / ".git" / "hooks").mkdir(parents=True)
        (work / ".git" / "hooks" / "pre-commit").write_text(script)
        (work / ".git" / "config").write_text(f"[core]\n\tfsmonitor = touch {trap}\n")
        (work / ".gitattributes").write_text("* filter=evil diff=evil\n")
        (work / "new.py").write_text("new\n")

    for committed in (False, True):
        published = work(repo, change, committed=committed)
        assert published is not None
        assert published.branch is not None
    assert changed(repo) == ["M .gitattributes", "A new.py"]
    assert not trap.exists()
    subprocess.run(["git", "branch", "x"], cwd=repo, check=False, capture_output=True)
    assert trap.exists(), "the trap is none"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
def test_root_leaves_no_files_of_its_own_in_a_user_s_repository(repo: Path, work: Work) -> None:
    for path in [repo, *repo.rglob("*")]:
        os.chown(path, 1000, 1000, follow_symlinks=False)
    for folder in repo.parents:
        if folder.stat().st_uid == 0 and folder.is_relative_to(repo.parents[2]):
            folder.chmod(0o755)
    work(repo, write("new.py"))
    assert {path.lstat().st_uid for path in repo.rglob("*")} == {1000}


@pytest.mark.parametrize(
    ("task_id", "name"),
    [("a..b", "a-b"), ("x.lock", "x-lock"), ("q:1@{", "q-1-"), ("a_sub0", "a_sub0")],
)
def test_every_task_id_makes_a_name_that_git_takes(task_id: str, name: str) -> None:
    assert branch_name(task_id) == f"understudy/{name}"
    subprocess.run(["git", "check-ref-format", f"refs/heads/understudy/{name}"], check=True)
