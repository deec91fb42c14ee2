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
from .untrusted_tree import Item, LeftOut, TreeFile, WorkspaceError, read_tree

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    _Knows = Callable[[bytes, os.stat_result], bool]
    # Of a link: where it leads.
    _Look = tuple[int, int, int, int] | bytes

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


class SavingStopped(Exception):
    """The patch is not wanted any more."""


def _nothing_known(_path: bytes, _status: os.stat_result) -> bool:
    return False


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
        # Files whose content is that of the beginning, as long as they look so.
        self._as_base: dict[bytes, _Look] = {}
        self._saved: dict[bytes, _Look] | None = None
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

        def note(path: bytes, status: os.stat_result) -> bool:
            self._as_base[path] = _look(status)
            return False

        self._paths, _ = self._import(self.git, BASE, knows=note)
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
        _, left_out = self._import(self.git, WORK, onto=BASE)
        self._saved = None
        changed = [shown(name) for name in self._changed(self.git, BASE)]
        text, cut = _limited(self._patch(self.git, BASE), max_diff_bytes)
        missing = {shown(item.path): item.why for item in left_out}
        if cut:
            missing["(patch)"] = f"{cut} files; the patch is limited to {max_diff_bytes:,} bytes"
        changed += [path for path in missing if path != "(patch)" and path not in changed]
        return Diff(text, changed, bool(missing), missing)

    def save(self, to: IO[bytes], *, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Write what has changed since the beginning into a file, as a patch without a limit.

        Somebody may be at work in the folder. What looks as at the beginning is not read: in a
        container nobody can set the time of a file's last change (ctime).

        Returns:
            Whether there is a patch: False when all is as at the beginning, or as at the last call
            if `diff` was not called since.

        Raises:
            SavingStopped: `stopped` said so.
            WorkspaceError: the folder cannot be read, or git fails.
        """
        now = self._looks(stopped)
        if now == self._saved:
            return False
        seen: dict[bytes, _Look] = {}

        def knows(path: bytes, status: os.stat_result) -> bool:
            if stopped():
                raise SavingStopped
            seen[path] = _look(status)
            return self._as_base.get(path) == seen[path]

        # In a repository that goes at once: the contents of hours would fill the disk.
        scratch = self._scratch()
        try:
            base = self.git.run("rev-parse", BASE).decode().strip()
            self._import(scratch, WORK, onto=base, knows=knows)
            changed = self._changed(scratch, base)
            if changed:
                self._patch(scratch, base, to)
        finally:
            shutil.rmtree(scratch.git_dir, ignore_errors=True)
        self._as_base |= {path: look for path, look in seen.items() if path not in changed}
        self._saved = now
        return bool(changed)

    def _looks(self, stopped: Callable[[], bool]) -> dict[bytes, _Look]:
        """How everything in the folder looks now, without reading it."""
        looks: dict[bytes, _Look] = {}

        def note(path: bytes, status: os.stat_result) -> bool:
            if stopped():
                raise SavingStopped
            looks[path] = _look(status)
            return True

        for item in self._read(note):
            if isinstance(item, TreeFile):
                looks[item.path] = item.data
        return looks

    def _scratch(self) -> Git:
        """An empty repository that can name the objects of ours."""
        folder = self._git_dir.with_name("scratch.git")
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("objects/info", "refs"):
            (folder / name).mkdir(mode=0o700, parents=True)
        for name in ("HEAD", "config"):
            shutil.copy(self._git_dir / name, folder / name)
        named = quoted(bytes(self._git_dir / "objects")) + b"\n"
        (folder / "objects" / "info" / "alternates").write_bytes(named)
        return Git(folder)

    def _load(self) -> None:
        """Know again what was known after the first import."""
        self._paths = frozenset(self.git.entries(BASE))
        opaque = (self._git_dir / _OPAQUE).read_bytes().split(b"\0")
        self._opaque = {name for name in opaque if name}

    def _read(self, knows: _Knows = _nothing_known) -> Iterator[Item]:
        """What is in the folder, but for texts of ours."""
        try:
            for item in read_tree(
                self._tree,
                max_file_bytes=self._max_file_bytes,
                max_total_bytes=self._max_total_bytes,
                knows=knows,
            ):
                if not item.path.startswith(_NOT_WORK):
                    yield item
        except OSError as error:
            reason = f"it cannot be read: {error.strerror or error}"
            raise WorkspaceError(str(self._tree), reason, "run the task again") from error

    def _import(
        self, into: Git, branch: str, *, onto: str | None = None, knows: _Knows = _nothing_known
    ) -> tuple[frozenset[bytes], list[LeftOut]]:
        """Copy the folder's present state into a branch; what is known is as in `onto`."""
        seen: set[bytes] = set()
        left_out: list[LeftOut] = []
        with tempfile.TemporaryFile(dir=self._git_dir) as files:
            for item in self._read(knows):
                if isinstance(item, LeftOut):
                    left_out.append(item)
                    continue
                seen.add(item.path)
                if isinstance(item, TreeFile):
                    self._note_opaque(item)
                    _write_file(files, item)
            gone = _deletions(self._paths - seen, left_out)
            self._fast_import(into, branch, onto, gone, files)
        return frozenset(seen), left_out

    def _fast_import(
        self, into: Git, branch: str, onto: str | None, gone: list[bytes], files: IO[bytes]
    ) -> None:
        with tempfile.TemporaryFile(dir=self._git_dir) as stream:
            stream.write(b"commit %s\n" % branch.encode())
            stream.write(b"committer understudy <> 0 +0000\ndata 0\n\n")
            if onto is not None:
                stream.write(b"from %s\n" % onto.encode())
            # Deletions come first: a file can have become a folder, or a folder a file.
            stream.writelines(b"D %s\n" % quoted(path) for path in sorted(gone))
            files.seek(0)
            shutil.copyfileobj(files, stream)
            stream.seek(0)
            into.run("fast-import", "--quiet", "--force", stdin=stream)

    def _note_opaque(self, item: TreeFile) -> None:
        """Text in another encoding goes into the patch as binary: the patch itself is UTF-8."""
        try:
            item.data.decode()
        except UnicodeDecodeError:
            self._opaque.add(item.path)

    def _changed(self, git: Git, base: str) -> list[bytes]:
        """The paths that `WORK` has otherwise than `base`."""
        names = git.run("diff-tree", "-r", "--name-only", "-z", "--no-renames", base, WORK, "--")
        return [name for name in names.split(b"\0") if name]

    def _patch(self, git: Git, base: str, to: IO[bytes] | None = None) -> bytes:
        """The patch from `base` to `WORK`, if it is not to go into a file."""
        self._write_attributes(git.git_dir)
        prefixes = ("--src-prefix=a/", "--dst-prefix=b/")
        safe = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames")
        how = ("-r", "-p", "--binary", "--full-index", *safe, *prefixes)
        return git.run("diff-tree", *how, base, WORK, "--", stdout=to)

    def _write_attributes(self, git_dir: Path) -> None:
        # The strongest of all attribute files. The first line undoes what a copy of the
        # workspace's own may say, should a git read that from the branch.
        lines = [b"* !diff !text !eol !filter !working-tree-encoding\n"]
        lines += [_pattern(path) + b" -diff\n" for path in sorted(self._opaque)]
        info = git_dir / "info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_bytes(b"".join(lines))


def _look(status: os.stat_result) -> _Look:
    """What cannot stay the same when a file's content or mode changes."""
    return (status.st_ino, status.st_ctime_ns, status.st_size, status.st_mode)


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
