"""Build the wheel from the sdist, install it in a clean environment, and use it from there."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

CHECK = """
import understudy, understudy.actors, understudy.supervision, understudy.transport
from importlib.resources import files
assert "site-packages" in understudy.__file__, understudy.__file__
for name in understudy.__all__:
    getattr(understudy, name)
for data in ("py.typed", "actors/podman/seccomp.json", "actors/tasks/migrations/0001.sql"):
    assert (files("understudy") / data).is_file(), data
assert list((files("understudy") / "demo_repo" / "shop").iterdir())
"""


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Exit non-zero, saying why, when the wheel lacks something."""
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory(prefix="understudy-wheel-") as name:
        folder = Path(name)
        run(sys.executable, "-m", "build", "--outdir", folder / "dist", root, cwd=folder)
        wheel = next((folder / "dist").glob("*.whl"))
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", wheel, cwd=folder)
        run(python, "-c", CHECK, cwd=folder)
        version = run(folder / "venv" / "bin" / "understudy", "--version", cwd=folder).strip()
        print(f"wheel {wheel.name}: {version}")


if __name__ == "__main__":
    main()
