from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from understudy.transport.listener import Listener

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_folder_that_is_made_anew_before_it_is_locked_is_locked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    flock, locked = fcntl.flock, list[int]()

    def held_up(fd: int, operation: int) -> None:
        if not locked:
            folder.rename(tmp_path / "before")
            folder.mkdir()
        flock(fd, operation)
        locked.append(os.fstat(fd).st_ino)

    monkeypatch.setattr(fcntl, "flock", held_up)
    Listener(str(folder / "bus.sock")).close()
    assert locked == [(tmp_path / "before").stat().st_ino, folder.stat().st_ino]
