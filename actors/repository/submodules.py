"""Submodules of the user's checkout: those that are there, and where their objects are.

A folder's `.git` can name any repository of the machine. It counts only when that repository lies
where git itself puts one: in the folder, or below `modules` of the repository around it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from .git import run_git
from .origin import find_origin
from .plan import SUBMODULE

if TYPE_CHECKING:
    from .origin import Origin


def own_submodule(around: Path, name: str) -> Origin | None:
    """The repository of a submodule that is checked out; None when it is not, or is another's.

    Args:
        around: a folder of the repository around it.
        name: the submodule's path below that folder.
    """
    folder = Path(os.path.realpath(around)) / name
    if Path(os.path.realpath(folder)) != folder:
        return None  # there is a link on the way
    found = find_origin(folder)
    if found is None or found.git.work_tree != folder:
        return None  # not checked out: git looked further up
    git_dir = Path(os.path.realpath(found.git.git_dir))
    # In a linked worktree they are below that worktree's own folder, or the common one.
    told = run_git(("rev-parse", "--git-dir", "--git-common-dir"), around)
    places = {os.path.realpath(around / name) for name in os.fsdecode(told.stdout).split("\n")}
    below = any(git_dir.is_relative_to(Path(place, "modules")) for place in places)
    return found if below or git_dir == folder / ".git" else None


def checked_out(origin: Origin) -> dict[bytes, str]:
    """The commit of each submodule of a working tree, by path from the top.

    Of one that is not checked out it is the one that git's index names.

    Raises:
        WorkspaceError: git fails.
    """
    top = origin.git.work_tree
    if top is None:
        return {}
    found: dict[bytes, str] = {}
    for line in origin.git.run("ls-files", "-z", "--stage").split(b"\0"):
        about, _, path = line.partition(b"\t")
        mode, oid, *_ = about.decode().split(" ") if about else ("", "")
        if mode == SUBMODULE:
            inside = own_submodule(top, os.fsdecode(path))
            found[path] = (inside.head if inside else None) or oid
    return found
