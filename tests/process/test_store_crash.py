"""SIGKILL before every single statement of a writer: nothing that was told is ever forgotten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
VERSION_1 = HERE.parent / "unit" / "data" / "tasks-v1.db"


def deaths(folder: Path, scene: str, *more: str) -> int:
    command = [sys.executable, str(HERE / "store_crash_driver.py"), str(folder), scene, *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_service_killed_at_any_statement_loses_no_task_and_finishes_none_twice(
    tmp_path: Path,
) -> None:
    assert deaths(tmp_path, "write") > 80


def test_a_migration_killed_at_any_statement_is_done_by_the_next_start(tmp_path: Path) -> None:
    assert deaths(tmp_path, "migrate", str(VERSION_1)) > 15
