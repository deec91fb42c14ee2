"""What changed in a workspace, as a patch. git sees only copies: it never looks into the workspace.

A workspace can hold `.gitattributes` that name filters, a `.git` with hooks and a monitor program,
repositories in folders. None of it is in effect where git does not go: the files are read here,
without following links, and handed to `git fast-import` into a repository of our own.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from .repository.git import Git, parents, quoted, shown
from .repository.patches import starts
from .untrusted_tree import LeftOut, TreeFile, WorkspaceError, read_tree

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_DIFF_BYTES = 10_000_000
# Texts for the agent that are no part of its work: see `Workspace.leave`.
ANSWERS = ".understudy-answers"
# In our repository: the paths that were in another encoding at the beginning.
_OPAQUE = "opaque"
_NOT_WORK = ANSWERS.encode() + b"/"
BASE = "refs/heads/base"
WORK = "refs/heads/work"


@dataclass(frozen=True, slots=True)
class Diff:
    """The changes since the baseline.

    Attributes:
        text: a patch for `git apply`; paths have a/ and b/ before them.
        files_changed: all changed paths, also those that are not in the text.
        truncated: whether something is missing in the text.
        left_out: what is missing, with the reason.
    """

    text: str = ""
    files_changed: list[str] = field(default_factory=list[str])
    truncated: bool = False
    left_out: dict[str, str] = field(default_factory=dict[str, str])


class Baseline:
    """The state of a folder at one moment, to compare it with later.

    Args:
        git_dir: our own repository, made new; it must lie outside of the folder.
        tree: the folder.
        max_file_bytes, max_total_bytes: what is over them is not in the patch, but named.
        object_format: how its objects are named, "sha1" or "sha256".
        objects: the objects of another repository, which ours can name then; they are only read.
        reopen: go on with the repository that another `Baseline` made there.

    Attributes:
        git: our repository; `BASE` in it is the state at that moment, `WORK` that of `diff`.

    Raises:
        WorkspaceError: the folder cannot be read, or git fails.
    """

    def __init__(
        self,
        git_dir: Path,
        tree: Path,
        *,
        max_file_bytes: int,
        max_total_bytes: int,
        object_format: str = "sha1",
        objects: Path | None = None,
        reopen: bool = False,
    ) -> None:
        self.git = Git(git_dir)
        self._git_dir = git_dir
        self._tree = tree
        self._max_file_bytes = max_file_bytes
        self._max_total_bytes = max_total_bytes
        self._opaque: set[bytes] = set()
        self._paths: frozenset[bytes] = frozenset()
        if reopen:
            self._load()
            return
        shutil.rmtree(git_dir, ignore_errors=True)
        git_dir.mkdir(mode=0o700)
        form = f"--object-format={object_format}"
        self.git.run("init", "-q", "--bare", "--template=", form, str(git_dir))
        if objects is not None:
            (git_dir / "objects" / "info").mkdir(exist_ok=True)
            named = quoted(bytes(objects)) + b"\n"
            (git_dir / "objects" / "info" / "alternates").write_bytes(named)
        self._paths, _ = self._import(BASE)
        (git_dir / _OPAQUE).write_bytes(b"\0".join(sorted(self._opaque)))

    @property
    def paths(self) -> frozenset[bytes]:
        """What was there at that moment."""
        return self._paths

    def diff(self, *, max_diff_bytes: int = MAX_DIFF_BYTES) -> Diff:
        """What has changed since; may be called again.

        Raises:
            WorkspaceError: the folder cannot be read, or git fails.
        """
        _, left_out = self._import(WORK)
        self._write_attributes()
        names = self._compare("--name-only", "-z").split(b"\0")
        changed = [shown(name) for name in names if name]
        text, cut = _limited(self._compare("-p", "--binary", "--full-index"), max_diff_bytes)
        missing = {shown(item.path): item.why for item in left_out}
        if cut:
            missing["(patch)"] = f"{cut} files; the patch is limited to {max_diff_bytes:,} bytes"
        changed += [path for path in missing if path != "(patch)" and path not in changed]
        return Diff(text, changed, bool(missing), missing)

    def _load(self) -> None:
        """Know again what was known after the first import."""
        self._paths = frozenset(self.git.entries(BASE))
        opaque = (self._git_dir / _OPAQUE).read_bytes().split(b"\0")
        self._opaque = {name for name in opaque if name}

    def _import(self, branch: str) -> tuple[frozenset[bytes], list[LeftOut]]:
        """Copy the folder's present state into a branch."""
        seen: set[bytes] = set()
        left_out: list[LeftOut] = []
        with tempfile.TemporaryFile(dir=self._git_dir) as files:
            try:
                for item in read_tree(
                    self._tree,
                    max_file_bytes=self._max_file_bytes,
                    max_total_bytes=self._max_total_bytes,
                ):
                    if item.path.startswith(_NOT_WORK):
                        continue
                    if isinstance(item, LeftOut):
                        left_out.append(item)
                        continue
                    seen.add(item.path)
                    self._note_opaque(item)
                    _write_file(files, item)
            except OSError as error:
                reason = f"it cannot be read: {error.strerror or error}"
                raise WorkspaceError(str(self._tree), reason, "run the task again") from error
            gone = self._paths - seen
            self._fast_import(branch, _deletions(gone, left_out), files)
        return frozenset(seen), left_out

    def _fast_import(self, branch: str, gone: Iterable[bytes], files: IO[bytes]) -> None:
        with tempfile.TemporaryFile(dir=self._git_dir) as stream:
            stream.write(b"commit %s\n" % branch.encode())
            stream.write(b"committer understudy <> 0 +0000\ndata 0\n\n")
            if branch != BASE:
                stream.write(b"from %s\n" % BASE.encode())
            # Deletions come first: a file can have become a folder, or a folder a file.
            stream.writelines(b"D %s\n" % quoted(path) for path in sorted(gone))
            files.seek(0)
            shutil.copyfileobj(files, stream)
            stream.seek(0)
            self.git.run("fast-import", "--quiet", "--force", stdin=stream)

    def _note_opaque(self, item: TreeFile) -> None:
        """Text in another encoding goes into the patch as binary: the patch itself is UTF-8."""
        try:
            item.data.decode()
        except UnicodeDecodeError:
            self._opaque.add(item.path)

    def _write_attributes(self) -> None:
        # The strongest of all attribute files. The first line undoes what a copy of the
        # workspace's own may say, should a git read that from the branch.
        lines = [b"* !diff !text !eol !filter !working-tree-encoding\n"]
        lines += [_pattern(path) + b" -diff\n" for path in sorted(self._opaque)]
        info = self._git_dir / "info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_bytes(b"".join(lines))

    def _compare(self, *options: str) -> bytes:
        prefixes = ("--src-prefix=a/", "--dst-prefix=b/")
        safe = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames")
        branches = (BASE, WORK, "--")
        return self.git.run("diff-tree", "-r", *options, *safe, *prefixes, *branches)


def _write_file(stream: IO[bytes], file: TreeFile) -> None:
    stream.write(b"M %s inline %s\n" % (file.mode.encode(), quoted(file.path)))
    stream.write(b"data %d\n%s\n" % (len(file.data), file.data))


def _deletions(gone: Iterable[bytes], left_out: list[LeftOut]) -> list[bytes]:
    """Paths that are not there any more; what could not be read counts as unchanged."""
    kept = {item.path for item in left_out}
    return [path for path in gone if not any(part in kept for part in (path, *parents(path)))]


def _limited(patch: bytes, max_bytes: int) -> tuple[str, int]:
    """The patch, cut after the last file that fits, and the number of files that do not."""
    if len(patch) <= max_bytes:
        return patch.decode(errors="replace"), 0
    places = starts(patch)
    end = max((start for start in places if start <= max_bytes), default=0)
    return patch[:end].decode(errors="replace"), sum(start >= end for start in places)


def _pattern(path: bytes) -> bytes:
    """An attribute pattern that only this path matches."""
    return quoted(b"/" + re.sub(rb"([*?\[\\])", rb"\\\1", path))
