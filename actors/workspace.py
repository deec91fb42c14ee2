"""An agent's two folders, home and work: files in, changes out, nothing left for the next task."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .diffing import Baseline, Diff
from .staging import MAX_FILE_BYTES, MAX_TOTAL_BYTES, StagedFile, resolve_files
from .untrusted_tree import WorkspaceError, empty_folder, place_file

if TYPE_CHECKING:
    from .tasks.task import Task

__all__ = ["Diff", "StagedFile", "Workspace", "WorkspaceError"]


class Workspace:
    """The folders below `root`, which must be on one disk and closed to other users.

    `work_dir` and `home_dir` are for mounting in a container; what lies beside them is ours. Used
    by one thread. Sizes are in bytes.
    """

    def __init__(
        self,
        root: Path,
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        max_total_bytes: int = MAX_TOTAL_BYTES,
    ) -> None:
        self.root = root
        self.work_dir = root / "work"
        self.home_dir = root / "home"
        self._max_file_bytes = max_file_bytes
        self._max_total_bytes = max_total_bytes
        self._owner: tuple[int, int] | None = None
        self._baseline: Baseline | None = None

    def create(self, owner: tuple[int, int] | None = None) -> None:
        """Make the folders, for that user and group; None leaves them with the caller's.

        Raises:
            OSError: they are there already, or cannot be made.
        """
        self._owner = owner
        self.root.mkdir(mode=0o700, parents=True)
        for folder in (self.work_dir, self.home_dir):
            folder.mkdir(mode=0o755)
            if owner is not None:
                os.chown(folder, *owner)

    def stage(self, task: Task) -> list[StagedFile]:
        """Put copies of the task's files, and nothing else, in `work_dir`.

        Without a repository, paths are those of the current folder; a task with neither
        repository nor files has an empty workspace.

        Raises:
            WorkspaceError: a file is refused, or the workspace cannot be written.
        """
        staged: list[StagedFile] = []
        if task.files or task.repo is not None:
            staged = resolve_files(
                Path(task.repo or "."),
                task.files,
                max_file_bytes=self._max_file_bytes,
                max_total_bytes=self._max_total_bytes,
            )
        try:
            self.clean()
        except OSError as error:
            raise self._unwritable(error) from error
        for file in staged:
            self._place(file)
        return staged

    def stage_beside(self, task: Task) -> list[StagedFile]:
        """Put copies of the task's files beside what is there, which stays as it is.

        Raises:
            WorkspaceError: a file is refused, or the workspace cannot be written.
        """
        if not task.files:
            return []
        staged = resolve_files(
            Path(task.repo or "."),
            task.files,
            max_file_bytes=self._max_file_bytes,
            max_total_bytes=self._max_total_bytes,
        )
        for file in staged:
            if not os.path.lexists(self.work_dir / file.relative):
                self._place(file)
        return staged

    def baseline(self) -> None:
        """Remember the present content of `work_dir`, for `diff`.

        Raises:
            WorkspaceError: it cannot be read, or git fails.
        """
        self._baseline = Baseline(
            self.root / "baseline.git",
            self.work_dir,
            max_file_bytes=self._max_file_bytes,
            max_total_bytes=self._max_total_bytes,
        )

    def diff(self) -> Diff:
        """What has changed in `work_dir` since `baseline`; nothing of it is run or followed.

        Raises:
            WorkspaceError: there is no baseline, it cannot be read, or git fails.
        """
        if self._baseline is None:
            raise WorkspaceError(str(self.work_dir), "it has no baseline", "call baseline() first")
        return self._baseline.diff()

    def clean(self) -> None:
        """Empty `work_dir` and forget the baseline; `home_dir` stays.

        Raises:
            OSError: something cannot be removed.
        """
        self._baseline = None
        self._mark_file.unlink(missing_ok=True)
        empty_folder(self.work_dir)

    def take_up(self, owner: tuple[int, int] | None = None) -> None:
        """Go on with folders, and with a baseline, that are there already.

        Raises:
            WorkspaceError: the baseline is damaged.
        """
        self._owner = owner
        git_dir = self.root / "baseline.git"
        if not git_dir.exists():
            return
        try:
            self._baseline = Baseline(
                git_dir,
                self.work_dir,
                max_file_bytes=self._max_file_bytes,
                max_total_bytes=self._max_total_bytes,
                reopen=True,
            )
        except OSError as error:
            reason = f"it cannot be read: {error.strerror or error}"
            raise WorkspaceError(str(git_dir), reason, "run the task again") from error

    def mark(self, task_id: str, transcript_bytes: int) -> None:
        """Note, for whoever takes the folders up, that this task's turn is about to begin.

        `transcript_bytes` is how long the conversation's transcript is before.
        """
        # In one step: it is there whole or not at all.
        fresh = self._mark_file.with_suffix(".new")
        fresh.write_text(json.dumps([task_id, transcript_bytes]), encoding="utf-8")
        fresh.replace(self._mark_file)

    def marked(self) -> tuple[str, int] | None:
        """What `mark` noted last, or None: no turn has begun since the folders were clean."""
        try:
            task_id, transcript_bytes = json.loads(self._mark_file.read_text(encoding="utf-8"))
            return str(task_id), int(transcript_bytes)
        except (OSError, ValueError, TypeError):
            return None

    def names(self, at_most: int) -> list[str]:
        """The paths of files in `work_dir`, relative to it; for a time when nobody works there."""
        found: list[str] = []
        for folder, below, files in os.walk(self.work_dir):
            below[:] = sorted(name for name in below if name != ".git")
            found += (os.path.relpath(f"{folder}/{name}", self.work_dir) for name in sorted(files))
            if len(found) >= at_most:
                break
        return found[:at_most]

    @property
    def _mark_file(self) -> Path:
        return self.root / "task.json"

    def remove(self) -> None:
        """Remove the whole workspace. Safe to call twice.

        Raises:
            OSError: something cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError):
            empty_folder(self.root)
            self.root.rmdir()

    def _place(self, file: StagedFile) -> None:
        mode = 0o755 if file.is_executable else 0o644
        try:
            with file.source.open("rb") as source:
                place_file(
                    self.work_dir,
                    file.relative,
                    source,
                    mode=mode,
                    owner=self._owner,
                    max_bytes=self._max_file_bytes,
                )
        except ValueError as error:
            raise WorkspaceError(str(file.source), "it grew while copied", "try again") from error
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> WorkspaceError:
        what = f" ({error.filename})" if error.filename else ""
        reason = f"it cannot be filled: {error.strerror or error}{what}"
        return WorkspaceError(str(self.work_dir), reason, "look at its disk and its rights")
