"""Taking a task's work over from the command line, and what is refused on the way."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from understudy.actors.housekeeping import not_taken_over, sweep_places
from understudy.actors.saved_copies import SavedCopies
from understudy.actors.tasks.rows import Conversation
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task, TaskResult, TaskState
from understudy.actors.workspace import About, Workspace
from understudy.cli.app import app

ID = "1f3a-task"
BRANCH = f"understudy/{ID}"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=m"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().rstrip("\n")


@pytest.fixture(autouse=True)
def _own_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = t\n\temail = t@example.org\n")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with a.py and b.py."""
    made = tmp_path / "repo"
    made.mkdir()
    (made / "a.py").write_text("a = 1\n")
    (made / "b.py").write_text("b = 1\n")
    git(made, "init", "-q")
    git(made, "add", "-A")
    git(made, "commit", "-q", "-m", "start")
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TaskStore]:
    with TaskStore(tmp_path / "state" / "tasks.db") as opened:
        yield opened


def finish(store: TaskStore, repo: Path, text: str = "a = 2\n", task_id: str = ID) -> TaskResult:
    """A finished task that wrote a.py and new.py in the repository's folder."""
    task = Task(task_id=task_id, repo=str(repo), task_type="refactor", description="Do it")
    workspace = Workspace(repo.parent / f"seat-{task_id}")
    workspace.create()
    workspace.stage(task)
    workspace.baseline()
    (workspace.work_dir / "a.py").write_text(text)
    (workspace.work_dir / "new.py").write_text("new\n")
    diff = workspace.diff()
    said: dict[str, object] = {"diff": diff.text, "files_changed": diff.files_changed}
    result = TaskResult(task_id, "agent_000", "success", said)
    published = workspace.publish(About(task_id, "refactor", "agent_000", "Do it", 1_700_000_000))
    if published is not None:
        result.branch = published.branch
        result.result |= published.to_result()
    store.add(task, "service")
    store.finish(result, TaskState.COMPLETED)
    return result


def run(store: TaskStore, *arguments: str) -> Result:
    del store  # it is there
    state = Path(os.environ["HOME"]) / "state"
    options = ["--set", f"storage.state_dir={state}", "--config", os.devnull]
    return CliRunner().invoke(app, [arguments[0], *options, *arguments[1:]])


def said(result: Result) -> str:
    assert result.exception is not None
    return str(result.exception)


def test_a_diff_can_be_applied_by_git(store: TaskStore, repo: Path) -> None:
    finish(store, repo)
    done = run(store, "diff", "1f3a")
    assert done.exit_code == 0
    subprocess.run(["git", "apply"], cwd=repo, input=done.stdout_bytes, check=True)
    assert (repo / "a.py").read_text() == "a = 2\n"
    assert run(store, "diff", "--name-only", ID).stdout == "a.py\nnew.py\n"


def test_apply_changes_the_files_and_nothing_else(store: TaskStore, repo: Path) -> None:
    finish(store, repo)
    head, index = git(repo, "rev-parse", "HEAD"), git(repo, "ls-files", "-s")
    assert run(store, "apply", BRANCH).exit_code == 0
    assert (repo / "a.py").read_text() == "a = 2\n"
    assert (repo / "new.py").read_text() == "new\n"
    assert (git(repo, "rev-parse", "HEAD"), git(repo, "ls-files", "-s")) == (head, index)
    assert "its changes are there already" in said(run(store, "apply", ID))


def test_apply_does_all_or_nothing(store: TaskStore, repo: Path) -> None:
    finish(store, repo)
    (repo / "a.py").write_text("a = 'other'\n")
    assert "it does not apply" in said(run(store, "apply", ID))
    assert not (repo / "new.py").exists()
    assert (repo / "a.py").read_text() == "a = 'other'\n"


def test_apply_goes_on_from_uncommitted_changes(store: TaskStore, repo: Path) -> None:
    (repo / "a.py").write_text("a = 'mine'\n")
    finish(store, repo)
    assert run(store, "apply", ID).exit_code == 0
    assert (repo / "a.py").read_text() == "a = 2\n"


def test_apply_works_below_the_top_and_without_git(store: TaskStore, repo: Path) -> None:
    (repo / "sub").mkdir()
    (repo / "sub" / "a.py").write_text("a = 1\n")
    git(repo, "add", "sub")
    git(repo, "commit", "-q", "-m", "sub")
    plain = repo.parent / "plain"
    plain.mkdir()
    (plain / "a.py").write_text("a = 1\n")
    for task_id, folder in (("below", repo / "sub"), ("plain", plain)):
        finish(store, folder, task_id=task_id)
        assert run(store, "apply", task_id).exit_code == 0
        assert (folder / "new.py").read_text() == "new\n"
        assert (folder / "a.py").read_text() == "a = 2\n"
    assert "is no git repository" in said(run(store, "merge", "plain"))


def test_merge_brings_the_work_into_what_is_checked_out(store: TaskStore, repo: Path) -> None:
    finish(store, repo)
    (repo / "b.py").write_text("b = 2\n")
    git(repo, "commit", "-qam", "meanwhile")
    assert run(store, "merge", ID).exit_code == 0
    assert (repo / "a.py").read_text() == "a = 2\n"
    assert git(repo, "rev-list", "--count", "HEAD") == "4"


def test_a_merge_with_conflicts_leaves_everything_as_it_was(store: TaskStore, repo: Path) -> None:
    finish(store, repo)
    (repo / "a.py").write_text("a = 'other'\n")
    git(repo, "commit", "-qam", "meanwhile")
    head = git(repo, "rev-parse", "HEAD")
    assert "there are conflicts" in said(run(store, "merge", ID))
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "rev-parse", "HEAD") == head


def test_a_merge_over_uncommitted_changes_is_refused(store: TaskStore, repo: Path) -> None:
    finish(store, repo)
    (repo / "a.py").write_text("a = 'mine'\n")
    assert "commit or stash your own changes first" in said(run(store, "merge", ID))
    assert (repo / "a.py").read_text() == "a = 'mine'\n"


def test_checkout_shows_the_branch_unless_changes_would_be_lost(
    store: TaskStore, repo: Path
) -> None:
    finish(store, repo)
    (repo / "a.py").write_text("a = 'mine'\n")
    assert "does not check it out" in said(run(store, "checkout", ID))
    assert (repo / "a.py").read_text() == "a = 'mine'\n"
    git(repo, "checkout", "-q", "a.py")
    assert run(store, "checkout", ID).exit_code == 0
    assert git(repo, "branch", "--show-current") == BRANCH


def test_no_hook_runs(store: TaskStore, repo: Path) -> None:
    finish(store, repo)
    for hook in ("post-checkout", "post-merge", "pre-merge-commit", "reference-transaction"):
        (repo / ".git" / "hooks").mkdir(exist_ok=True)
        (repo / ".git" / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {repo}/sprung\n")
        (repo / ".git" / "hooks" / hook).chmod(0o755)
    for command in ("merge", "checkout"):
        assert run(store, command, ID).exit_code == 0
    assert not (repo / "sprung").exists()


def test_rm_refuses_what_is_not_merged(store: TaskStore, repo: Path) -> None:
    finish(store, repo)
    text = said(run(store, "rm", ID))
    assert f"branch {BRANCH} is not merged; merge or apply it, or say --force" in text
    assert store.result(ID) is not None
    assert run(store, "rm", "--force", ID).exit_code == 0
    assert store.row(ID) is None
    assert git(repo, "branch", "--list", "understudy/*") == ""


@pytest.mark.parametrize("how", ["merge", "squash", "apply", "cherry-pick"])
def test_rm_removes_what_was_taken_over(store: TaskStore, repo: Path, how: str) -> None:
    finish(store, repo)
    match how:
        case "squash":
            git(repo, "merge", "-q", "--squash", BRANCH)
            git(repo, "commit", "-q", "-m", "mine")
        case "cherry-pick":
            (repo / "b.py").write_text("b = 2\n")
            git(repo, "commit", "-qam", "meanwhile")
            git(repo, "cherry-pick", BRANCH)
        case _:
            assert run(store, how, ID).exit_code == 0
    assert run(store, "rm", ID).exit_code == 0
    assert store.row(ID) is None
    assert git(repo, "branch", "--list", "understudy/*") == ""


def test_rm_sees_what_the_user_added_to_the_branch(store: TaskStore, repo: Path) -> None:
    finish(store, repo)
    assert run(store, "merge", ID).exit_code == 0
    git(repo, "checkout", "-q", BRANCH)
    (repo / "more").write_text("more\n")
    git(repo, "add", "more")
    git(repo, "commit", "-q", "-m", "more")
    assert "is not merged" in said(run(store, "rm", ID))
    git(repo, "rm", "-q", "more")
    git(repo, "checkout", "-q", "--force", "-")
    git(repo, "merge", "-q", "--no-edit", BRANCH)
    git(repo, "checkout", "-q", BRANCH)
    assert "is checked out in" in said(run(store, "rm", ID))


def test_without_a_branch_the_only_copy_is_the_result_s_patch(
    store: TaskStore, tmp_path: Path
) -> None:
    (tmp_path / "plain").mkdir()
    finish(store, tmp_path / "plain")
    assert "its changes to 2 files were not taken over" in said(run(store, "rm", ID))


def test_prune_removes_the_merged_and_names_the_others(store: TaskStore, repo: Path) -> None:
    finish(store, repo, task_id="merged")
    git(repo, "merge", "-q", "understudy/merged")
    finish(store, repo, "a = 3\n", task_id="open")
    store.add(Task(task_id="waits"), "service")
    dry = json.loads(run(store, "prune", "--dry-run", "--json").stdout)
    assert (dry["removed"], list(dry["kept"])) == (["merged"], ["open"])
    assert sum(dry["disk_bytes"].values()) > 0
    assert store.row("merged") is not None
    assert json.loads(run(store, "prune", "--older-than", "1", "--json").stdout)["removed"] == []
    done = run(store, "prune")
    assert "branch understudy/open is not merged" in done.stdout
    assert "1 tasks removed, 1 kept" in done.stdout
    assert [row.task_id for row in store.tasks()] == ["waits", "open"]


@pytest.mark.parametrize("kind", ["poison", "internal", "timeout", "canceled"])
def test_work_that_is_still_in_its_folder_is_not_lost(
    store: TaskStore, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "state" / "conversations" / "live" / Conversation.new().place
    workspace = Workspace(folder)
    workspace.create()
    workspace.baseline()
    workspace.mark(ID, 0)
    (workspace.work_dir / "made").write_text("mine" * 1000)
    store.add(Task(task_id=ID), "service")
    store.finish(TaskResult(ID, "none", "failed", {}, "x", failure_kind=kind), TaskState.FAILED)
    where = f"what it wrote is still in {folder}/work"
    assert where in said(run(store, "rm", ID))
    pruned = json.loads(run(store, "prune", "--json").stdout)
    assert where in pruned["kept"][ID]
    assert pruned["task_bytes"][ID] > 4000
    assert f"MB  task {ID}" in run(store, "prune", "--dry-run").stdout
    sweep_places(tmp_path / "state" / "conversations", store, {})
    assert "its changes to 1 files were not taken over" in said(run(store, "rm", ID))
    assert run(store, "rm", "--force", ID).exit_code == 0


def test_copies_of_work_in_progress_are_shown_applied_and_go_with_the_task(
    store: TaskStore, repo: Path
) -> None:
    store.add(Task(task_id=ID, repo=str(repo)), "service")
    assert "there is no copy of its work in progress" in said(run(store, "diff", ID, "--saved"))
    folder = repo.parent / "state" / "saved"
    folder.mkdir()
    for name, text in {"a.py": "a = 2\n", "b.py": "b = 2\n"}.items():
        before = (repo / name).read_text()
        (repo / name).write_text(text)
        (folder / "now").write_text(git(repo, "diff") + "\n")
        SavedCopies(folder, ID, max_bytes=10_000).add(
            lambda file: bool(file.write((folder / "now").read_bytes()))
        )
        (folder / "now").unlink()
        (repo / name).write_text(before)
    shown = run(store, "diff", ID, "--saved")  # while it runs
    assert "+b = 2" in shown.stdout
    assert "copy 1 of 2, of" in shown.stderr
    assert run(store, "diff", ID, "--saved", "2", "--name-only").stdout == "a.py\n"
    assert "there are 2 copies" in said(run(store, "diff", ID, "--saved", "3"))
    assert run(store, "apply", ID, "--saved", "2").exit_code == 0
    assert (repo / "a.py").read_text() == "a = 2\n"
    store.finish(TaskResult(ID, "none", "failed", {}, "x"), TaskState.FAILED)
    assert json.loads(run(store, "prune", "--dry-run", "--json").stdout)["task_bytes"][ID] > 0
    assert run(store, "rm", ID).exit_code == 0
    assert not list(folder.iterdir())


def test_retention_keeps_tasks_whose_branch_is_not_merged(store: TaskStore, repo: Path) -> None:
    finish(store, repo, task_id="merged")
    git(repo, "merge", "-q", "understudy/merged")
    finish(store, repo, "a = 3\n", task_id="open")
    finish(store, repo, "a = 4\n", task_id="dropped")
    git(repo, "branch", "-D", "understudy/dropped")
    kept = not_taken_over(store, 0.0)
    assert kept == ["open"]
    assert store.prune(0.0, kept) == 2
    assert [row.task_id for row in store.tasks()] == ["open"]


def test_a_task_that_is_not_over_is_refused(store: TaskStore, repo: Path) -> None:
    store.add(Task(task_id="waits", repo=str(repo)), "service")
    for command in ("diff", "apply", "merge", "checkout", "rm"):
        assert "has no result yet" in said(run(store, command, "waits"))
    assert store.delete(["waits"]) == 0


def test_a_wrong_id_names_the_nearest(store: TaskStore, repo: Path) -> None:
    finish(store, repo)
    finish(store, repo, task_id="1f3b-task")
    assert "did you mean 1f3a-task?" in said(run(store, "diff", "1f3a-tusk"))
    assert "'1f3' is the start of 2 task ids" in said(run(store, "diff", "1f3"))
    assert "no task 'zzzz' is known here" in said(run(store, "diff", "zzzz"))


def test_a_branch_that_is_gone_is_told(store: TaskStore, repo: Path) -> None:
    finish(store, repo)
    git(repo, "branch", "-D", BRANCH)
    assert f"branch {BRANCH} is gone" in said(run(store, "merge", ID))
    assert run(store, "apply", ID).exit_code == 0
