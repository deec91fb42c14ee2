"""The check after each test is itself checked: it sees a process that has lost its parent."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[1] / "conftest.py"
LEAVES_AN_ORPHAN = """
import subprocess, sys
from pathlib import Path
PARENT = (
    "import subprocess; null = subprocess.DEVNULL;"
    "print(subprocess.Popen(['sleep', '60'], stdout=null, stderr=null).pid)"
)
def test_leaves_an_orphan():
    done = subprocess.run([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, check=True)
    Path("orphan").write_bytes(done.stdout)
"""


def test_a_process_that_lost_its_parent_is_found_too(tmp_path: Path) -> None:
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "test_orphan.py").write_text(LEAVES_AN_ORPHAN, encoding="ascii")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    os.kill(int((tmp_path / "orphan").read_bytes()), signal.SIGKILL)
    assert done.returncode == 1
    assert "processes left: ['sleep 60']" in done.stdout
