"""Which files git knows of in a folder, submodules' files among them; nothing is executed."""

from __future__ import annotations

import logging
import os
import subprocess
from typing import TYPE_CHECKING

from .git import NO_PROGRAMS
from .plan import SUBMODULE
from .submodules import own_submodule

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

_GIT_TIMEOUT_S = 30.0
# Mode, id and stage, a tab, the path.
_TRACKED = ("ls-files", "-z", "--stage")
_UNTRACKED = ("ls-files", "-z", "--others", "--exclude-standard")


def listed_files(folder: Path, *, untracked: bool = False) -> list[str] | None:
    """What git tracks in the folder and below; None where there is no git to ask.

    A submodule that is checked out stands for its own files.

    Args:
        folder: in a working tree.
        untracked: also what is neither tracked nor ignored.
    """
    tracked = _ask(folder, _TRACKED)
    if tracked is None:
        return None
    names: list[str] = []
    for line in tracked:
        about, _, path = line.partition(b"\t")
        name = os.fsdecode(path)
        if not about.startswith(SUBMODULE.encode()):
            names.append(name)
        elif own_submodule(folder, name) is not None:
            below = listed_files(folder / name, untracked=untracked) or []
            names += [f"{name}/{one}" for one in below]
    if untracked:
        names += map(os.fsdecode, _ask(folder, _UNTRACKED) or ())
    return names


def _ask(folder: Path, command: tuple[str, ...]) -> list[bytes] | None:
    # In the user's own environment: what his configuration ignores is ignored here, too.
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *NO_PROGRAMS, "-c", "safe.directory=*", *command],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        _log.info("%s is not asked of git: %s", folder, error)
        return None
    return [name for name in done.stdout.split(b"\0") if name]
