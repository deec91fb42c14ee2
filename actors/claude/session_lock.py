"""Never two CLIs on one conversation: a lock that knows who holds it, and counts its holders.

The CLI itself lets any number of processes resume one conversation at once (seen in 2.1.197 and
2.1.330). The lock is the kernel's (`flock`), so that it is free the moment its process dies,
however it dies. But the dead process's container may outlive it: a CLI whose input ends finishes
its turn first. So the file also says which container has the conversation, and whoever comes next
ends that one before the lock is its own. The number of the holder goes up with each: what an older
holder still does can be told from what the present one does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self, cast

from ..lock_file import try_lock
from .errors import ClaudeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_RECORD_BYTES = 4096


class SessionHeld(ClaudeError):
    """Another living process has the conversation."""

    def __init__(self, session_id: str, pid: int, container: str) -> None:
        super().__init__(session_id, pid, container)
        self.session_id = session_id
        self.pid = pid
        self.container = container

    def __str__(self) -> str:
        return (
            f"the conversation {self.session_id} is held by process {self.pid} with container "
            f"{self.container!r}; wait until it ends, or begin another conversation"
        )


class SessionLockDamaged(ClaudeError):
    """The lock's file cannot be read: who had the conversation last is not known."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.path} is damaged: {self.reason}; make sure that no container of this "
            "conversation runs, then remove the file"
        )


@dataclass(frozen=True)
class Holder:
    """Who has, or had, a conversation.

    Attributes:
        number: goes up by one with each holder.
        pid: of the process that drives the CLI.
        container: the name of the container that the CLI is in.
        released: whether it was given back in order, so that nothing of it runs.
    """

    number: int
    pid: int
    container: str
    released: bool = False


class SessionLock:
    """Holds one conversation for this process. One thread at a time.

    The folder is the owner's, out of every container's reach. The file stays when the lock is
    released, since it keeps the count; only who has the lock may remove it.

    Args:
        folder: where the locks are; made when missing.
        session_id: the conversation.
    """

    def __init__(self, folder: Path, session_id: str) -> None:
        self._path = folder / f"{session_id}.lock"
        self._session_id = session_id
        self._fd = -1
        self._holder: Holder | None = None

    @property
    def number(self) -> int | None:
        """This holder's number, or None while it does not hold the conversation."""
        return self._holder.number if self._holder else None

    def fileno(self) -> int:
        """The descriptor that the lock hangs on, or -1; nothing that is started may inherit it."""
        return self._fd

    def acquire(self, container: str, end_previous: Callable[[Holder], None]) -> int:
        """Take the conversation for a container that is about to start; its number. Never waits.

        Args:
            container: the name of the container that will hold the CLI.
            end_previous: called when the last holder died without giving it back. It returns only
                when that holder's container is surely gone; when it raises, nothing is taken.

        Raises:
            SessionHeld: a living process has it.
            SessionLockDamaged: who had it last cannot be read.
            OSError: the file cannot be made or written.
        """
        if self._holder is not None:
            raise SessionHeld(self._session_id, self._holder.pid, self._holder.container)
        self._lock()
        try:
            previous = self._read()
            if previous is not None and not previous.released:
                end_previous(previous)
            number = 1 if previous is None else previous.number + 1
            holder = Holder(number, os.getpid(), container)
            self._write(holder)
        except BaseException:
            self._unlock()
            raise
        self._holder = holder
        return holder.number

    def release(self) -> None:
        """Give it back. Only after the container is gone. Safe to call twice."""
        if self._holder is None:
            return
        holder, self._holder = self._holder, None
        try:
            self._write(Holder(holder.number, holder.pid, holder.container, released=True))
        finally:
            self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def _lock(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd, is_locked = try_lock(self._path, os.O_NOFOLLOW)
        if not is_locked:
            try:
                raise self._held()
            finally:
                self._close()

    def _held(self) -> SessionHeld:
        holder = None
        with contextlib.suppress(SessionLockDamaged):  # it may just be writing its record
            holder = self._read()
        pid, container = (holder.pid, holder.container) if holder else (0, "")
        return SessionHeld(self._session_id, pid, container)

    def _unlock(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._close()

    def _close(self) -> None:
        os.close(self._fd)
        self._fd = -1

    def _read(self) -> Holder | None:
        raw = os.pread(self._fd, _RECORD_BYTES, 0)
        if not raw:
            return None
        try:
            data = cast("dict[str, Any]", json.loads(raw))
            return Holder(
                int(data["number"]),
                int(data["pid"]),
                str(data["container"]),
                bool(data["released"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise SessionLockDamaged(str(self._path), f"it holds no record: {error}") from None

    def _write(self, holder: Holder) -> None:
        # One write of a fixed size: a process that is killed leaves the old record or the new one.
        record = json.dumps(asdict(holder)).encode().ljust(_RECORD_BYTES - 1) + b"\n"
        os.pwrite(self._fd, record, 0)
        os.fsync(self._fd)
