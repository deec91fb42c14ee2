"""What is on the disk: by folder, and by the task that it is of."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy.actors.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from understudy.actors.fleet_places import FleetBase

_BLOCK_BYTES = 512  # of st_blocks, whatever the disk has: stat(2)


@dataclass(frozen=True)
class DiskUse:
    """Bytes on disk.

    Attributes:
        folders: below each of our folders, and of the store.
        tasks: of each task's home, workspace, transcript and saved copies. A follow-up task has
            those of the task before, too.
    """

    folders: dict[str, int]
    tasks: dict[str, int]


def disk_use(base: FleetBase) -> DiskUse:
    """What fleets have on the disk now."""
    places = [*sorted(base.state_dir.iterdir()), base.run_root]
    tasks: dict[str, int] = defaultdict(int)
    for kind in ("live", "kept"):
        for folder in (base.conversations / kind).glob("*"):
            if mark := Workspace(folder).marked():
                tasks[mark[0]] += size_of(folder)
    for file in (base.state_dir / "transcripts").glob("*.jsonl"):
        tasks[file.stem] += size_of(file)
    for file in base.saved.glob("*~*.patch"):
        tasks[file.stem.rpartition("~")[0]] += size_of(file)
    return DiskUse({str(place): size_of(place) for place in places if place.exists()}, dict(tasks))


def size_of(place: Path) -> int:
    """What lies below a place, links not followed; what vanishes meanwhile counts as nothing."""
    total = _blocks(os.fspath(place))
    for folder, folders, files in os.walk(place):
        for name in (*folders, *files):
            total += _blocks(os.path.join(folder, name))  # noqa: PTH118 - a fast walk
    return total * _BLOCK_BYTES


def _blocks(path: str) -> int:
    try:
        return os.lstat(path).st_blocks
    except FileNotFoundError:
        return 0
