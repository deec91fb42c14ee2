"""An agent's two folders, home and work: files in, changes out, nothing left for the next task."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from .diffing import ANSWERS, BASE, WORK, Baseline, Diff
from .repository.committed import committed_files
from .repository.origin import find_origin
from .repository.publish import About, Published, Publisher
from .repository.source import Source, load_source
from .staging import MAX_FILE_BYTES, MAX_TOTAL_BYTES, StagedFile, resolve_files
from .untrusted_tree import WorkspaceError, empty_folder, place_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .tasks.task import Task

__all__ = ["About", "Diff", "Published", "StagedFile", "Workspace", "WorkspaceError"]

_MAX_MISSED = 100


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
        self._source: Source | None = None

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
        staged, source, missed = self._choose(task)
        try:
            self.clean()
            self._note_missed(missed)
        except OSError as error:
            raise self._unwritable(error) from error
        self._place_all(staged)
        self._keep(source)
        return staged

    def stage_beside(self, task: Task) -> list[StagedFile]:
        """Put copies of the task's files beside what is there, which stays as it is.

        Raises:
            WorkspaceError: a file is refused, or the workspace cannot be written.
        """
        staged, _, missed = self._choose(task) if task.files else ([], None, {})
        try:
            self._note_missed(missed)
        except OSError as error:
            raise self._unwritable(error) from error
        self._place_all(
            file for file in staged if not os.path.lexists(self.work_dir / file.relative)
        )
        if self._source and (task.files or task.repo is not None):
            origin = find_origin(Path(task.repo or "."))
            if not self._source.is_of(origin):
                # Its work is for another folder, whose commit is not what the files began from.
                self._keep(None)
        return staged

    def _choose(self, task: Task) -> tuple[list[StagedFile], Source | None, dict[str, str]]:
        """The files of a task, where they are from, and those that are not taken along."""
        if not task.files and task.repo is None:
            return [], None, {}
        missed: dict[str, str] = {}
        staged, source = self._found(task, missed)
        return staged, source, _most(missed)

    def _found(self, task: Task, missed: dict[str, str]) -> tuple[list[StagedFile], Source | None]:
        limits = {
            "max_file_bytes": self._max_file_bytes,
            "max_total_bytes": self._max_total_bytes,
        }
        repo = Path(task.repo or ".")
        origin = find_origin(repo)
        from_disk = task.include_uncommitted and not (origin and origin.is_bare)
        if from_disk:
            untracked = task.include_untracked
            staged = resolve_files(
                repo, task.files, untracked=untracked, not_taken=missed, **limits
            )
        else:
            staged = committed_files(origin, task.files, not_taken=missed, **limits)
        named = [os.fsencode(name) for name in task.files]
        return staged, Source(origin, from_disk, named) if origin else None

    def baseline(self) -> None:
        """Remember the present content of `work_dir`, for `diff` and `publish`.

        Raises:
            WorkspaceError: it cannot be read, or git fails.
        """
        source, before = self._source, self._baseline
        origin = source.origin if source else None
        self._baseline = Baseline(
            self._baseline_dir,
            self.work_dir,
            max_file_bytes=self._max_file_bytes,
            max_total_bytes=self._max_total_bytes,
            object_format=origin.object_format if origin else "sha1",
            objects=origin.objects if origin else None,
        )
        if source is None:
            return
        if before is None:
            source.note_state(self._baseline.paths)
        else:
            # What the earlier task of this context removed.
            source.note_gone(before.paths - self._baseline.paths)
        self._keep(source)

    @property
    def may_have_work(self) -> bool:
        """Whether the folders, taken up or not, are those of a task that may write."""
        return self._baseline_dir.exists()

    @property
    def has_baseline(self) -> bool:
        """Whether there is a state to compare the present one with: its task may write."""
        return self._baseline is not None

    def diff(self) -> Diff:
        """What has changed in `work_dir` since `baseline`; nothing of it is run or followed.

        Raises:
            WorkspaceError: there is no baseline, it cannot be read, or git fails.
        """
        if self._baseline is None:
            raise WorkspaceError(str(self.work_dir), "it has no baseline", "call baseline() first")
        return self._baseline.diff()

    def save(self, to: IO[bytes], stopped: Callable[[], bool] = lambda: False) -> bool:
        """Write what has changed since `baseline` into a file, while somebody may be at work.

        Returns:
            Whether there is something, and it is new since the last time.

        Raises:
            SavingStopped: `stopped` said so.
            WorkspaceError: it cannot be read, or git fails.
        """
        return self._baseline is not None and self._baseline.save(to, stopped=stopped)

    def publish(self, about: About) -> Published | None:
        """What the last `diff` saw, as commits on a branch of the user's repository.

        None when the files come from no repository. Nothing of the workspace or of the repository
        is executed, and the user's working tree, index and HEAD stay as they are.

        Raises:
            WorkspaceError: git refuses it; the repository has no branch then.
        """
        if self._baseline is None or self._source is None:
            return None
        return Publisher(self._baseline.git, self._source, base=BASE, work=WORK).publish(about)

    def clean(self) -> None:
        """Empty `work_dir` and forget the baseline; `home_dir` stays.

        Raises:
            OSError: something cannot be removed.
        """
        self._baseline, self._source = None, None
        for file in (self._mark_file, self._source_file, self._missed_file):
            file.unlink(missing_ok=True)
        empty_folder(self.work_dir)

    def take_up(self, owner: tuple[int, int] | None = None) -> None:
        """Go on with folders, and with a baseline, that are there already.

        Raises:
            WorkspaceError: the baseline is damaged.
        """
        self._owner = owner
        try:
            self._source = load_source(self._source_file)
            if self._baseline_dir.exists():
                self._baseline = Baseline(
                    self._baseline_dir,
                    self.work_dir,
                    max_file_bytes=self._max_file_bytes,
                    max_total_bytes=self._max_total_bytes,
                    reopen=True,
                )
        except OSError as error:
            reason = f"it cannot be read: {error.strerror or error}"
            raise WorkspaceError(str(self.root), reason, "run the task again") from error

    def move_out(self, to: Workspace) -> None:
        """Move the files, with what is known of their source and task, to an empty workspace.

        Raises:
            OSError: they are on different disks.
        """
        for entry in self.work_dir.iterdir():
            entry.rename(to.work_dir / entry.name)
        pairs = ((self._source_file, to._source_file), (self._mark_file, to._mark_file))
        for file, place in pairs:
            with contextlib.suppress(FileNotFoundError):
                file.rename(place)

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

    def leave(self, name: str, text: str) -> str:
        """Put a text beside the files, where it is no part of the work; its path inside.

        Raises:
            WorkspaceError: it cannot be written.
        """
        relative = PurePosixPath(ANSWERS, name)
        data = io.BytesIO(text.encode(errors="replace"))
        try:
            place_file(
                self.work_dir,
                relative,
                data,
                mode=0o644,
                owner=self._owner,
                max_bytes=self._max_file_bytes,
            )
        except ValueError:
            reason = f"it has more than {self._max_file_bytes:,} bytes"
            raise WorkspaceError(name, reason, "raise storage.max_file_bytes") from None
        except OSError as error:
            raise self._unwritable(error) from error
        return f"/work/{relative}"

    def names(self, at_most: int) -> list[str]:
        """The paths of files in `work_dir`, relative to it; for a time when nobody works there."""
        found: list[str] = []
        for folder, below, files in os.walk(self.work_dir):
            below[:] = sorted(name for name in below if name not in (".git", ANSWERS))
            found += (os.path.relpath(f"{folder}/{name}", self.work_dir) for name in sorted(files))
            if len(found) >= at_most:
                break
        return found[:at_most]

    @property
    def _baseline_dir(self) -> Path:
        return self.root / "baseline.git"

    @property
    def _mark_file(self) -> Path:
        return self.root / "task.json"

    def not_taken(self) -> dict[str, str]:
        """The task's files that are not in `work_dir`, each with the reason, also when taken up."""
        try:
            missed: dict[str, str] = json.loads(self._missed_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return {}  # none, or a full disk cut it off: not what a task fails for
        return missed

    def _note_missed(self, missed: dict[str, str]) -> None:
        if missed:
            self._missed_file.write_text(json.dumps(missed), encoding="ascii")
        else:
            self._missed_file.unlink(missing_ok=True)

    @property
    def _missed_file(self) -> Path:
        return self.root / "not_taken.json"

    @property
    def _source_file(self) -> Path:
        return self.root / "source.json"

    def _keep(self, source: Source | None) -> None:
        """Know that the files are from there, now and when the folders are taken up."""
        self._source = source
        try:
            if source is None:
                self._source_file.unlink(missing_ok=True)
            else:
                source.save(self._source_file)
        except OSError as error:
            raise self._unwritable(error) from error

    def remove(self) -> None:
        """Remove the whole workspace. Safe to call twice.

        Raises:
            OSError: something cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError):
            empty_folder(self.root)
            self.root.rmdir()

    def _place_all(self, staged: Iterable[StagedFile]) -> None:
        for file in staged:
            self._place(file)

    def _place(self, file: StagedFile) -> None:
        mode = 0o755 if file.is_executable else 0o644
        try:
            data = file.data
            with file.source.open("rb") if data is None else io.BytesIO(data) as source:
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


def _most(missed: dict[str, str]) -> dict[str, str]:
    """So many of them as a result and a prompt can name, and how many more there are."""
    named = dict(itertools.islice(missed.items(), _MAX_MISSED))
    more = len(missed) - len(named)
    return named | ({"(more)": f"{more} more files"} if more else {})
