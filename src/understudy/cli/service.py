"""`serve`, `status`, `cancel`, `stop`: the service and what is asked of it."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

import click

from understudy.actors.errors import AgentError
from understudy.actors.printable import printable
from understudy.cli.common import (
    chosen_file,
    config_options,
    json_option,
    overrides_of,
    print_json,
    read_config,
)
from understudy.cli.tasks import full_id

if TYPE_CHECKING:
    from understudy.config import Configuration
    from understudy.control import ServiceClient


_POLL_S = 0.05
_STOP_S = 60.0


class NoService(AgentError):
    """The command needs the service and none is up."""

    exit_code_of_command = 3

    def __init__(self, socket_path: str) -> None:
        super().__init__(socket_path)
        self.socket_path = socket_path

    def __str__(self) -> str:
        return f"no service answers on {self.socket_path}; start one with `understudy serve`"


def need_service(config: Configuration) -> ServiceClient:
    """A connection to the service.

    Raises:
        NoService: none is up.
    """
    from understudy.sessions import connect  # noqa: PLC0415 - the fleet's modules, when needed

    path = config.settings.communication.socket_path
    client = connect(path)
    if client is None:
        raise NoService(path)
    return client


@click.command()
@click.option("--agents", type=int, help="How many agents. Default: orchestrator.num_agents.")
@click.option(
    "--fake", is_flag=True, default=None, help="Use the scripted model: no key, no network."
)
@config_options
def serve(
    agents: int | None, fake: bool | None, config_path: str | None, settings: tuple[str, ...]
) -> int:
    """Run the service in the foreground.

    It ends on SIGTERM, Ctrl-C or `understudy stop`; tasks that wait are kept.
    """
    from understudy import service  # noqa: PLC0415 - the fleet's modules, when needed
    from understudy.actors.fleet_specs import agent_ids  # noqa: PLC0415 - likewise
    from understudy.logs import configure_logging  # noqa: PLC0415 - likewise
    from understudy.orchestrator import Orchestrator, base_of  # noqa: PLC0415 - likewise

    flags = {"orchestrator__num_agents": agents, "gateway__scripted_model": fake or None}
    orchestrator = Orchestrator(
        chosen_file(config_path), overrides=overrides_of(settings, flags), keeps_tasks=True
    )
    level = orchestrator.config.settings.orchestrator.log_level
    folder = base_of(orchestrator.config.settings, os.environ).state_dir / "logs"
    configure_logging(folder, level, on_stderr=logging.getLevelNamesMapping()[level])
    count = len(agent_ids(orchestrator.config.settings))
    service.serve(
        orchestrator,
        os.environ,
        lambda path: click.echo(f"ready: {count} agents, control socket {path}", err=True),
    )
    return 0


@click.command()
@config_options
@json_option
def status(config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Show the service's agents, what they rely on, and its queue.

    \b
    Example: understudy status --json
    """  # noqa: D301 - click looks for the backspace that the escape stands for
    with need_service(read_config(config_path, settings)) as client:
        answer = client.call("status")
    if as_json:
        print_json(answer)
        return 0
    from rich.console import Console  # noqa: PLC0415 - rich is loaded when something is shown

    from understudy.actors.team.shown_call import call_text  # noqa: PLC0415 - likewise
    from understudy.views import (  # noqa: PLC0415 - likewise
        services_table,
        status_table,
        why_nothing_is_given_out,
    )

    Console(emoji=False).print(status_table(answer))
    Console(emoji=False).print(services_table(answer))
    click.echo(f"{answer['queued']} queued, {answer['running']} running")
    if why := why_nothing_is_given_out(answer):
        click.echo(f"no task is given out: {why}")
    for asked in answer["input_required"]:
        call = f"{asked['task_id']} --call {asked['request_id']}"
        click.echo(printable(f"input required: {call}  {call_text(asked)}"))
    if suspended := [name for name, agent in answer["agents"].items() if agent["suspended"]]:
        click.echo(f"suspended: {', '.join(suspended)}")
    if answer["stale_messages"]:
        counts = {name: agent["stale_messages"] for name, agent in answer["agents"].items()}
        whose = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        more = f": {whose}" if whose else ""
        click.echo(f"{answer['stale_messages']} messages of ended incarnations dropped{more}")
    if lost := answer["dead_letters"]:
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(lost.items()))
        click.echo(f"messages between agents that nobody took: {why}")
    if answer["problem"]:
        click.echo(printable(f"problem: {answer['problem']}"))
    return 0


@click.command()
@click.argument("task_id")
@config_options
@json_option
def cancel(task_id: str, config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """End a task of the service, waiting or running, and what its agent gave away.

    The id may be shortened as long as it is unique.
    """
    task_id = full_id(config_path, settings, task_id)
    with need_service(read_config(config_path, settings)) as client:
        answer = client.call("cancel", task_id=task_id)
    if as_json:
        print_json(answer)
    elif answer["canceled"]:
        click.echo(f"canceling {task_id}")
    else:
        click.echo(f"{task_id} neither waits nor runs; see `understudy tasks`", err=True)
    return 0 if answer["canceled"] else 1


@click.command()
@config_options
@json_option
def stop(config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Stop the service; tasks that wait are kept for the next one."""
    config = read_config(config_path, settings)
    with need_service(config) as client:
        answer = client.call("stop")
    _await_end(config)
    if as_json:
        print_json(answer)
    else:
        click.echo("stopped")
    return 0


def _await_end(config: Configuration) -> None:
    """Return when the service has given its folder free.

    Raises:
        AgentError: it has not within its own limits.
    """
    from understudy.actors.housekeeping import lock_is_held  # noqa: PLC0415 - when it is needed
    from understudy.orchestrator import base_of  # noqa: PLC0415 - likewise

    lock = base_of(config.settings, os.environ).state_dir / "service.lock"
    limit_s = config.settings.supervision.shutdown_timeout + _STOP_S
    ends = time.monotonic() + limit_s
    while lock_is_held(lock):
        if time.monotonic() > ends:
            raise AgentError(f"the service did not end within {limit_s:g} s")
        time.sleep(_POLL_S)
