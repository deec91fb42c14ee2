"""The same review without Understudy: one hardened `podman run … claude -p` for each task."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

import understudy
from understudy.actors.claude.argv import CLI_ENV
from understudy.actors.paths import cache_dir
from understudy.actors.podman import (
    CONTAINER_GID,
    CONTAINER_UID,
    ContainerSpec,
    image_tag,
    podman_env,
    run_argv,
)
from understudy.actors.tasks.task import Task
from understudy.actors.tasks.types import TASK_TYPES

FILE = "shop/cart.py"
_FLAGS = ("--setting-sources=", "--strict-mcp-config", "--permission-mode=dontAsk")


@dataclass(frozen=True)
class ByHand:
    """A folder to work in, the repository to review, the scripted model's socket."""

    folder: Path
    repo: Path
    socket_dir: Path

    def run_one(self) -> None:
        """One review, as a careful person would run it.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        done = subprocess.run(
            ["bash", self.script()], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "structured_output" in json.loads(done.stdout), done.stdout

    def run_many(self, count: int, at_once: int) -> None:
        """That many reviews by `xargs -P`.

        Raises:
            subprocess.CalledProcessError: one failed.
        """
        script = self.script()
        lines = "\n".join(str(number) for number in range(count))
        subprocess.run(
            ["xargs", f"-P{at_once}", "-I{}", "bash", script],
            input=lines, capture_output=True, text=True, timeout=600, check=True,
        )  # fmt: skip

    def script(self) -> str:
        """A shell script that makes fresh folders, runs the container and removes the folders."""
        path = self.folder / "review.sh"
        if path.exists():
            return str(path)
        role = TASK_TYPES["code_review"]
        task = Task(task_type="code_review", description="Look for bugs", files=[FILE])
        prompt = self.folder / "prompt.txt"
        prompt.write_text(role.prompt(task, [FILE]), encoding="utf-8")
        here = Path("/WORKDIR")
        spec = ContainerSpec(
            name="NAME",
            image=image_tag(),
            command=(
                "claude", "-p", "--output-format=json", *_FLAGS,
                f"--tools={','.join(role.tools)}", f"--allowedTools={','.join(role.tools)}",
                f"--json-schema={json.dumps(role.schema)}",
            ),
            home_dir=here / "home",
            work_dir=here / "work",
            socket_dir=self.socket_dir,
            read_only_work=True,
            env=CLI_ENV,
        )  # fmt: skip
        argv = run_argv(spec, detach=False, pidfile=None)
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in argv)
        command = quoted.replace("/WORKDIR", "'\"$d\"'").replace("NAME", "'\"$n\"'")
        config = podman_env(cache_dir(os.environ), os.environ).get("CONTAINERS_CONF", "")
        file = shlex.quote(str(self.repo / FILE))
        path.write_text(
            "set -eu\n"
            f"export CONTAINERS_CONF={shlex.quote(config)}\n"
            f"d=$(mktemp -d -p {shlex.quote(str(self.folder))}); n=byhand-$(basename $d)\n"
            f'mkdir -p "$d/home" "$d/work/shop"; cp {file} "$d/work/shop"\n'
            f'chown {CONTAINER_UID}:{CONTAINER_GID} "$d/home" "$d/work"; chmod 755 "$d"\n'
            f"{command} < {shlex.quote(str(prompt))}\n"
            'rm -rf "$d"\n',
            encoding="utf-8",
        )
        return str(path)


def example_repo(folder: Path) -> Path:
    """A copy of the example repository, with thirty files to review."""
    source = Path(understudy.__file__).parent / "demo_repo"
    repo = Path(shutil.copytree(source, folder / f"repo-{uuid.uuid4().hex[:6]}"))
    for number in range(30):
        shutil.copy(repo / FILE, repo / "shop" / f"cart_{number:02d}.py")
    return repo
