"""What commands share: the options that make a configuration, and how tasks are described."""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar

import click

from understudy.config import Configuration, load

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

MAX_DESCRIPTION_BYTES = 1_000_000


def config_options(command: Callable[P, R]) -> Callable[P, R]:
    """`--config FILE` and `--set section.key=value` for a command."""
    command = click.option(
        "--set",
        "settings",
        metavar="KEY=VALUE",
        multiple=True,
        help="A setting, stronger than file and environment; may be repeated.",
    )(command)
    return click.option(
        "--config",
        "config_path",
        type=click.Path(dir_okay=False),
        envvar="UNDERSTUDY_CONFIG",
        help="Configuration file (YAML). Default: config.yaml in ~/.config/understudy.",
    )(command)


json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on stdout, everything else on stderr."
)


class TaskOptions(TypedDict):
    """What `task_options` hands to a command. Times are in seconds, `deadline` from now on."""

    description: str
    task_type: str
    role: str | None
    agent: str | None
    files: tuple[str, ...]
    repo: str | None
    committed: bool
    untracked: bool
    each: bool
    timeout: float | None
    deadline: float | None
    priority: int


def task_options(command: Callable[P, R]) -> Callable[P, R]:
    """The options that describe a task."""
    options: list[Callable[[Callable[P, R]], Callable[P, R]]] = [
        click.argument("description", default=""),
        click.option("--type", "task_type", default="generic", show_default=True, metavar="TYPE",
                     help="code_review, refactor, test_generation, analysis, question or generic."),
        click.option("--role", default=None, metavar="ROLE",
                     help="Who is to do it. Default: the role that has its type."),
        click.option("--agent", default=None, metavar="AGENT",
                     help="The one agent that is to do it. Default: any that can."),
        click.option("-f", "--file", "files", multiple=True, metavar="FILE",
                     help="A file or folder of the repository; may be repeated."),
        click.option("--repo", type=click.Path(file_okay=False), default=None,
                     help="The repository. Default: the current folder, for files alone."),
        click.option("--committed/--uncommitted", default=False,
                     help="The files as they are in the commit that is checked out, or as they "
                          "lie on disk. Default: on disk."),
        click.option("--untracked", is_flag=True,
                     help="On disk, also files that git neither tracks nor ignores."),
        click.option("--each", is_flag=True, help="One task for each file, in parallel."),
        click.option("--timeout", type=float, default=None, metavar="SECONDS",
                     help="Time to work, for each task. Default: orchestrator.task_timeout."),
        click.option("--deadline", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
                     help="From now on, for all tasks, whatever they wait for. Default: none."),
        click.option("--priority", type=int, default=5, show_default=True,
                     help="1 to 10; 10 comes first."),
    ]  # fmt: skip
    return functools.reduce(lambda made, option: option(made), reversed(options), command)


def read_config(
    config_path: str | None,
    settings: tuple[str, ...],
    **flags: Any,  # noqa: ANN401 - plain values
) -> Configuration:
    """The configuration of this call: flags over environment over file over defaults."""
    return load(chosen_file(config_path), os.environ, overrides_of(settings, flags))


def overrides_of(settings: tuple[str, ...], flags: dict[str, Any]) -> dict[str, Any]:
    """`--set` pairs and flags by `section.key`; flags that were not given are left out."""
    overrides: dict[str, Any] = {}
    for pair in settings:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--set")
        overrides[key.strip()] = value
    named = {key.replace("__", "."): value for key, value in flags.items() if value is not None}
    return overrides | named


def chosen_file(config_path: str | None) -> str | None:
    """The file that was named, else the user's own one when it exists."""
    if config_path:
        return config_path
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    path = Path(base) / "understudy" / "config.yaml"
    return str(path) if path.exists() else None


def read_description(text: str) -> str:
    """The description itself; `-` reads it from standard input."""
    return sys.stdin.read(MAX_DESCRIPTION_BYTES + 1) if text == "-" else text


def print_json(data: object) -> None:
    """The one JSON object on stdout."""
    click.echo(json.dumps(data, indent=2 if sys.stdout.isatty() else None))
