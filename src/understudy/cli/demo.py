"""`demo`: three agents review the files of a small example repository, in parallel."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

import click

from understudy.actors.gateway import find_credentials
from understudy.actors.tasks.task import Task
from understudy.cli.common import chosen_file, config_options, json_option, overrides_of

_AGENTS = 3
_TIMEOUT_S = 300.0


@click.command()
@config_options
@json_option
def demo(config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Let three agents review a small example repository.

    Uses the real API when a key is in the environment, else the scripted model.
    """
    from understudy.cli.running import run_in  # noqa: PLC0415 - the fleet's modules, when needed
    from understudy.orchestrator import Orchestrator  # noqa: PLC0415 - likewise

    scripted = find_credentials(os.environ) is None
    if scripted:
        click.echo("no ANTHROPIC_API_KEY: the scripted model answers, not a real one", err=True)
    flags = {
        "gateway__scripted_model": scripted or None,
        "orchestrator__num_agents": _AGENTS,
        "agent__warm_for": "code_review",
    }
    orchestrator = Orchestrator(chosen_file(config_path), overrides=overrides_of(settings, flags))
    with tempfile.TemporaryDirectory(prefix="understudy-demo-") as folder:
        repo = copy_example(Path(folder))
        tasks = [
            Task(
                task_type="code_review",
                description="Review this file for bugs, security problems and style.",
                files=[name],
                repo=str(repo),
                timeout=_TIMEOUT_S,
            )
            for name in sorted(p.relative_to(repo).as_posix() for p in repo.rglob("*.py"))
        ]
        titles = {task.task_id: task.files[0] for task in tasks}
        return run_in(orchestrator, tasks, titles, embedded=True, as_json=as_json)


def copy_example(folder: Path) -> Path:
    """The example repository, copied below `folder`."""
    with as_file(files("understudy") / "demo_repo") as source:
        return Path(
            shutil.copytree(source, folder / "shop", ignore=shutil.ignore_patterns("__pycache__"))
        )
