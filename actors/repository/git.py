"""git, run so that it executes nothing but itself: no hook, monitor, helper or pager."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from ..untrusted_tree import WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_GIT_TIMEOUT_S = 120.0
_MAX_ERROR_CHARS = 500
# `cat-file --batch` says: id, type, size. What is missing has a line of two words.
_BATCH_FIELDS = 3
# A repository's own configuration can name programs; what stands on the command line is stronger.
NO_PROGRAMS = tuple(
    part
    for setting in (
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "gc.auto=0",
        "maintenance.auto=false",
    )
    for part in ("-c", setting)
)
# Nothing is executed, and so it does not matter whose repository it is.
HARMLESS = (*NO_PROGRAMS, "-c", "safe.directory=*")
# ASCII that stands for itself between git's double quotes.
_PLAIN = frozenset(range(ord(" "), ord("~") + 1)) - frozenset(b'"\\')


@dataclass(frozen=True, slots=True)
class Entry:
    """What a path is in a tree: git's mode (100644, 100755, 120000, 160000) and the object's id."""

    mode: str
    oid: str


@dataclass(frozen=True, slots=True)
class Git:
    """git on one repository; each call is a program of its own and has a limit of 120 s.

    Attributes:
        git_dir: the repository. No other is looked for, and its owner is not asked about.
        work_tree: where the user's ignore and attribute files are read from, or None.
        owner: user and group to run as, so that no file of another user comes to lie in the
            repository; None is this process's own.
    """

    git_dir: Path
    work_tree: Path | None = None
    owner: tuple[int, int] | None = None

    def run(
        self,
        *arguments: str,
        stdin: IO[bytes] | bytes | None = None,
        stdout: IO[bytes] | None = None,
        may: int = 0,
    ) -> bytes:
        """What git writes to its standard output, if that is not to go into the file `stdout`.

        `may` is an exit code that is fine, too.

        Raises:
            WorkspaceError: git is missing, takes too long, or fails.
        """
        place = ["--git-dir", str(self.git_dir)]
        if self.work_tree is not None:
            place += ["--work-tree", str(self.work_tree)]
        where = self.work_tree or self.git_dir
        done = run_git([*place, *arguments], where, owner=self.owner, stdin=stdin, stdout=stdout)
        if done.returncode not in (0, may):
            said = done.stderr.decode(errors="replace").strip()[-_MAX_ERROR_CHARS:]
            reason = f"git {arguments[0]} failed ({done.returncode}): {said}"
            raise WorkspaceError(str(self.git_dir), reason, "look at the repository and its disk")
        return done.stdout or b""

    def entries(self, treeish: str) -> dict[bytes, Entry]:
        """Every file, link and submodule of a tree, by its path.

        Raises:
            WorkspaceError: there is no such tree.
        """
        found: dict[bytes, Entry] = {}
        for line in self.run("ls-tree", "-r", "-z", "--full-tree", treeish).split(b"\0"):
            if line:
                about, _, path = line.partition(b"\t")
                mode, _, oid = about.decode().split(" ")
                found[path] = Entry(mode, oid)
        return found

    def blobs(self, oids: Iterable[str]) -> dict[str, bytes]:
        """Files' contents as they are stored: no filter and no line end is applied.

        Raises:
            WorkspaceError: one is not there.
        """
        wanted = list(dict.fromkeys(oids))
        if not wanted:
            return {}
        told = self.run("cat-file", "--batch", stdin="".join(f"{oid}\n" for oid in wanted).encode())
        found: dict[str, bytes] = {}
        start = 0
        for oid in wanted:
            end = told.index(b"\n", start)
            kind = told[start:end].split()
            if len(kind) != _BATCH_FIELDS or kind[1] != b"blob":
                mend = "fetch it, or name other files"
                raise WorkspaceError(str(self.git_dir), f"object {oid} is not there", mend)
            size_bytes = int(kind[2])
            found[oid] = told[end + 1 : end + 1 + size_bytes]
            start = end + size_bytes + 2  # a line feed follows the content
        return found


def run_git(
    arguments: Iterable[str],
    folder: Path,
    *,
    owner: tuple[int, int] | None = None,
    stdin: IO[bytes] | bytes | None = None,
    stdout: IO[bytes] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder, whatever its exit code.

    Raises:
        WorkspaceError: git is missing or takes too long.
    """
    data = stdin if isinstance(stdin, bytes) else None
    file = None if isinstance(stdin, bytes) else stdin or subprocess.DEVNULL
    user, group = owner or (None, None)
    try:
        return subprocess.run(
            ["git", *HARMLESS, *arguments],
            cwd=folder,
            env=git_env(),
            stdin=file,
            input=data,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=_GIT_TIMEOUT_S,
            check=False,
            user=user,
            group=group,
            extra_groups=[] if owner else None,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise WorkspaceError("git", str(error), "install git, or look at the disk") from error


def git_env() -> dict[str, str]:
    """No configuration but git's own defaults: none of the machine's, the user's or a caller's."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "XDG_CONFIG_HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        # No transport at all: a repository with missing objects must not go and fetch them.
        "GIT_ALLOW_PROTOCOL": "",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        # Who is named in the log of a branch that we make.
        "GIT_COMMITTER_NAME": "Understudy",
        "GIT_COMMITTER_EMAIL": "understudy@localhost",
    }


def quoted(path: bytes) -> bytes:
    """A path in git's double quotes: any byte may be in it, also a line feed."""
    return b'"%s"' % b"".join(
        bytes([byte]) if byte in _PLAIN else b"\\%03o" % byte for byte in path
    )


def shown(path: bytes) -> str:
    """A path for people and for JSON, whatever bytes it has."""
    return path.decode(errors="backslashreplace")


def parents(path: bytes) -> list[bytes]:
    """The folders that a path lies in, the outermost first."""
    return [path[:end] for end in range(len(path)) if path[end : end + 1] == b"/"]
