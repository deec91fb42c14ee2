"""`approve`, `deny`, `answer`: what an agent may do that asks first."""

from __future__ import annotations

import click

from understudy.cli.common import config_options, json_option, print_json, read_config
from understudy.cli.service import need_service
from understudy.cli.tasks import full_id

_call_option = click.option(
    "--call",
    metavar="CALL",
    help="The one call that is meant, by its id in `understudy status`; no other is answered.",
)


@click.command()
@click.argument("task_id")
@_call_option
@config_options
@json_option
def approve(
    task_id: str,
    call: str | None,
    config_path: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """Allow the call that TASK_ID asks for; `understudy status` shows it.

    Without --call it is the one that is open when this arrives, and refused when there are more.
    The id of the task may be shortened as long as it is unique.

    \b
    Example: understudy approve 1f3a --call req_2
    """  # noqa: D301 - click looks for the backspace that the escape stands for
    return _answer(task_id, call, config_path, settings, as_json=as_json, allow=True)


@click.command()
@click.argument("task_id")
@_call_option
@config_options
@json_option
def deny(
    task_id: str,
    call: str | None,
    config_path: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """Refuse the call that TASK_ID asks for; its agent goes on without it."""
    return _answer(task_id, call, config_path, settings, as_json=as_json, allow=False)


@click.command()
@click.argument("task_id")
@click.argument("text")
@_call_option
@config_options
@json_option
def answer(
    task_id: str,
    text: str,
    call: str | None,
    config_path: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """Refuse the call that TASK_ID asks for, and tell its agent TEXT instead."""
    return _answer(task_id, call, config_path, settings, as_json=as_json, allow=False, text=text)


def _answer(
    task_id: str,
    call: str | None,
    config_path: str | None,
    settings: tuple[str, ...],
    *,
    as_json: bool,
    allow: bool,
    text: str | None = None,
) -> int:
    from understudy.actors.team.shown_call import call_text  # noqa: PLC0415 - when it is needed

    task_id = full_id(config_path, settings, task_id)
    with need_service(read_config(config_path, settings)) as client:
        done = client.call("answer", task_id=task_id, allow=allow, text=text, call=call)
    if as_json:
        print_json(done)
    elif done["answered"]:
        did = "allowed" if allow else "refused"
        click.echo(f"{task_id} goes on; {did}: {call_text(done['call'])}")
    elif call is not None:
        text = f"{task_id} does not ask for the call {call} (any more): nothing was answered"
        click.echo(f"{text}; see `understudy status`", err=True)
    else:
        click.echo(f"{task_id} asks for nothing; see `understudy status`", err=True)
    return 0 if done["answered"] else 1
