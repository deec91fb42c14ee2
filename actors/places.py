"""The folders of conversations: where a task's home and workspace are, and who may use them.

    live/<place>/     home, work, and ours beside them: mounted in one container
    kept/<session>/   the same, of a finished task, for one that goes on in its context
    locks/<place>.lock

A conversation is in one place at a time: it moves by `rename`. A place has one holder at a time: a
process with the place's lock, who has ended the container of the holder before.

Who removes them: the agent, when its task has a result that no agent will better; else, when the
task is finished or its holder is dead, `sweep_places`.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from typing import TYPE_CHECKING

from .claude.session_lock import Holder, SessionHeld, SessionLock, SessionLockDamaged
from .podman.sweep import remove_left
from .workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LOOK_S = 0.05
# A lock is taken before its folder is made: what is so young may be about to be used.
_YOUNG_S = 60.0


def is_name(text: str) -> bool:
    """Whether it can be the name of a place or of a conversation."""
    return _NAME.fullmatch(text) is not None


class Places:
    """The folders below `root`, which must be closed to other users. One thread at a time.

    Args:
        root: all of them are on one disk.
        podman_env: environment of the podman commands that end a dead holder's container.
    """

    def __init__(self, root: Path, podman_env: Mapping[str, str]) -> None:
        self._locks = root / "locks"
        self._live = root / "live"
        self._kept = root / "kept"
        self._env = podman_env
        for folder in (self._live, self._kept):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def live(self, place: str) -> Path:
        """Where the home and the workspace of that place are."""
        return self._live / place

    def kept(self, session_id: str) -> Path:
        """Where they are kept, of a finished conversation."""
        return self._kept / session_id

    def hold(
        self,
        place: str,
        container: str,
        wait_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> SessionLock:
        """Take the place for a container; who had it last may take `wait_s` to give it back.

        A dead holder's container is ended first.

        Raises:
            SessionHeld: a living process still has it.
            SessionLockDamaged: who had it last is not known.
            PodmanError: its container could not be ended.
        """
        lock = SessionLock(self._locks, place)
        ends = clock() + wait_s
        while True:
            try:
                lock.acquire(container, self._end)
            except SessionHeld:
                if clock() >= ends:
                    raise
                sleep(_LOOK_S)
            else:
                return lock

    def bring_back(self, session_id: str, place: str) -> bool:
        """Move a kept conversation to a place that is held; whether it was there."""
        try:
            self.kept(session_id).rename(self.live(place))
        except FileNotFoundError:
            return False
        return True

    def keep(self, place: str, session_id: str, at_most: int) -> None:
        """Move what is in a place to the kept ones, and remove the oldest that are too many.

        Raises:
            OSError: it cannot be moved; it is where it was then.
        """
        self.keep_folder(self.live(place), session_id, at_most)

    def keep_folder(self, folder: Path, session_id: str, at_most: int) -> None:
        """As `keep`, with any folder on the same disk."""
        kept = self.kept(session_id)
        Workspace(kept).remove()  # an older state of the same conversation
        folder.rename(kept)
        kept.touch()
        self.forget_oldest(at_most)

    def forget_oldest(self, at_most: int) -> None:
        """Remove all kept conversations but the newest."""
        # Another agent may bring one back, or remove it, at any moment.
        by_age = sorted((_kept_at(folder), folder) for folder in self._kept.iterdir())
        for _, folder in by_age[: max(0, len(by_age) - at_most)]:
            self._discard(folder)

    def forget_older(self, than_s: float, *, now: float) -> None:
        """Remove the conversations that have been kept for so long; `now`: since the epoch."""
        for folder in self._kept.iterdir():
            if now - _kept_at(folder) > than_s:
                self._discard(folder)

    def release(self, lock: SessionLock, place: str) -> None:
        """Give a place back. Once nothing is in it, nothing stays of it."""
        if not self.live(place).exists():
            (self._locks / f"{place}.lock").unlink(missing_ok=True)
        lock.release()

    def sweep(
        self,
        in_use: Collection[str],
        *,
        now: float,
        may_go: Callable[[Path], bool] = lambda _: True,
    ) -> int:
        """Remove the places that nobody holds and no unfinished task needs; how many.

        `in_use` must have been asked for before. `now` is in seconds since the epoch. `may_go` is
        asked for each folder, while its place is held; it may take out of it what is to be kept.

        Raises:
            PodmanError: a dead holder's container could not be ended.
        """
        places = {folder.name for folder in self._live.iterdir()}
        if self._locks.exists():
            for file in self._locks.iterdir():
                if now - file.stat().st_mtime > _YOUNG_S:
                    places.add(file.stem)
        free = [place for place in places if place not in in_use and is_name(place)]
        return sum(self._sweep(place, may_go) for place in free)

    def _sweep(self, place: str, may_go: Callable[[Path], bool]) -> bool:
        try:
            lock = self.hold(place, "", 0.0)
        except (SessionHeld, SessionLockDamaged) as error:
            _log.debug("%s stays: %s", place, error)
            return False
        folder = self.live(place)
        try:
            goes = not folder.exists() or may_go(folder)
            if goes:
                Workspace(folder).remove()
        except OSError as error:
            _log.warning("%s cannot be removed: %s", place, error)
            goes = False
        finally:
            self.release(lock, place)
        return goes

    def _discard(self, folder: Path) -> None:
        # Moved first: whoever brings it back has it whole or not at all.
        doomed = folder.with_name(f".{folder.name}")
        try:
            if not folder.name.startswith("."):
                folder.rename(doomed)
            Workspace(doomed).remove()
        except OSError as error:
            _log.info("%s is not removed: %s", folder, error)

    def _end(self, holder: Holder) -> None:
        if holder.container:
            remove_left(holder.container, self._env)


def _kept_at(folder: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return folder.stat().st_mtime
    return 0.0
