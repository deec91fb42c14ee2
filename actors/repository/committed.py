"""The files of a task as they are in the commit that is checked out, whatever lies on disk."""

from __future__ import annotations

import logging
import os
import posixpath
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..staging import MAX_FILES, StagedFile
from ..untrusted_tree import WorkspaceError
from .git import shown
from .plan import LINK, SUBMODULE
from .submodules import own_submodule

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .git import Entry, Git
    from .origin import Origin

    _Part = tuple[Git, dict[bytes, Entry]]

_log = logging.getLogger(__name__)

_MAX_HOPS = 10


def committed_files(
    origin: Origin | None,
    files: list[str],
    *,
    max_file_bytes: int,
    max_total_bytes: int,
    not_taken: dict[str, str] | None = None,
) -> list[StagedFile]:
    """The files that a task names, or all, with the content that is stored in git.

    No filter is applied: a file of git LFS is its pointer. A link to a file of the commit stands
    for that file; other links are left out. A submodule that is checked out stands for the files
    of its commit that this one names; other submodules are left out. Files that are too large, and
    were not named, are put in `not_taken`, each with the reason.

    Raises:
        WorkspaceError: there is no commit, a named file is not in it, or the files are too large.
    """
    if origin is None or origin.head is None:
        reason = "its committed files are wanted, but there is no commit"
        raise WorkspaceError(str(origin.folder if origin else "."), reason, "commit them first")
    parts = _parts(origin.git, origin.entries(), origin.git.work_tree)
    wanted = _wanted(origin, parts, files)
    if len(wanted) > MAX_FILES:
        raise _too_large(origin, f"its files are more than {MAX_FILES:,}")
    blobs = _blobs(parts, {entry.oid for entry in wanted.values()})
    staged: list[StagedFile] = []
    missed = {} if not_taken is None else not_taken
    total_bytes = 0
    for path, entry in wanted.items():
        data = blobs[entry.oid]
        if len(data) > max_file_bytes:
            if files:
                raise _too_large(origin, f"{os.fsdecode(path)} has {len(data):,} bytes")
            # Found, not named: as with files on disk.
            reason = f"it has {len(data):,} bytes, at most {max_file_bytes:,} are taken"
            missed[shown(path.removeprefix(origin.prefix))] = reason
            continue
        total_bytes += len(data)
        if total_bytes > max_total_bytes:
            raise _too_large(origin, f"its files have more than {max_total_bytes:,} bytes")
        staged.append(_staged(path, entry, data, origin.prefix))
    return staged


def _staged(path: bytes, entry: Entry, data: bytes, prefix: bytes) -> StagedFile:
    relative = PurePosixPath(os.fsdecode(path.removeprefix(prefix)))
    runs = entry.mode == "100755"
    return StagedFile(Path(os.fsdecode(path)), relative, len(data), b"\0" in data, runs, data)


def _parts(git: Git, entries: dict[bytes, Entry], folder: Path | None) -> list[_Part]:
    """A commit's files, and those of its submodules, each with the repository that holds them."""
    parts = [(git, entries)]
    if folder is None:
        return parts  # bare
    for path, entry in entries.items():
        inside = own_submodule(folder, os.fsdecode(path)) if entry.mode == SUBMODULE else None
        if inside is None:
            continue
        try:
            below = inside.git.entries(entry.oid)
        except WorkspaceError as error:
            _log.warning("left out of the workspace: %s", error)  # its commit was not fetched
            continue
        for holder, found in _parts(inside.git, below, folder / os.fsdecode(path)):
            parts.append((holder, {path + b"/" + name: one for name, one in found.items()}))
    return parts


def _blobs(parts: list[_Part], oids: Collection[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for git, entries in parts:
        found |= git.blobs(entry.oid for entry in entries.values() if entry.oid in oids)
    return found


def _wanted(origin: Origin, parts: list[_Part], files: list[str]) -> dict[bytes, Entry]:
    """The files to take, by path from the top; for a link the file that it leads to."""
    entries = {path: entry for _, part in parts for path, entry in part.items()}
    links = {path: entry.oid for path, entry in entries.items() if entry.mode == LINK}
    targets = _blobs(parts, set(links.values()))
    leads_to = {path: targets[oid] for path, oid in links.items()}
    wanted: dict[bytes, Entry] = {}
    for name in files or ["."]:
        place = _from_top(origin, name)
        below = [path for path in entries if not place or _is_in(path, place)]
        if files and not below:
            raise WorkspaceError(name, "it is not in the commit", "commit it, or check its name")
        for path in below:
            if found := _followed(path, entries, leads_to):
                wanted[path] = found
    return wanted


def _is_in(path: bytes, place: bytes) -> bool:
    return path == place or path.startswith(place + b"/")


def _from_top(origin: Origin, name: str) -> bytes:
    """A named file's place, from the top of the repository; "" is the top itself."""
    folder = os.path.abspath(origin.folder)  # noqa: PTH100 - keeps links, as the paths given do
    below = os.path.relpath(os.path.join(folder, name), folder)  # noqa: PTH118 - likewise
    if PurePosixPath(below).parts[:1] == (os.pardir,):
        mend = "name files inside of it, or another repository"
        raise WorkspaceError(name, f"it is outside of {origin.folder}", mend)
    place = origin.prefix + (b"" if below == os.curdir else os.fsencode(below))
    return place.rstrip(b"/")


def _followed(
    path: bytes, entries: Mapping[bytes, Entry], leads_to: Mapping[bytes, bytes]
) -> Entry | None:
    """The regular file that a path is or leads to; None where it leads elsewhere."""
    for _ in range(_MAX_HOPS):
        entry = entries.get(path)
        if entry is None or entry.mode == SUBMODULE:
            return None
        if entry.mode != LINK:
            return entry
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), leads_to[path]))
    return None


def _too_large(origin: Origin, reason: str) -> WorkspaceError:
    mend = "name fewer files, or raise storage.max_file_bytes and storage.max_workspace_bytes"
    return WorkspaceError(str(origin.folder), reason, mend)
