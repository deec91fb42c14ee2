"""`run` and `submit`: give tasks to the fleet; see them through or leave them to the service."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any, Unpack

import click

from understudy.actors.tasks.task import Task, TaskResult
from understudy.cli.common import (
    TaskOptions,
    chosen_file,
    config_options,
    json_option,
    overrides_of,
    print_json,
    read_config,
    read_description,
    task_options,
)
from understudy.cli.interrupt import hurry_by

if TYPE_CHECKING:
    from rich.console import Console

    from understudy.orchestrator import Orchestrator
    from understudy.sessions import Session


def make_tasks(options: TaskOptions, *, usual_timeout: float) -> tuple[list[Task], dict[str, str]]:
    """The tasks that the options describe, and a short title for each."""
    files, repo, deadline = options["files"], options["repo"], options["deadline"]
    text = read_description(options["description"])
    if not text and not files and repo is None:
        raise click.UsageError("say what to do: give a DESCRIPTION, --file or --repo")
    where = os.path.abspath(repo or os.curdir) if repo or files else None  # noqa: PTH100 - a string on the wire
    groups = [[name] for name in files] if options["each"] and files else [list(files)]
    tasks = [
        Task(
            task_type=options["task_type"],
            description=text,
            files=group,
            priority=options["priority"],
            timeout=usual_timeout if options["timeout"] is None else options["timeout"],
            deadline=None if deadline is None else time.time() + deadline,
            repo=where,
            include_uncommitted=not options["committed"],
            include_untracked=options["untracked"],
            role=options["role"],
            agent=options["agent"],
        )
        for group in groups
    ]
    titles = {
        task.task_id: task.files[0]
        if len(task.files) == 1
        else f"{task.task_type} {task.task_id[:8]}"
        for task in tasks
    }
    return tasks, titles


def see_through(
    session: Session, tasks: list[Task], titles: dict[str, str], console: Console
) -> list[TaskResult]:
    """Run the tasks with live progress on the console; their results, in the order of the tasks."""
    from understudy.views import Progress  # noqa: PLC0415 - rich is loaded when something is shown

    results: dict[str, TaskResult] = {}
    with Progress(tasks, titles, console) as progress:
        for update in session.run(tasks):
            progress.update(update)
            if isinstance(update, TaskResult):
                results[update.task_id] = update
    return [results[task.task_id] for task in tasks]


def show(results: list[TaskResult], titles: dict[str, str], *, as_json: bool) -> int:
    """Print the results; the exit code they make."""
    good = all(result.status == "success" for result in results)
    if as_json:
        wire = [result.to_wire() for result in results]
        print_json({"status": "success" if good else "failed", "results": wire})
        return 0 if good else 1
    from rich.console import Console  # noqa: PLC0415 - rich is loaded when something is shown

    from understudy.views import print_outcome, result_table  # noqa: PLC0415 - likewise

    console = Console(emoji=False)
    for result in results:
        print_outcome(console, result)
    console.print(result_table(results, titles))
    return 0 if good else 1


def run_in(
    orchestrator: Orchestrator,
    tasks: list[Task],
    titles: dict[str, str],
    *,
    embedded: bool,
    as_json: bool,
    own_settings: bool = False,
) -> int:
    """Run the tasks in the service or in the orchestrator given, show them; the exit code.

    With `own_settings` the caller is told when they do not count, because the service has its own.
    """
    from understudy.logs import configure_logging  # noqa: PLC0415 - the fleet's modules, when needed
    from understudy.orchestrator import base_of  # noqa: PLC0415 - likewise
    from understudy.sessions import ServiceSession, open_session  # noqa: PLC0415 - likewise

    hurry_by(orchestrator.hurry)
    config = orchestrator.config.settings
    folder = base_of(config, os.environ).state_dir / "logs"
    configure_logging(folder, config.orchestrator.log_level, on_stderr=logging.ERROR)
    with open_session(orchestrator, embedded=embedded) as session:
        from rich.console import Console  # noqa: PLC0415 - the fleet starts meanwhile

        console = Console(stderr=True, quiet=as_json, emoji=False)
        console.print(f"running on {session.place}", style="dim")
        if own_settings and isinstance(session, ServiceSession):
            console.print("its settings count, not --set and --config; for those use --embedded")
        asking = [name for name, role in config.roles.items() if role.permission == "ask"]
        if asking and not isinstance(session, ServiceSession):
            text = "here nobody can answer the calls that these roles ask for, and they are denied "
            console.print(f"{text}in time; use the service or the prompt: {', '.join(asking)}")
        results = see_through(session, tasks, titles, console)
    return show(results, titles, as_json=as_json)


@click.command()
@task_options
@click.option(
    "--agents", type=int, help="Agents of a fleet of its own. Default: one for each task."
)
@click.option(
    "--fake", is_flag=True, default=None, help="Use the scripted model: no key, no network."
)
@click.option("--embedded", is_flag=True, help="Do not use the service, even when one is up.")
@config_options
@json_option
def run(
    agents: int | None,
    fake: bool | None,
    embedded: bool,
    config_path: str | None,
    settings: tuple[str, ...],
    as_json: bool,
    **options: Unpack[TaskOptions],
) -> int:
    """Run a task and show its result.

    DESCRIPTION says what to do; `-` reads it from standard input.
    Uses the service when one is up, else starts a fleet for this call.
    """
    flags: dict[str, Any] = {"gateway__scripted_model": fake or None}
    config = read_config(config_path, settings, **flags)
    usual = config.settings.orchestrator.task_timeout
    tasks, titles = make_tasks(options, usual_timeout=usual)
    for task in tasks:
        task.check(priority_levels=config.settings.task_queue.priority_levels)
    flags["agent__warm_for"] = options["task_type"]
    most = config.settings.orchestrator.num_agents
    wanted = agents if agents is not None else min(len(tasks), most)
    flags["orchestrator__num_agents"] = wanted
    from understudy.orchestrator import Orchestrator  # noqa: PLC0415 - after usage errors

    orchestrator = Orchestrator(chosen_file(config_path), overrides=overrides_of(settings, flags))
    alone = embedded or agents is not None or bool(fake)
    own = bool(settings or config_path)
    return run_in(orchestrator, tasks, titles, embedded=alone, as_json=as_json, own_settings=own)


@click.command()
@task_options
@config_options
@json_option
def submit(
    config_path: str | None,
    settings: tuple[str, ...],
    as_json: bool,
    **options: Unpack[TaskOptions],
) -> int:
    """Give a task to the service and return at once; prints its id."""
    from understudy.cli.service import need_service  # noqa: PLC0415 - the transport, when it is needed

    config = read_config(config_path, settings)
    usual = config.settings.orchestrator.task_timeout
    tasks, _ = make_tasks(options, usual_timeout=usual)
    with need_service(config) as client:
        answer = client.call("submit", tasks=[task.to_wire() for task in tasks])
    if as_json:
        print_json(answer)
        return 0
    for task_id in answer["task_ids"]:
        click.echo(task_id)
    click.echo("follow it: understudy logs -f TASK; its result: understudy result TASK", err=True)
    return 0
