"""Which paths a branch changes: pure rules over the trees at the start and at the end of a task."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .git import Entry, parents, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

LINK, SUBMODULE = "120000", "160000"
# How the reason ends when a change can be in no commit of ours, but is work: the patch has it.
IN_DIFF = "take it from the diff"
# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
LFS = "filter=lfs"
_MAX_POINTER_BYTES = 1024
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(ext-[^\n]*\n)*"
    rb"oid sha256:[0-9a-f]{64}\nsize [0-9]+\n"
)


@dataclass(frozen=True, slots=True)
class Trees:
    """What is compared; all paths from the top of the repository.

    Attributes:
        head: the commit that the task began from.
        base: the files as the workspace got them.
        work: the files as the agent left them.
        removed: paths of `head` that the user had removed on disk.
        submodules: the commits of those that were checked out, also of new ones.
    """

    head: Mapping[bytes, Entry]
    base: Mapping[bytes, Entry]
    work: Mapping[bytes, Entry]
    removed: Collection[bytes] = ()
    submodules: Mapping[bytes, str] = field(default_factory=dict[bytes, str])

    def hidden(self, path: bytes) -> str | None:
        """Why a path is none of the repository's own, or None."""
        for place in (*parents(path), path):
            entry = self.head.get(place)
            if place in self.submodules or (entry and entry.mode == SUBMODULE):
                return f"it is in the submodule {shown(place)}; {IN_DIFF}"
            if entry and entry.mode == LINK and place != path:
                return f"it is behind the link {shown(place)}"
        return None

    def differing(self) -> list[bytes]:
        """Regular files that the workspace got with another content than the commit has."""
        return [
            path
            for path, entry in self.base.items()
            if (old := self.head.get(path)) and old.oid != entry.oid and _is_file(old)
        ]

    def written(self) -> list[bytes]:
        """What the agent made or changed."""
        return [path for path, entry in self.work.items() if self.base.get(path) != entry]

    def new(self) -> list[bytes]:
        """What the commit does not have, where it can have something."""
        made = {**self.base, **self.work}
        return [path for path in made if path not in self.head and not self.hidden(path)]


@dataclass(frozen=True, slots=True)
class Traits:
    """What git's rules say of paths.

    Attributes:
        translated: paths whose content passes a filter on its way into git, with its name.
        pointers: ids of contents that are what git LFS stores in place of a file.
        ignored: new paths that the user's ignore files name.
        line_ends: paths that are on disk with CR LF where git has LF, and else are the same.
        links: those of the workspace's files that are links in the user's folder, as links.
        targets: where the links lead, by the id of their content.
    """

    translated: Mapping[bytes, str] = field(default_factory=dict[bytes, str])
    pointers: Collection[str] = ()
    ignored: Collection[bytes] = ()
    line_ends: Collection[bytes] = ()
    links: Mapping[bytes, Entry] = field(default_factory=dict[bytes, Entry])
    targets: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


@dataclass(slots=True)
class Step:
    """The changes of one commit: what goes, and what there is instead."""

    removed: list[bytes] = field(default_factory=list[bytes])
    written: dict[bytes, Entry] = field(default_factory=dict[bytes, Entry])

    def __bool__(self) -> bool:
        return bool(self.removed or self.written)


@dataclass(slots=True)
class Plan:
    """The two commits: what the user had, and what the agent did; and what is in neither."""

    taken_along: Step
    work: Step
    left_out: dict[str, str]


def make_plan(
    trees: Trees, traits: Traits, *, keeps_modes: bool, stored: Callable[[bytes, str], str]
) -> Plan:
    """The changes that a branch has on top of the commit that the task began from.

    Args:
        trees: what there was and is.
        traits: what git's rules say.
        keeps_modes: whether executable bits in `base` mean something.
        stored: the id of the content with LF for LF-stored files, by path and id.
    """
    taken = _taken_along(trees, traits, keeps_modes=keeps_modes)
    plan = Plan(taken, Step(), {})
    now = {path: entry for path, entry in trees.head.items() if path not in taken.removed}
    now |= taken.written
    for path in sorted(trees.base.keys() - trees.work.keys()):
        if why := trees.hidden(path):
            plan.left_out[shown(path)] = why
        elif path in now:
            plan.work.removed.append(path)
    for path in sorted(trees.written()):
        entry, current = trees.work[path], now.get(path)
        if why := _why_not(path, trees, traits, entry):
            plan.left_out[shown(path)] = why
            continue
        made = _made(entry, trees.base.get(path), current)
        if path in traits.line_ends and made.oid == entry.oid:
            made = Entry(made.mode, stored(path, entry.oid))
        if made != current:
            plan.work.written[path] = made
    return plan


def _made(entry: Entry, before: Entry | None, current: Entry | None) -> Entry:
    """What the agent made of a path: what it did not change stays as the repository has it."""
    if before is None or current is None or not _is_file(current):
        return entry
    return Entry(
        current.mode if before.mode == entry.mode else entry.mode,
        current.oid if before.oid == entry.oid else entry.oid,
    )


def _taken_along(trees: Trees, traits: Traits, *, keeps_modes: bool) -> Step:
    step = Step(removed=sorted(trees.removed))
    for path, oid in sorted(trees.submodules.items()):
        if trees.head.get(path) != (now := Entry(SUBMODULE, oid)):
            step.written[path] = now
    for path, entry in sorted(trees.base.items()):
        old, now = trees.head.get(path), traits.links.get(path, entry)
        if now.mode != LINK and old is not None and _is_file(old):
            kept = path in traits.translated or path in traits.line_ends
            now = Entry(entry.mode if keeps_modes else old.mode, old.oid if kept else entry.oid)
        is_judged = _is_new(old) or now.mode == LINK
        if now != old and not (is_judged and _why_not(path, trees, traits, now)):
            step.written[path] = now
    return step


def _is_new(old: Entry | None) -> bool:
    return old is None or old.mode == SUBMODULE


def _why_not(path: bytes, trees: Trees, traits: Traits, entry: Entry) -> str | None:
    """Why what a path is now cannot be in a commit of ours, or None."""
    if hidden := trees.hidden(path):
        return hidden
    if path not in trees.head and path in traits.ignored:
        return "the repository's ignore files name it"
    if entry.mode == LINK:
        leads_out = leads_outside(path, traits.targets.get(entry.oid, b""))
        return "it is a link that leads out of the repository" if leads_out else None
    before = trees.base.get(path)
    if path in traits.translated and path in trees.head and before and before.oid == entry.oid:
        return None  # no more than its mode has changed
    if path in traits.translated and entry.oid not in traits.pointers:
        return f"git stores it translated ({traits.translated[path]}); {IN_DIFF}"
    return None


def leads_outside(path: bytes, target: bytes) -> bool:
    """Whether a link in the repository leads out of it, or into git's own folder, by its text."""
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    parts = place.split(b"/")
    return target.startswith(b"/") or parts[0] == b".." or b".git" in map(bytes.lower, parts)


def _is_file(entry: Entry) -> bool:
    return entry.mode not in (LINK, SUBMODULE)


def in_diff_alone(left_out: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the paths left out whose changes are work all the same."""
    return tuple(path for path, why in left_out.items() if why.endswith(IN_DIFF))


def is_pointer(data: bytes) -> bool:
    """Whether a content is what git LFS stores in place of a file: it is stored as it is."""
    return len(data) < _MAX_POINTER_BYTES and _POINTER.fullmatch(data) is not None


def with_lf(paths: Iterable[bytes], pairs: Mapping[bytes, tuple[bytes, bytes]]) -> set[bytes]:
    """Paths whose content on disk has CR LF where the stored one has LF, and else is the same.

    Args:
        paths: which to look at.
        pairs: the content on disk, and the one that is stored.
    """
    return {
        path
        for path in paths
        if b"\r\n" in pairs[path][0] and pairs[path][0].replace(b"\r\n", b"\n") == pairs[path][1]
    }
