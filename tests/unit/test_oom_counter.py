"""Who died for want of memory is known, also when the kernel's counter has gone already."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from understudy.actors.podman.limits import OomCounter

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(30)
    return process.pid


def test_what_conmon_left_is_enough_when_the_process_was_gone_too_soon(
    gone: int, tmp_path: Path
) -> None:
    told = tmp_path / "oom"
    counter = OomCounter(gone, told)
    assert not counter.sample()
    told.touch()
    assert counter.sample()


def test_what_was_seen_once_stays_so(gone: int, tmp_path: Path) -> None:
    told = tmp_path / "oom"
    told.touch()
    counter = OomCounter(gone, told)
    assert counter.sample()
    told.unlink()
    assert counter.sample()


def test_a_process_that_lives_on_was_not_killed(tmp_path: Path) -> None:
    assert not OomCounter(os.getpid(), tmp_path / "oom").sample()
