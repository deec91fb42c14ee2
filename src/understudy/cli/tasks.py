"""`tasks`, `result`, `logs`, `replay`: what was asked, what came of it, what happened.

Read from the store, with or without a service.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from understudy.actors.errors import AgentError
from understudy.actors.printable import printable
from understudy.actors.tasks.task import TaskState
from understudy.cli.common import config_options, json_option, print_json, read_config

if TYPE_CHECKING:
    from collections.abc import Generator

    from understudy.actors.tasks.store import StoredEvent, TaskRow, TaskStore
    from understudy.config import Configuration

_POLL_S = 0.2


class UnknownId(AgentError):
    """No task or agent has that id."""

    exit_code_of_command = 2

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted

    def __str__(self) -> str:
        return f"no task or agent {self.wanted!r} is known here; see `understudy tasks`"


class NoResult(AgentError):
    """The task is not over."""

    def __init__(self, task_id: str, state: str) -> None:
        super().__init__(task_id, state)
        self.task_id = task_id
        self.state = state

    def __str__(self) -> str:
        return f"task {self.task_id} has no result yet; it is {self.state}"


@contextmanager
def open_store(config_path: str | None, settings: tuple[str, ...]) -> Generator[TaskStore]:
    """The store that the configuration names."""
    from understudy.actors.tasks.store import TaskStore  # noqa: PLC0415 - when it is needed
    from understudy.orchestrator import base_of  # noqa: PLC0415 - likewise

    folder = base_of(read_config(config_path, settings).settings, os.environ).state_dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = TaskStore(folder / "tasks.db")
    try:
        yield store
    finally:
        store.close()


@click.command()
@click.option(
    "--state",
    type=click.Choice([state.value for state in TaskState]),
    help="Only tasks in this state.",
)
@click.option("--poison", is_flag=True, help="Only tasks that felled their agent too often.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True)
@config_options
@json_option
def tasks(
    state: str | None,
    poison: bool,
    limit: int,
    config_path: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """List tasks, the newest first."""
    with open_store(config_path, settings) as store:
        rows = store.tasks(TaskState(state) if state else None, limit, poison=poison)
    if as_json:
        print_json({"tasks": [_row(row) for row in rows]})
        return 0
    if not rows and poison:
        click.echo("no task is in quarantine", err=True)
    elif not rows:
        click.echo("no tasks; give one with `understudy run` or `understudy submit`", err=True)
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.submitted_at))
        agent = row.agent_id or "-"
        task = row.task
        title = ", ".join([*task.files[:2], *task.description.splitlines()[:1]])[:60]
        if task.given_by:
            verb = "asked by" if task.is_ask else "given by"
            title += f"  [{verb} {task.given_by} for {(task.parent or '?')[:8]}]"
        about = f"{row.state:<9} {task.task_type:<15} {agent:<10} {when}"
        click.echo(printable(f"{task.task_id}  {about}  {title}"))
    return 0


def _row(row: TaskRow) -> dict[str, object]:
    return {
        "task_id": row.task_id,
        "state": row.state,
        "task_type": row.task.task_type,
        "description": row.task.description,
        "files": row.task.files,
        "priority": row.task.priority,
        "parent": row.task.parent,
        "given_by": row.task.given_by,
        "is_ask": row.task.is_ask,
        "agent_id": row.agent_id,
        "attempts": row.attempts,
        "deaths": row.deaths,
        "poison": row.quarantined,
        "submitted_at": row.submitted_at,
        "updated_at": row.updated_at,
    }


@click.command()
@click.argument("task_id")
@config_options
@json_option
def result(task_id: str, config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Show the result of a task. The id may be shortened as long as it is unique."""
    with open_store(config_path, settings) as store:
        full_id = _one_task(store, task_id)
        found, row = store.result(full_id), store.row(full_id)
    if found is None:
        state = row.state if row else "unknown"
        raise NoResult(full_id, state)
    if as_json:
        print_json(found.to_wire())
    else:
        from rich.console import Console  # noqa: PLC0415 - rich is loaded when something is shown

        from understudy.views import print_outcome, result_table  # noqa: PLC0415 - likewise

        print_outcome(Console(emoji=False), found)
        Console(emoji=False).print(result_table([found], {}))
    return 0 if found.status == "success" else 1


@click.command()
@click.argument("task_or_agent")
@click.option("-f", "--follow", is_flag=True, help="Go on until the task is finished, or for ever.")
@config_options
def logs(
    task_or_agent: str, follow: bool, config_path: str | None, settings: tuple[str, ...]
) -> int:
    """Show what happened to a task, or to an agent or service (agent_000, gateway).

    Of an agent: its tasks, and its own life: starting, ready, exited, restarting, gave_up,
    suspended, resumed, parked, woken.

    \b
    Example: understudy logs -f agent_000
    """  # noqa: D301 - click looks for the backspace that the escape stands for
    with open_store(config_path, settings) as store:
        of_agent = bool(store.events(agent_id=task_or_agent, limit=1))
        wanted = task_or_agent if of_agent else _one_task(store, task_or_agent)
        seen = 0
        while True:
            task_id, agent_id = (None, wanted) if of_agent else (wanted, None)
            page = store.events(task_id=task_id, agent_id=agent_id, after=seen)
            for event in page:
                seen = event.seq
                _print_event(event)
            if any(event.kind == "finished" for event in page) and not of_agent:
                break
            if not page:
                if not follow:
                    break
                time.sleep(_POLL_S)
    return 0


def _print_event(event: StoredEvent) -> None:
    when = time.strftime("%H:%M:%S", time.localtime(event.at))
    short_id, who = (event.task_id or "-")[:8], event.agent_id or "-"
    # A line that begins with a time is ours.
    text = printable(event.text).replace("\n", "\n    ")
    click.echo(f"{when} {short_id} {who} {event.kind} {text}".rstrip())


@click.command()
@click.argument("task_id")
@config_options
@json_option
def replay(task_id: str, config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Put back a task that was kept back as poison: it runs again, with a clean record.

    Without a service it waits for the next one. The id may be shortened as long as it is unique.
    """
    with open_store(config_path, settings) as store:
        full_id = _one_task(store, task_id)
        done = _put_back(store, full_id, read_config(config_path, settings))
    if as_json:
        print_json({"task_id": full_id, "replayed": done})
    elif done:
        click.echo(f"{full_id} runs again")
    else:
        click.echo(f"{full_id} is not in quarantine; see `understudy tasks --poison`", err=True)
    return 0 if done else 1


def _put_back(store: TaskStore, task_id: str, config: Configuration) -> bool:
    """By the service when one is up, else in the store, where the next one finds it."""
    from understudy.orchestrator import base_of  # noqa: PLC0415 - the fleet's modules, when needed
    from understudy.service import only_service  # noqa: PLC0415 - likewise
    from understudy.sessions import connect  # noqa: PLC0415 - likewise

    client = connect(config.settings.communication.socket_path)
    if client is not None:
        with client:
            return bool(client.call("replay", task_id=task_id)["replayed"])
    # One that is just starting may have read the store already.
    with only_service(base_of(config.settings, os.environ).state_dir):
        return store.replay(task_id)


def full_id(config_path: str | None, settings: tuple[str, ...], start: str) -> str:
    """The id of the one task that starts so; as it is when there is none.

    Raises:
        UnknownId: it is empty.
    """
    if not start:
        raise UnknownId(start)
    with open_store(config_path, settings) as store:
        try:
            return _one_task(store, start)
        except UnknownId:
            return start


def _one_task(store: TaskStore, start: str) -> str:
    """The one task whose id starts so.

    Raises:
        UnknownId: there is none.
    """
    ids = store.ids_starting_with(start) if start else []
    if len(ids) > 1 and start not in ids:
        raise click.ClickException(
            f"{start!r} is the start of {len(ids)} task ids; give more of it"
        )
    if not ids:
        raise UnknownId(start)
    return start if start in ids else ids[0]
