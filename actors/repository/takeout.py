"""Taking a task's work over: look at it, apply it, merge it, check it out, and let go of it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AgentError
from ..untrusted_tree import WorkspaceError
from .git import NO_PROGRAMS, shown
from .origin import find_origin
from .patches import changed_in, only
from .plan import in_diff_alone
from .programs import without_programs_of

if TYPE_CHECKING:
    from ..tasks.task import Task, TaskResult
    from .origin import Origin

# The event of a task whose work `apply` has put into the user's files.
APPLIED = "applied"
_GIT_TIMEOUT_S = 600.0
_MAX_SAID_CHARS = 2000


class WorkRefused(AgentError):
    """A task's work cannot be taken over, or let go of, as things are; nothing was changed.

    Attributes:
        task_id: the task.
        reason: what is in the way.
        mend: what to do about it.
    """

    def __init__(self, task_id: str, reason: str, mend: str) -> None:
        super().__init__(task_id, reason, mend)
        self.task_id = task_id
        self.reason = reason
        self.mend = mend

    def __str__(self) -> str:
        return f"task {self.task_id}: {self.reason}; {self.mend}"


@dataclass(frozen=True, slots=True)
class Work:
    """What came of a task, and where it lies. Each method asks git anew; none runs a hook.

    Attributes:
        folder: what the task named as its repository; None when it named none.
        branch, commit, base: as in the task's result.
        text: the patch that the result holds.
        is_whole: whether nothing is missing in that patch for its size.
        changed: the paths that were changed.
        rest: those whose changes are in the patch alone, and in no commit; from the top.
        was_applied: whether `apply` has put all of it into the user's files once.
    """

    task_id: str
    folder: Path | None
    branch: str | None
    commit: str | None
    base: str | None
    text: str
    is_whole: bool
    changed: tuple[str, ...]
    rest: tuple[str, ...] = ()
    was_applied: bool = False

    @classmethod
    def of(cls, task: Task, result: TaskResult, *, was_applied: bool = False) -> Work:
        """The work that a result tells of."""
        said = result.result
        return cls(
            task_id=task.task_id,
            folder=Path(task.repo) if task.repo else None,
            branch=result.branch,
            commit=said.get("commit"),
            base=said.get("base"),
            text=str(said.get("diff") or ""),
            is_whole="(patch)" not in (said.get("left_out") or {}),
            changed=tuple(map(str, said.get("files_changed") or ())),
            rest=in_diff_alone(said.get("not_on_branch") or {}),
            was_applied=was_applied,
        )

    @classmethod
    def of_patch(cls, task: Task, patch: bytes) -> Work:
        """A task's work by a patch alone."""
        folder = Path(task.repo) if task.repo else None
        changed, text = tuple(sorted(changed_in(patch))), patch.decode(errors="replace")
        return cls(task.task_id, folder, None, None, None, text, is_whole=True, changed=changed)

    @property
    def is_cut(self) -> bool:
        """Whether work is missing in the patch that is in no commit either; a copy has it."""
        return not self.is_whole and (bool(self.rest) or self.commit is None)

    def patch(self) -> bytes:
        """All that the task changed, for `git apply` in the task's folder.

        Raises:
            WorkspaceError: it was too large for the result, and its branch is gone.
        """
        if self.is_whole or self.commit is None:
            return self.text.encode()
        return self._of_branch(self._origin(), self.commit) + self._rest_patch()

    def apply(self) -> None:
        """Put the changes into the files of the task's folder, all or none; git's index stays.

        What is on the task's branch is taken, and from the result's patch what can be in no
        commit; without a branch, the whole patch.

        Raises:
            WorkRefused: they do not fit what is there, or are there already.
        """
        folder = self._folder()
        if self.is_cut:
            mend = f"take the whole: understudy apply {self.task_id} --saved"
            raise WorkRefused(self.task_id, "its patch is cut, as it is large", mend)
        patch = b"".join(part for part in self._patches() if self._is_open(folder, part))
        if not patch:
            raise WorkRefused(self.task_id, "its changes are there already", "nothing to do")
        done = _apply(folder, patch)
        if done.returncode != 0:
            raise WorkRefused(self.task_id, f"git apply failed: {_said(done)}", "look at the disk")

    def merge(self) -> str:
        """Merge the branch into what is checked out in the task's folder; what git said.

        Raises:
            WorkRefused: git refuses it, or there are conflicts; the merge is undone then.
        """
        branch, folder = self._branch(), self._folder()
        done = _user_git(folder, "merge", "--no-edit", branch)
        if done.returncode == 0:
            said = done.stdout.decode(errors="replace").strip()
            return f"{said}\n{self._rest_is_open()}" if self._rest_patch() else said
        under_way = _user_git(folder, "rev-parse", "-q", "--verify", "MERGE_HEAD").returncode == 0
        if under_way:
            _user_git(folder, "merge", "--abort")
            mend = f"solve them yourself: git merge {branch}"
            raise WorkRefused(self.task_id, f"there are conflicts: {_said(done)}", mend)
        mend = "commit or stash your own changes first"
        raise WorkRefused(self.task_id, f"git does not merge it: {_said(done)}", mend)

    def checkout(self) -> None:
        """Check the branch out in the task's folder.

        Raises:
            WorkRefused: git refuses it, as changes of the user's would be lost.
        """
        branch, folder = self._branch(), self._folder()
        done = _user_git(folder, "checkout", "-q", branch, "--")
        if done.returncode != 0:
            mend = "commit or stash your own changes first"
            raise WorkRefused(self.task_id, f"git does not check it out: {_said(done)}", mend)

    def loss(self, *, looks_at_disk: bool = True) -> str | None:
        """What would be lost without this task's branch and record; None when nothing would.

        Nothing is lost when another branch or tag holds the work, when the commit that is checked
        out has the same changes, or when the files on disk have them. The last is found with the
        user's own filters and may be left unasked. What is on no branch is not lost, either, when
        it was applied once.
        """
        if not self.changed:
            return None
        origin = find_origin(self.folder) if self.folder else None
        tip = self.tip(origin)
        there = self.folder if looks_at_disk and self.folder and self.folder.is_dir() else None
        if origin and tip and _is_held(origin, tip, str(self.branch)):
            return None if self._is_rest_safe(there) else self._rest_is_open()
        if tip is None and self.was_applied:
            return None
        # What the user has put on the branch since is not in the patch.
        if there and tip in (None, self.commit):
            parts = self._patches()
            if parts and all(self._is_applied(there, part) for part in parts):
                return None
        if tip:
            return f"branch {self.branch} is not merged"
        return f"its changes to {len(self.changed)} files were not taken over"

    def is_on_branch(self) -> bool:
        """Whether its branch is there now."""
        return self.tip(find_origin(self.folder) if self.folder else None) is not None

    def tip(self, origin: Origin | None) -> str | None:
        """The commit that the branch is at now, or None when there is no such branch."""
        if origin is None or self.branch is None:
            return None
        name = f"refs/heads/{self.branch}"
        told = origin.git.run("rev-parse", "-q", "--verify", name, may=1)
        return told.decode().strip() or None

    def remove_branch(self) -> bool:
        """Remove the branch, whether it is merged or not; False when there is none.

        Raises:
            WorkRefused: it is checked out somewhere.
        """
        origin = find_origin(self.folder) if self.folder else None
        tip = self.tip(origin)
        if origin is None or tip is None:
            return False
        name = f"refs/heads/{self.branch}"
        where = origin.git.run("for-each-ref", "--format=%(worktreepath)", name).decode().strip()
        if where:
            reason = f"its branch {self.branch} is checked out in {where}"
            raise WorkRefused(self.task_id, reason, "check out another one there first")
        origin.git.run("update-ref", "-d", name, tip)
        return True

    def _patches(self) -> list[bytes]:
        """What there is to apply: of the branch, and of the patch alone; none is empty."""
        origin = find_origin(self.folder) if self.folder else None
        if origin is None or self.commit is None or self.tip(origin) is None:
            parts = [self.text.encode()]
        else:
            parts = [self._of_branch(origin, self.commit), self._rest_patch()]
        return [part for part in parts if part]

    def _of_branch(self, origin: Origin, commit: str) -> bytes:
        return _between(origin, self.base, commit, f"--relative={os.fsdecode(origin.prefix)}")

    def _rest_patch(self) -> bytes:
        if not self.rest:
            return b""
        origin = find_origin(self.folder) if self.folder else None
        top = shown(origin.prefix) if origin else ""
        return only(self.text.encode(), {path.removeprefix(top) for path in self.rest})

    def _is_rest_safe(self, there: Path | None) -> bool:
        """Whether what is in the patch alone was taken over; `there`: where to look for it."""
        if self.was_applied:
            return True
        rest = self._rest_patch()
        is_safe = not rest or (there is not None and self._is_applied(there, rest))
        return is_safe and not self.is_cut

    def _rest_is_open(self) -> str:
        return f"its changes to {len(self.rest)} files are in its patch alone (understudy apply)"

    def _is_open(self, folder: Path, patch: bytes) -> bool:
        """Whether a patch can be applied; False when it was.

        Raises:
            WorkRefused: it does not fit.
        """
        fits = _apply(folder, patch, "--check")
        if fits.returncode == 0:
            return True
        if self._is_applied(folder, patch):
            return False
        mend = "commit or undo your own changes, or merge the branch"
        raise WorkRefused(self.task_id, f"it does not apply: {_said(fits)}", mend)

    def _is_applied(self, folder: Path, patch: bytes) -> bool:
        return bool(patch) and _apply(folder, patch, "--reverse", "--check").returncode == 0

    def _folder(self) -> Path:
        if not self.changed:
            raise WorkRefused(self.task_id, "it changed nothing", "see `understudy result`")
        if self.folder is None or not self.folder.is_dir():
            what = f"{self.folder} is not there" if self.folder else "it had no repository"
            raise WorkRefused(self.task_id, what, "take its patch: understudy diff TASK")
        return self.folder

    def _origin(self) -> Origin:
        origin = find_origin(self._folder())
        if origin is None:
            mend = "take its patch: understudy diff TASK"
            raise WorkRefused(self.task_id, f"{self.folder} is no git repository", mend)
        return origin

    def _branch(self) -> str:
        origin = self._origin()
        if self.branch is None or self.tip(origin) is None:
            reason = f"branch {self.branch} is gone" if self.branch else "it has no branch"
            raise WorkRefused(self.task_id, reason, "take its patch: understudy apply TASK")
        if origin.is_bare:
            mend = f"fetch {self.branch} from it"
            raise WorkRefused(self.task_id, f"{self.folder} has no working tree", mend)
        return self.branch


def _between(origin: Origin, base: str | None, commit: str, relative: str) -> bytes:
    """The patch from one commit to another; from nothing when there is none before it."""
    plain = ("--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv")
    what = (base, commit) if base else ("--root", "--no-commit-id", commit)
    return origin.git.run("diff-tree", "-r", "-p", *plain, relative, *what)


def _is_held(origin: Origin, tip: str, branch: str) -> bool:
    """Whether something else than the branch itself has its commits, or the same changes."""
    holders = origin.git.run("for-each-ref", "--format=%(refname)", f"--contains={tip}")
    if set(holders.decode(errors="replace").split()) - {f"refs/heads/{branch}"}:
        return True
    try:
        cherries = origin.git.run("cherry", "HEAD", tip).decode().splitlines()
    except WorkspaceError:
        return False  # nothing is checked out, or there is no common past
    return bool(cherries) and all(line.startswith("-") for line in cherries)


def _apply(folder: Path, patch: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Run `git apply` with a patch whose paths are those below the folder."""
    place, below = folder, ""
    origin = find_origin(folder)
    if origin is not None and origin.git.work_tree is not None:
        # Below the top of a repository git passes over a patch's paths without a word.
        place, below = origin.git.work_tree, os.fsdecode(origin.prefix)
    where = (f"--directory={below}",) if below else ()
    return _user_git(place, "apply", "--whitespace=nowarn", *options, *where, "-", stdin=patch)


def _user_git(
    folder: Path, *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run git as the user would run it, but for hooks and what the repository itself would run."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    env |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true"}
    try:
        return subprocess.run(
            ["git", *NO_PROGRAMS, *arguments],
            cwd=folder,
            env=without_programs_of(folder, env),
            input=stdin,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise WorkspaceError("git", str(error), "install git, or look at the disk") from error


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    text = (done.stderr + done.stdout).decode(errors="replace")
    return " ".join(text.split())[:_MAX_SAID_CHARS]
