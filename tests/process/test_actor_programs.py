"""Programs that use actors whose classes are their own: the example, and the README's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_example_runs(tmp_path: Path) -> None:
    done = run(str(ROOT / "examples/actors.py"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("here 2\nthere 11\n")
    assert "there again 11" in done.stdout
    assert "incarnation 1: ended by signal SIGKILL" in done.stdout


def test_the_actors_of_the_readme_run(tmp_path: Path) -> None:
    (program,) = re.findall(r"```py\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "counting.py").write_text(program)
    for args in (("counting.py",), ("-m", "counting")):
        done = run(*args, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr


def test_a_class_that_is_in_no_file_is_refused(tmp_path: Path) -> None:
    program = (
        "from understudy import Actor, ActorSystem\n"
        "class A(Actor): pass\n"
        "with ActorSystem() as system:\n"
        "    system.spawn(A)\n"
        "    system.spawn(A, process=True)\n"
    )
    done = run("-c", program, cwd=tmp_path)
    assert done.returncode == 1
    assert "put it into a module" in done.stderr
