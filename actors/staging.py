"""Which files of the user's repository a task gets. What was named is taken, or refused by name."""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from .repository.git import shown
from .repository.listing import listed_files
from .untrusted_tree import WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_log = logging.getLogger(__name__)

MAX_FILE_BYTES = 10_000_000
MAX_TOTAL_BYTES = 200_000_000
MAX_FILES = 20_000
# Where git, too, looks for a NUL to tell binary from text.
_PROBE_BYTES = 8000


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file for the workspace.

    Attributes:
        source: the real file, links resolved.
        relative: its place below the repository, and below the workspace.
        size_bytes: its size when it was looked at.
        is_binary: whether it is no text.
        is_executable: whether its owner may run it.
        data: its content when it is taken from a commit; `source` only names it then.
    """

    source: Path
    relative: PurePosixPath
    size_bytes: int
    is_binary: bool
    is_executable: bool
    data: bytes | None = None


def resolve_files(
    repo: Path,
    files: list[str],
    *,
    untracked: bool = False,
    max_file_bytes: int = MAX_FILE_BYTES,
    max_total_bytes: int = MAX_TOTAL_BYTES,
    not_taken: dict[str, str] | None = None,
) -> list[StagedFile]:
    """The files that a task names, each at its place below the repository.

    A folder stands for the files below it; no file at all stands for those that git tracks (with
    `untracked` also for those that it neither tracks nor ignores), or for all where there is no
    git. A link to a file inside the repository stands for that file. What a folder only happens to
    hold, but may not be taken, is left out, with a line in the log; files that are there, but too
    large, special or unreadable, are put in `not_taken`, each with the reason.

    Raises:
        WorkspaceError: a named file is missing, outside, special, unreadable or too large, or all
            of them together are.
    """
    given = Path(os.path.abspath(repo))  # noqa: PTH100 - keeps links, as the paths given do
    missed = {} if not_taken is None else not_taken
    finder = _Finder(_real_folder(repo), given, max_file_bytes, missed)
    found = finder.named(files) if files else finder.all(untracked=untracked)
    staged: dict[PurePosixPath, StagedFile] = {}
    total_bytes = 0
    for file in found:
        if file.relative in staged:
            continue
        staged[file.relative] = file
        total_bytes += file.size_bytes
        if total_bytes > max_total_bytes or len(staged) > MAX_FILES:
            reason = f"its files are more than {MAX_FILES:,}, or {max_total_bytes:,} bytes"
            mend = "name fewer files, or raise storage.max_workspace_bytes"
            if untracked:
                mend += ", or have git ignore what is no source"
            raise WorkspaceError(str(repo), reason, mend)
    return list(staged.values())


def _real_folder(repo: Path) -> Path:
    try:
        real = repo.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = "the repository is not there" if _is_missing(error) else str(error)
        raise WorkspaceError(str(repo), reason, "name an existing folder") from error
    if not real.is_dir():
        raise WorkspaceError(str(repo), "the repository is no folder", "name a folder")
    return real


@dataclass(frozen=True, slots=True)
class _Finder:
    """Looks for files in one repository: `real` is its true place, `given` the place as named."""

    real: Path
    given: Path
    max_file_bytes: int
    not_taken: dict[str, str]

    def named(self, files: Iterable[str]) -> Iterator[StagedFile]:
        for name in files:
            path, relative = self._locate(name)
            if path.is_dir():
                yield from self._below(path, relative)
            else:
                yield self._checked(name, path, relative)

    def all(self, *, untracked: bool) -> Iterator[StagedFile]:
        listed = listed_files(self.real, untracked=untracked)
        if listed is None:
            yield from self._below(self.real, PurePosixPath())
            return
        for relative in listed:
            if file := self._if_fit(PurePosixPath(relative)):
                yield file

    def _below(self, folder: Path, relative: PurePosixPath) -> Iterator[StagedFile]:
        for place, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if name.lower() != ".git")
            below = relative / PurePosixPath(os.path.relpath(place, folder))
            for name in sorted(names):
                if name.lower() != ".git" and (file := self._if_fit(below / name)):
                    yield file

    def _if_fit(self, relative: PurePosixPath) -> StagedFile | None:
        """A file that was found, not named; None when it is of no use to an agent."""
        try:
            path, relative = self._locate(str(relative))
            if path.is_dir():
                return None  # a submodule without files, or a link to a folder walked by itself
        except WorkspaceError as error:
            _log.warning("left out of the workspace: %s", error)
            return None
        try:
            return self._checked(str(relative), path, relative)
        except WorkspaceError as error:
            _log.warning("left out of the workspace: %s", error)
            self.not_taken[shown(os.fsencode(relative))] = error.reason
            return None

    def _locate(self, name: str) -> tuple[Path, PurePosixPath]:
        """The real path of a name, and its place below the repository."""
        lexical = Path(os.path.normpath(self.given / name))
        try:
            real = lexical.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            reason = "there is no such file" if _is_missing(error) else f"unreadable: {error}"
            raise WorkspaceError(name, f"{reason} in {self.given}", "check its name") from error
        if not real.is_relative_to(self.real):
            mend = "name files inside of it, or another repository"
            where = "" if real == lexical else f" (it is {real})"
            raise WorkspaceError(name, f"it is outside of {self.given}{where}", mend)
        base = self.given if lexical.is_relative_to(self.given) else self.real
        inside = lexical if lexical.is_relative_to(base) else real
        relative = PurePosixPath(inside.relative_to(base))
        if any(
            part.lower() == ".git" for part in relative.parts + real.relative_to(self.real).parts
        ):
            raise WorkspaceError(name, "it belongs to git", "leave it out")
        return real, relative

    def _checked(self, name: str, path: Path, relative: PurePosixPath) -> StagedFile:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise WorkspaceError(name, "it is a pipe, socket or device", "leave it out")
        if status.st_size > self.max_file_bytes:
            reason = f"it has {status.st_size:,} bytes, at most {self.max_file_bytes:,} are taken"
            raise WorkspaceError(name, reason, "leave it out, or raise storage.max_file_bytes")
        try:
            with path.open("rb") as file:
                is_binary = b"\0" in file.read(_PROBE_BYTES)
        except OSError as error:
            reason = f"it cannot be read: {error.strerror or error}"
            raise WorkspaceError(name, reason, "make it readable, or leave it out") from error
        executable = bool(status.st_mode & stat.S_IXUSR)
        return StagedFile(path, relative, status.st_size, is_binary, executable)


def _is_missing(error: BaseException) -> bool:
    return isinstance(error, FileNotFoundError | NotADirectoryError)
