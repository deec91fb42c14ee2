"""The work of a task as commits on a branch of its own in the user's repository.

The commits are made in our private repository, which can name the user's objects but never writes
to them. What is new goes over as a pack that git checks object by object, then one branch is made,
and it must be a new one. The user's working tree, index and HEAD are not touched.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..untrusted_tree import WorkspaceError
from .git import Entry, Git, quoted
from .plan import LFS, LINK, Traits, Trees, is_pointer, make_plan, with_lf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .plan import Plan, Step
    from .source import Source

BRANCH_FOLDER = "understudy"
IDENTITY = "Understudy <understudy@localhost>"
_RESULT = "refs/heads/result"
_TITLE_CHARS = 72
_MAX_NAMES = 100
# As git's own fetch: fewer objects than these lie loose, more stay together in their pack.
_UNPACK_LIMIT = 100
_NOT_IN_REFS = re.compile(r"[^A-Za-z0-9_+-]+")


@dataclass(frozen=True, slots=True)
class About:
    """What the commits say.

    Attributes:
        task_id, task_type, agent_id: whose work it is.
        title: what was asked for; its first line counts.
        at: seconds since the epoch.
    """

    task_id: str
    task_type: str
    agent_id: str
    title: str
    at: int


@dataclass(frozen=True, slots=True)
class Published:
    """Where the work lies.

    Attributes:
        branch: the branch's name; None when the work changed nothing that can be in one.
        commit: the work's commit.
        base: the commit before it: the one that the task began from, or the user's uncommitted
            changes on top of that; None for the first commit of a repository.
        left_out: what is not on the branch, with the reason.
    """

    branch: str | None = None
    commit: str | None = None
    base: str | None = None
    left_out: dict[str, str] = field(default_factory=dict[str, str])

    def to_result(self) -> dict[str, Any]:
        """What a task's result says of it beside the branch's name; nothing that is None."""
        said = {"commit": self.commit, "base": self.base, "not_on_branch": self.left_out}
        return {name: value for name, value in said.items() if value}


class Publisher:
    """Makes the branch for one task.

    Args:
        private: our repository, whose objects include the user's by an alternate.
        source: where the files came from.
        base, work: revisions in `private`: the files at the start and now.
    """

    def __init__(self, private: Git, source: Source, *, base: str, work: str) -> None:
        self._private = private
        self._source = source
        self._origin = source.origin
        self._trees = Trees(
            head=self._origin.entries(),
            base=self._below_prefix(base),
            work=self._below_prefix(work),
            removed=source.removed,
            submodules=source.submodules,
        )

    def publish(self, about: About) -> Published:
        """Make the branch; without changes there is none.

        Raises:
            WorkspaceError: git refuses an object or the branch; the repository has none then.
        """
        trees = self._trees
        keeps = self._origin.keeps_modes
        plan = make_plan(trees, self._traits(), keeps_modes=keeps, stored=self._stored)
        if not plan.work:
            return Published(left_out=plan.left_out)
        base, commit = self._commit(plan, about)
        self._send(commit)
        branch = self._make_branch(about.task_id, commit)
        return Published(branch, commit, base, plan.left_out)

    def _below_prefix(self, revision: str) -> dict[bytes, Entry]:
        prefix = self._origin.prefix
        return {prefix + path: entry for path, entry in self._private.entries(revision).items()}

    def _traits(self) -> Traits:
        trees, origin = self._trees, self._origin
        differing, written = trees.differing(), trees.written()
        new = trees.new()
        translated = origin.translated({*differing, *written, *new})
        plain = [path for path in differing if path not in translated]
        links = self._links()
        made_links = [trees.work[path].oid for path in written if trees.work[path].mode == LINK]
        made_links += [link.oid for path, link in links.items() if link != trees.head.get(path)]
        return Traits(
            translated=translated,
            pointers=self._pointers(translated),
            ignored=origin.ignored(new),
            line_ends=with_lf(plain, self._contents(plain)),
            links=links,
            targets=self._private.blobs(made_links),
        )

    def _pointers(self, translated: Mapping[bytes, str]) -> set[str]:
        trees = (self._trees.base, self._trees.work)
        paths = [path for path, how in translated.items() if how == LFS]
        blobs = self._private.blobs(
            tree[path].oid for tree in trees for path in paths if path in tree
        )
        return {oid for oid, data in blobs.items() if is_pointer(data)}

    def _links(self) -> dict[bytes, Entry]:
        """Those of the workspace's files that are links in the user's folder, as links."""
        head = self._trees.head
        committed = {path: entry for path, entry in head.items() if entry.mode == LINK}
        if not self._source.from_disk:
            return committed
        texts = self._private.blobs(entry.oid for entry in committed.values())
        return {
            path: old
            if (old := committed.get(path)) and texts[old.oid] == target
            else Entry(LINK, self._keep(target))
            for path, target in self._source.links.items()
        }

    def _contents(self, paths: list[bytes]) -> Mapping[bytes, tuple[bytes, bytes]]:
        trees = self._trees
        ids = [(trees.base[path].oid, trees.head[path].oid) for path in paths]
        blobs = self._private.blobs(oid for pair in ids for oid in pair)
        return {
            path: (blobs[disk], blobs[old]) for path, (disk, old) in zip(paths, ids, strict=True)
        }

    def _stored(self, _path: bytes, oid: str) -> str:
        return self._keep(self._private.blobs([oid])[oid].replace(b"\r\n", b"\n"))

    def _keep(self, data: bytes) -> str:
        """Put a content into our repository; its id."""
        made = self._private.run("hash-object", "-w", "--no-filters", "--stdin", stdin=data)
        return made.decode().strip()

    def _commit(self, plan: Plan, about: About) -> tuple[str | None, str]:
        """The commit before the work, and the work's own."""
        before = self._origin.head
        if plan.taken_along:
            text = f"Uncommitted changes taken along\n\n{_trailers(about)}"
            before = self._commit_one(plan.taken_along, before, text, about.at)
        first = next(iter(about.title.strip().splitlines()), "")
        title = _printable(f"{about.task_type}: {first}".removesuffix(": "))
        if len(title) > _TITLE_CHARS:
            title = title[: _TITLE_CHARS - 1] + "…"
        text = f"{title}\n\n{_trailers(about)}"
        return before, self._commit_one(plan.work, before, text, about.at)

    def _commit_one(self, step: Step, before: str | None, text: str, at: int) -> str:
        message = text.encode(errors="replace")
        lines = [b"commit %s\n" % _RESULT.encode()]
        lines += [b"committer %s %d +0000\n" % (IDENTITY.encode(), at)]
        lines += [b"data %d\n%s\n" % (len(message), message)]
        if before is not None:
            lines += [b"from %s\n" % before.encode()]
        # Deletions come first: a file can have become a folder, or a folder a file.
        lines += [b"D %s\n" % quoted(path) for path in step.removed]
        lines += [
            b"M %s %s %s\n" % (entry.mode.encode(), entry.oid.encode(), quoted(path))
            for path, entry in step.written.items()
        ]
        self._private.run("fast-import", "--quiet", "--force", stdin=b"".join(lines))
        return self._private.run("rev-parse", _RESULT).decode().strip()

    def _send(self, commit: str) -> None:
        """Hand over the objects that are new; git checks them before they count."""
        revisions = f"{commit}\n" + (f"^{self._origin.head}\n" if self._origin.head else "")
        with tempfile.TemporaryFile(dir=self._private.git_dir) as pack:
            pack.write(
                self._private.run(
                    "pack-objects", "--revs", "--stdout", "-q", stdin=revisions.encode()
                )
            )
            pack.seek(8)  # "PACK", the version, the number of objects: gitformat-pack(5)
            count = int.from_bytes(pack.read(4))
            pack.seek(0)
            loose = ("unpack-objects", "-q", "--strict")
            together = ("index-pack", "--stdin", "--strict")
            self._origin.git.run(*(loose if count < _UNPACK_LIMIT else together), stdin=pack)

    def _make_branch(self, task_id: str, commit: str) -> str:
        """A branch that was not there before: somebody may work on an older one of that name."""
        wanted = branch_name(task_id)
        listed = self._origin.git.run(
            "for-each-ref", "--format=%(refname)", f"refs/heads/{wanted}*"
        )
        taken = set(listed.decode(errors="replace").splitlines())
        names = [wanted, *(f"{wanted}-{number}" for number in range(2, _MAX_NAMES))]
        for name in names:
            if f"refs/heads/{name}" not in taken:
                # Forty zeros, or more: it must not be there.
                nothing = "0" * len(commit)
                update = ("update-ref", "-m", "understudy: work of a task", f"refs/heads/{name}")
                self._origin.git.run(*update, commit, nothing)
                return name
        mend = "remove some: git branch -D"
        raise WorkspaceError(wanted, f"there are {_MAX_NAMES} branches of that name", mend)


def branch_name(task_id: str) -> str:
    """The branch for a task's work; what git does not allow in a name becomes "-"."""
    return f"{BRANCH_FOLDER}/{_NOT_IN_REFS.sub('-', task_id)}"


def _trailers(about: About) -> str:
    return f"Task: {about.task_id}\nType: {about.task_type}\nAgent: {about.agent_id}\n"


def _printable(text: str) -> str:
    """Without what could command a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
