"""Where a task's files come from: the user's git repository as it was when the task began."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .git import Git, parents, run_git

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .git import Entry

# What makes the bytes on disk others than those in the repository.
_TRANSLATING = ("filter", "working-tree-encoding", "ident")
_OFF = frozenset({b"unspecified", b"unset"})


@dataclass(frozen=True, slots=True)
class Origin:
    """A repository, seen from the folder that a task names.

    Attributes:
        git: on the repository; in a linked worktree that worktree's own view of it.
        folder: the folder as it was named.
        objects: the folder with its objects.
        prefix: from the top of the working tree to the folder: empty, or it ends in "/".
        head: the commit that was checked out; None when there was none yet.
        object_format: "sha1" or "sha256".
        keeps_modes: whether the executable bits on disk mean something.
    """

    git: Git
    folder: Path
    objects: Path
    prefix: bytes
    head: str | None
    object_format: str
    keeps_modes: bool

    @property
    def is_bare(self) -> bool:
        """Whether there is no working tree, only commits."""
        return self.git.work_tree is None

    def entries(self) -> dict[bytes, Entry]:
        """All that the commit holds, by path from the top."""
        return {} if self.head is None else self.git.entries(self.head)

    def missing(self, paths: Iterable[bytes]) -> set[bytes]:
        """Those of the paths (from the top) that the user has removed from the working tree.

        What a sparse checkout leaves out is not removed.
        """
        top = self.git.work_tree
        if top is None:
            return set()
        gone = {path for path in paths if not os.path.lexists(os.fsencode(top) + b"/" + path)}
        if not gone:
            return set()
        listed = self.git.run("ls-files", "-t", "-z").split(b"\0")
        return gone - {line[2:] for line in listed if line.startswith(b"S ")}

    def links(self, paths: Iterable[bytes]) -> dict[bytes, bytes]:
        """Where those of the paths (from the top) lead that are links in the user's folder."""
        top = self.git.work_tree
        found: dict[bytes, bytes] = {}
        if top is None:
            return found
        for path in paths:
            with contextlib.suppress(OSError):  # no link
                found[path] = os.readlink(os.fsencode(top) + b"/" + path)  # noqa: PTH115 - bytes
        return found

    def translated(self, paths: Iterable[bytes]) -> dict[bytes, str]:
        """Those of the paths whose content git translates by a program or rule, and by which."""
        wanted = b"".join(path + b"\0" for path in paths)
        if self.is_bare or not wanted:
            return {}
        told = self.git.run("check-attr", "-z", "--stdin", *_TRANSLATING, stdin=wanted)
        parts = told.split(b"\0")
        return {
            path: f"{name.decode()}={value.decode(errors='replace')}"
            for path, name, value in zip(parts[0::3], parts[1::3], parts[2::3], strict=False)
            if value not in _OFF
        }

    def ignored(self, paths: Iterable[bytes]) -> set[bytes]:
        """Those of the paths that the user's ignore files leave out of the repository."""
        paths = list(paths)
        # git judges nothing behind a link.
        links = self.links({place for path in paths for place in parents(path)})
        judged = [path for path in paths if links.keys().isdisjoint(parents(path))]
        wanted = b"".join(path + b"\0" for path in judged)
        if self.is_bare or not wanted:
            return set()
        # 1: none is.
        told = self.git.run("check-ignore", "-z", "--stdin", stdin=wanted, may=1)
        return {path for path in told.split(b"\0") if path}


def find_origin(folder: Path) -> Origin | None:
    """The repository that a folder lies in, or is; None when there is none that git can read.

    Nothing that the repository names is executed. A process of root looks, and later writes, as
    the user that owns the folder.

    Raises:
        WorkspaceError: git is missing or takes too long.
    """
    real = Path(os.path.abspath(folder)).resolve()  # noqa: PTH100 - a folder that is not there is no error here
    try:
        owner = _owner(real)
    except OSError:
        return None

    def ask(*arguments: str) -> str | None:
        done = run_git(arguments, real, owner=owner)
        return os.fsdecode(done.stdout).removesuffix("\n") if done.returncode == 0 else None

    git_dir = ask("rev-parse", "--absolute-git-dir")
    if git_dir is None:
        return None
    is_bare = ask("rev-parse", "--is-bare-repository") == "true"
    top = None if is_bare else ask("rev-parse", "--show-toplevel")
    if top is None and not is_bare:
        return None  # git's own folder
    if top is not None and not real.is_relative_to(top):
        return None  # its configuration says that its files lie somewhere else: core.worktree
    objects = real / (ask("rev-parse", "--git-path", "objects") or "")
    return Origin(
        git=Git(Path(git_dir), Path(top) if top else None, owner),
        folder=folder,
        objects=objects,
        prefix=os.fsencode(ask("rev-parse", "--show-prefix") or "") if top else b"",
        head=ask("rev-parse", "-q", "--verify", "HEAD^{commit}"),
        object_format=ask("rev-parse", "--show-object-format") or "sha1",
        keeps_modes=ask("config", "--type=bool", "core.fileMode") != "false",
    )


def _owner(folder: Path) -> tuple[int, int] | None:
    """Whom to act as: root acts as the folder's owner, everybody else as himself."""
    status = folder.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(str(folder))
    if os.geteuid() != 0 or status.st_uid == 0:
        return None
    return status.st_uid, status.st_gid
