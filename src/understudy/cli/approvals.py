"""`approve`, `deny`, `answer`: what an agent may do that asks first."""

from __future__ import annotations

import click

from understudy.cli.common import config_options, json_option, print_json, read_config
from understudy.cli.service import need_service
from understudy.cli.tasks import full_id


@click.command()
@click.argument("task_id")
@config_options
@json_option
def approve(task_id: str, config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Allow the oldest call that TASK_ID asks for; `understudy status` shows it.

    The id may be shortened as long as it is unique.
    """
    return _answer(task_id, config_path, settings, as_json=as_json, allow=True)


@click.command()
@click.argument("task_id")
@config_options
@json_option
def deny(task_id: str, config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Refuse the oldest call that TASK_ID asks for; its agent goes on without it."""
    return _answer(task_id, config_path, settings, as_json=as_json, allow=False)


@click.command()
@click.argument("task_id")
@click.argument("text")
@config_options
@json_option
def answer(
    task_id: str, text: str, config_path: str | None, settings: tuple[str, ...], as_json: bool
) -> int:
    """Refuse the oldest call that TASK_ID asks for, and tell its agent TEXT instead."""
    return _answer(task_id, config_path, settings, as_json=as_json, allow=False, text=text)


def _answer(
    task_id: str,
    config_path: str | None,
    settings: tuple[str, ...],
    *,
    as_json: bool,
    allow: bool,
    text: str | None = None,
) -> int:
    task_id = full_id(config_path, settings, task_id)
    with need_service(read_config(config_path, settings)) as client:
        done = client.call("answer", task_id=task_id, allow=allow, text=text)
    if as_json:
        print_json(done)
    elif done["answered"]:
        click.echo(f"{task_id} goes on")
    else:
        click.echo(f"{task_id} asks for nothing; see `understudy status`", err=True)
    return 0 if done["answered"] else 1
