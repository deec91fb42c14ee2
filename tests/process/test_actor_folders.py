"""The folder of an actor system's sockets: how long its path may be, and who removes it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.system_actors import Plain

from understudy.supervision.actor_errors import InvalidActor
from understudy.supervision.system import ActorSystem
from understudy.transport.listener import MAX_PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 15.0
LONGEST_NAME = "n" * 40
IS_KILLED = """
import os, signal
from understudy.supervision.system import ActorSystem
system = ActorSystem()
print(system._folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory with a short path."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def test_a_name_that_is_too_long_for_the_folder_is_refused_before_anything_starts(
    tmp: Path,
) -> None:
    # A name of one letter fits, with room to spare; one of 40 letters does not.
    folder = tmp / ("x" * (MAX_PATH_BYTES - len(str(tmp)) - len(f"//{LONGEST_NAME}.sock") + 1))
    with ActorSystem(folder=str(folder)) as system:
        assert system.spawn(Plain, process=True, name="n").is_alive()
        with pytest.raises(InvalidActor, match=r"108 bytes.*107; .* a shorter name"):
            system.spawn(Plain, process=True, name=LONGEST_NAME)
        assert system.spawn(Plain, name=LONGEST_NAME).is_alive()
        assert system.names() == ["n", LONGEST_NAME]


def test_the_folder_of_a_killed_root_is_gone_when_the_next_has_started(tmp: Path) -> None:
    command = [sys.executable, "-c", IS_KILLED]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    left = Path(killed.stdout.strip())
    assert left.parent == tmp
    assert (left / "root.sock").exists()
    with ActorSystem():
        assert not left.exists()
    assert list(tmp.iterdir()) == []
