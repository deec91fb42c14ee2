"""Where a workspace's files came from, written down beside it for a process that comes later."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..untrusted_tree import WorkspaceError
from .git import Git, parents
from .origin import Origin
from .submodules import checked_out

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


@dataclass(slots=True)
class Source:
    """The repository that a workspace's files were taken from, at the moment when they were.

    Attributes:
        origin: the repository.
        from_disk: whether the files are those on disk, not those of the commit.
        named: the files that were asked for, as they were named; none stands for all.
        removed: paths from the top that are in the commit, and were not to be in the workspace.
        links: where the links among the files lead, by path from the top.
        submodules: the commits of the submodules that are checked out, likewise.
    """

    origin: Origin
    from_disk: bool
    named: list[bytes] = field(default_factory=list[bytes])
    removed: set[bytes] = field(default_factory=set[bytes])
    links: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    submodules: dict[bytes, str] = field(default_factory=dict[bytes, str])

    def note_state(self, paths: Collection[bytes]) -> None:
        """Look what the user has removed, linked and checked out of what was asked for.

        `paths` are those that the workspace got.

        Raises:
            WorkspaceError: git fails.
        """
        if not self.from_disk:
            return
        origin = self.origin
        named = [_below(origin.folder, name) for name in self.named]
        self.removed = origin.missing(_in_scope(origin.entries(), origin.prefix, named))
        self.links = origin.links(origin.prefix + path for path in paths)
        submodules = checked_out(origin)
        asked_for = set(_in_scope(submodules, origin.prefix, named))
        asked_for.update(place for path in paths for place in parents(origin.prefix + path))
        self.submodules = {path: oid for path, oid in submodules.items() if path in asked_for}

    def note_gone(self, paths: Iterable[bytes]) -> None:
        """Take these files, by their paths in the workspace, for removed as well."""
        gone = {self.origin.prefix + path for path in paths}
        self.removed |= gone.intersection(self.origin.entries())

    def is_of(self, origin: Origin | None) -> bool:
        """Whether that is the same folder of the same repository, whatever is checked out now."""
        return (
            origin is not None
            and origin.git == self.origin.git
            and origin.prefix == self.origin.prefix
        )

    def save(self, path: Path) -> None:
        """Write it down, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        origin = self.origin
        data = {
            "git_dir": str(origin.git.git_dir),
            "work_tree": str(origin.git.work_tree) if origin.git.work_tree else None,
            "owner": origin.git.owner,
            "folder": str(origin.folder),
            "objects": str(origin.objects),
            "prefix": os.fsdecode(origin.prefix),
            "head": origin.head,
            "object_format": origin.object_format,
            "keeps_modes": origin.keeps_modes,
            "from_disk": self.from_disk,
            "named": _texts(self.named),
            "removed": _texts(self.removed),
            "links": list(zip(_texts(self.links), _texts(self.links.values()), strict=True)),
            "submodules": dict(zip(_texts(self.submodules), self.submodules.values(), strict=True)),
        }
        fresh = path.with_suffix(".new")
        # ASCII: a name that is no UTF-8 is kept as surrogates, which only escapes can hold.
        fresh.write_text(json.dumps(data), encoding="ascii")
        fresh.replace(path)


def load_source(path: Path) -> Source | None:
    """What `save` wrote; None when nothing was written.

    Raises:
        WorkspaceError: it is damaged.
        OSError: it cannot be read.
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="ascii"))
        work_tree, owner = data["work_tree"], data["owner"]
        git = Git(
            Path(data["git_dir"]),
            Path(work_tree) if work_tree else None,
            (int(owner[0]), int(owner[1])) if owner else None,
        )
        origin = Origin(
            git=git,
            folder=Path(data["folder"]),
            objects=Path(data["objects"]),
            prefix=os.fsencode(data["prefix"]),
            head=data["head"],
            object_format=data["object_format"],
            keeps_modes=data["keeps_modes"],
        )
        return Source(
            origin,
            data["from_disk"],
            named=[os.fsencode(name) for name in data["named"]],
            removed={os.fsencode(path) for path in data["removed"]},
            links={os.fsencode(path): os.fsencode(to) for path, to in data.get("links", ())},
            submodules={os.fsencode(path): oid for path, oid in data.get("submodules", {}).items()},
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise WorkspaceError(str(path), f"it is damaged: {error}", "run the task again") from error


def _texts(paths: Iterable[bytes]) -> list[str]:
    return [os.fsdecode(path) for path in paths]


def _below(folder: Path, name: bytes) -> bytes:
    """A named file's place below the folder; "" is the folder itself."""
    place = os.path.relpath(os.path.join(os.fsencode(folder), name), os.fsencode(folder))  # noqa: PTH118 - bytes
    return b"" if place == b"." else place


def _in_scope(head: Mapping[bytes, object], prefix: bytes, files: list[bytes]) -> list[bytes]:
    """The commit's paths that a task's files stand for: those named and those below, or all."""
    below = [path for path in head if path.startswith(prefix)]
    if not files:
        return below
    return [
        path
        for path in below
        if any(path == prefix + name or path.startswith(prefix + name + b"/") for name in files)
    ]
