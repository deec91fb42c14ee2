"""Never two processes on one conversation, however the first one ends."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from understudy.actors.claude.session_lock import (
    Holder,
    SessionHeld,
    SessionLock,
    SessionLockDamaged,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SESSION = "3f0c1a9e-0000-4000-8000-000000000001"
HOLD = """
import sys, time
from pathlib import Path
from understudy.actors.claude.session_lock import SessionLock
lock = SessionLock(Path(sys.argv[1]), sys.argv[2])
print(lock.acquire(sys.argv[3], lambda previous: None), flush=True)
if "remove" in sys.stdin.readline():
    Path(sys.argv[1], sys.argv[2] + ".lock").unlink()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""


def nobody(previous: Holder) -> None:
    pytest.fail(f"there is nothing to end: {previous}")


class Other:
    """A process that takes the lock and holds it until it is told otherwise."""

    def __init__(self, folder: Path, container: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder), SESSION, container],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.number = int(self.process.stdout.readline())

    def release(self, how: str = "keep the file") -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{how}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "released\n"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def close(self) -> None:
        self.kill()
        for file in (self.process.stdin, self.process.stdout):
            assert file is not None
            file.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Other]:
    process = Other(tmp_path / "locks", "us-first")
    yield process
    process.close()


def test_a_conversation_held_by_a_living_process_is_refused(tmp_path: Path, other: Other) -> None:
    lock = SessionLock(tmp_path / "locks", SESSION)
    with pytest.raises(SessionHeld, match="us-first") as caught:
        lock.acquire("us-second", nobody)
    assert caught.value.pid == other.process.pid
    assert lock.number is None


def test_after_an_orderly_release_nothing_is_to_be_ended(tmp_path: Path, other: Other) -> None:
    other.release()
    with SessionLock(tmp_path / "locks", SESSION) as lock:
        assert lock.acquire("us-second", nobody) == other.number + 1


def test_after_a_kill_the_last_container_is_ended_before_the_lock_is_taken(
    tmp_path: Path, other: Other
) -> None:
    other.kill()
    ended: list[Holder] = []
    with SessionLock(tmp_path / "locks", SESSION) as lock:
        assert lock.acquire("us-second", ended.append) == 2
    assert ended == [Holder(1, other.process.pid, "us-first")]


def test_when_the_last_container_cannot_be_ended_nothing_is_taken(
    tmp_path: Path, other: Other
) -> None:
    other.kill()
    lock = SessionLock(tmp_path / "locks", SESSION)

    def fail(_previous: Holder) -> None:
        raise OSError("podman is broken")

    with pytest.raises(OSError, match="podman is broken"):
        lock.acquire("us-second", fail)
    ended: list[Holder] = []
    with lock:
        assert lock.acquire("us-third", ended.append) == 2
    assert [holder.container for holder in ended] == ["us-first"]


def test_numbers_go_up_over_every_way_to_end(tmp_path: Path) -> None:
    numbers: list[int] = []
    for how in ("release", "kill", "release", "kill"):
        process = Other(tmp_path / "locks", "us-some")
        numbers.append(process.number)
        if how == "release":
            process.release()
        process.close()
    assert numbers == [1, 2, 3, 4]


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    locks = [SessionLock(tmp_path / "locks", SESSION) for _ in range(8)]
    won: list[SessionLock] = []
    for lock in locks:
        try:
            lock.acquire("us-x", nobody)
        except SessionHeld:
            continue
        won.append(lock)
    assert won == locks[:1]
    with pytest.raises(SessionHeld):
        won[0].acquire("us-x", nobody)
    won[0].release()
    won[0].release()


def test_who_opened_the_file_before_its_holder_removed_it_does_not_take_it_beside_the_next(
    tmp_path: Path, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Between this process's open and its flock: the holder is through, and the next one has it.
    nexts: list[Other] = []
    flock = fcntl.flock

    def held_up(fd: int, operation: int) -> None:
        if not nexts:
            other.release("remove the file")
            nexts.append(Other(tmp_path / "locks", "us-next"))
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", held_up)
    lock = SessionLock(tmp_path / "locks", SESSION)
    try:
        with pytest.raises(SessionHeld, match="us-next"):
            lock.acquire("us-late", nobody)
        nexts[0].release("remove the file")
        with lock:
            assert lock.acquire("us-late", nobody) == 1
    finally:
        for process in nexts:
            process.close()


def test_what_this_process_starts_does_not_inherit_the_lock(tmp_path: Path) -> None:
    with SessionLock(tmp_path / "locks", SESSION) as lock:
        lock.acquire("us-first", nobody)
        assert not os.get_inheritable(lock.fileno())


def test_a_file_that_says_nothing_is_not_taken_for_a_free_one(tmp_path: Path) -> None:
    (tmp_path / f"{SESSION}.lock").write_bytes(b"\0" * 100)
    with pytest.raises(SessionLockDamaged, match="remove the file"):
        SessionLock(tmp_path, SESSION).acquire("us-x", nobody)
    (tmp_path / f"{SESSION}.lock").unlink()
    with SessionLock(tmp_path, SESSION) as lock:
        assert lock.acquire("us-x", nobody) == 1


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / f"{SESSION}.lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        SessionLock(tmp_path, SESSION).acquire("us-x", nobody)
    assert not os.path.lexists(target)
