"""What no run can show: that a way of doing it is used nowhere."""

from __future__ import annotations

import ast
from pathlib import Path

import understudy.supervision

FOLDER = Path(understudy.supervision.__file__).parent
BY_NUMBER = {"kill", "killpg", "send_signal", "terminate"}


def calls(file: Path) -> set[str]:
    """What is called in a file, as `os.kill`."""
    tree = ast.parse(file.read_text("utf-8"))
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {ast.unparse(function) for function in functions}


def test_supervision_signals_by_pidfd_alone() -> None:
    found = {
        file.name: {call for call in calls(file) if call in {f"os.{name}" for name in BY_NUMBER}}
        for file in FOLDER.glob("*.py")
    }
    # The fork server is their parent and has not reaped them: their numbers are still theirs.
    assert {name for name, used in found.items() if used} == {"forkhost.py"}


def test_nothing_is_forked_but_by_the_fork_server() -> None:
    forks = {file.name for file in FOLDER.glob("*.py") if "os.fork" in calls(file)}
    assert forks == {"forkhost.py"}
    importing = [f.name for f in FOLDER.glob("*.py") if "import multiprocessing" in f.read_text()]
    assert importing == []
