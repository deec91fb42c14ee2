"""The README's passages, run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fakes.program import Program

pytestmark = pytest.mark.podman

README = Path(__file__).parents[2] / "README.md"


def passages(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return list(found)


def test_the_commands_of_the_readme_run(program: Program) -> None:
    program.env["UNDERSTUDY_GATEWAY__SCRIPTED_MODEL"] = "true"
    bin_folder = Path(sys.executable).parent
    program.env["PATH"] = f"{bin_folder}:{program.env['PATH']}"
    for passage in passages("sh"):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", passage], cwd=program.cwd, env=program.env,
            capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_the_programs_of_the_readme_run(program: Program) -> None:
    program.env["UNDERSTUDY_GATEWAY__SCRIPTED_MODEL"] = "true"
    for passage in passages("python"):
        done = subprocess.run(
            [sys.executable, "-c", passage], cwd=program.cwd, env=program.env,
            capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "success" in done.stdout


def test_every_command_that_the_readme_names_exists(program: Program) -> None:
    named = set(re.findall(r"(?<!from )understudy ([a-z-]+)", README.read_text(encoding="utf-8")))
    known = program.run("--help").out
    assert {word for word in named if f"  {word} " not in known} == set()
