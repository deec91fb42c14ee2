"""An agent's two folders, home and work: files in, changes out, nothing left for the next task."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .diffing import BASE, WORK, Baseline, Diff
from .repository.committed import committed_files
from .repository.origin import find_origin
from .repository.publish import About, Published, Publisher, in_scope
from .staging import MAX_FILE_BYTES, MAX_TOTAL_BYTES, StagedFile, resolve_files
from .untrusted_tree import WorkspaceError, empty_folder, place_file

if TYPE_CHECKING:
    from .repository.origin import Origin
    from .tasks.task import Task

__all__ = ["About", "Diff", "Published", "StagedFile", "Workspace", "WorkspaceError"]


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
        self._origin: Origin | None = None
        self._named: list[bytes] = []
        self._from_disk = True
        self._removed: set[bytes] = set()

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
        origin: Origin | None = None
        from_disk = task.include_uncommitted
        if task.files or task.repo is not None:
            repo = Path(task.repo or ".")
            origin = find_origin(repo)
            from_disk = from_disk and not (origin and origin.is_bare)
            limits = {
                "max_file_bytes": self._max_file_bytes,
                "max_total_bytes": self._max_total_bytes,
            }
            if from_disk:
                staged = resolve_files(repo, task.files, **limits)
            else:
                staged = committed_files(origin, task.files, **limits)
        try:
            self.clean()
        except OSError as error:
            raise self._unwritable(error) from error
        for file in staged:
            self._place(file)
        self._origin, self._from_disk = origin, from_disk
        self._named = [os.fsencode(name) for name in task.files]
        return staged

    def baseline(self) -> None:
        """Remember the present content of `work_dir`, for `diff` and `publish`.

        Raises:
            WorkspaceError: it cannot be read, or git fails.
        """
        origin = self._origin
        self._baseline = Baseline(
            self.root / "baseline.git",
            self.work_dir,
            max_file_bytes=self._max_file_bytes,
            max_total_bytes=self._max_total_bytes,
            object_format=origin.object_format if origin else "sha1",
            objects=origin.objects if origin else None,
        )
        if origin is not None and self._from_disk:
            named = [_below(origin.folder, name) for name in self._named]
            self._removed = origin.missing(in_scope(origin.entries(), origin.prefix, named))

    def diff(self) -> Diff:
        """What has changed in `work_dir` since `baseline`; nothing of it is run or followed.

        Raises:
            WorkspaceError: there is no baseline, it cannot be read, or git fails.
        """
        if self._baseline is None:
            raise WorkspaceError(str(self.work_dir), "it has no baseline", "call baseline() first")
        return self._baseline.diff()

    def publish(self, about: About) -> Published | None:
        """What the last `diff` saw, as commits on a branch of the user's repository.

        None when the files come from no repository. Nothing of the workspace or of the repository
        is executed, and the user's working tree, index and HEAD stay as they are.

        Raises:
            WorkspaceError: git refuses it; the repository has no branch then.
        """
        if self._baseline is None or self._origin is None:
            return None
        publisher = Publisher(
            self._baseline.git,
            self._origin,
            base=BASE,
            work=WORK,
            removed=self._removed if self._from_disk else None,
        )
        return publisher.publish(about)

    def clean(self) -> None:
        """Empty `work_dir` and forget the baseline; `home_dir` stays.

        Raises:
            OSError: something cannot be removed.
        """
        self._baseline, self._origin, self._removed = None, None, set()
        empty_folder(self.work_dir)

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


def _below(folder: Path, name: bytes) -> bytes:
    """A named file's place below the folder; "" is the folder itself."""
    place = os.path.relpath(os.path.join(os.fsencode(folder), name), os.fsencode(folder))  # noqa: PTH118 - bytes
    return b"" if place == b"." else place
