"""`rm`, `prune`: finished tasks removed, but for work that would be lost; what the disk holds.

Done from the store and the user's repository, with or without a service.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from understudy.actors.errors import AgentError
from understudy.actors.printable import printable
from understudy.cli.common import config_options, json_option, print_json, read_config
from understudy.cli.tasks import open_store
from understudy.cli.work import one_task, work_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from understudy.actors.fleet_places import FleetBase
    from understudy.actors.repository.takeout import Work
    from understudy.actors.tasks.store import TaskStore
    from understudy.cli.disk import DiskUse

_DAY_S = 24 * 3600.0
_SHOWN = 10


@click.command()
@click.argument("tasks", metavar="TASK...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Also when the work was not taken over: it is lost.")
@config_options
def rm(
    tasks: tuple[str, ...], force: bool, config_path: str | None, settings: tuple[str, ...]
) -> int:
    """Remove finished tasks: their branches, results and records.

    Refused when that would lose work: what another branch holds or your files have is safe.

    \b
    understudy rm 1f3a
    understudy rm --force 1f3a 77b0
    """  # noqa: D301 - click looks for the backspace that the escape stands for
    base = _base(config_path, settings)
    with open_store(config_path, settings) as store:
        works = [work_of(store, one_task(store, start)) for start in tasks]
        for work in works if not force else ():
            _refuse_loss(base, store, work)
        for work in works:
            _remove(store, base.saved, work)
    return 0


@click.command()
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="DAYS",
    help="Only tasks that were over so long ago. Default: all that are over.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go, and what the disk holds.")
@click.option("--force", is_flag=True, help="Also work that was not taken over: it is lost.")
@config_options
@json_option
def prune(
    days: float,
    dry_run: bool,
    force: bool,
    config_path: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """Remove all finished tasks whose work was taken over or changed nothing.

    The others are kept and named. Then: what is on the disk, by folder and by task.

    \b
    understudy prune --dry-run
    understudy prune --older-than 7
    """  # noqa: D301 - likewise
    from understudy.cli.disk import disk_use  # noqa: PLC0415 - when it is needed

    base = _base(config_path, settings)
    with open_store(config_path, settings) as store:

        def let_go(task_id: str) -> None:
            work = work_of(store, task_id)
            if not force:
                _refuse_loss(base, store, work)
            if not dry_run:
                _remove(store, base.saved, work)

        removed, kept = _each(store.finished_before(days * _DAY_S), let_go)
    used = disk_use(base)
    if as_json:
        disk = {"disk_bytes": used.folders, "task_bytes": used.tasks}
        print_json({"removed": removed, "kept": kept, "dry_run": dry_run, **disk})
        return 0
    for text in kept.values():
        click.echo(printable(f"kept: {text}"))
    done = "would be removed" if dry_run else "removed"
    click.echo(f"{len(removed)} tasks {done}, {len(kept)} kept")
    _show_disk(used)
    return 0


def _base(config_path: str | None, settings: tuple[str, ...]) -> FleetBase:
    from understudy.orchestrator import base_of  # noqa: PLC0415 - when it is needed

    return base_of(read_config(config_path, settings).settings, os.environ)


def _refuse_loss(base: FleetBase, store: TaskStore, work: Work) -> None:
    """Raises WorkRefused when something of a task's work would be nowhere any more."""
    from understudy.actors.repository.takeout import WorkRefused  # noqa: PLC0415 - when it is needed
    from understudy.actors.work import left_behind  # noqa: PLC0415 - likewise

    result = store.result(work.task_id)
    left = left_behind(base.conversations, work.task_id, result) if result else None
    if left is not None:
        mend = "a service takes it out within a minute, or the next fleet; --force loses it"
        raise WorkRefused(work.task_id, f"what it wrote is still in {left / 'work'}", mend)
    if loss := work.loss():
        raise WorkRefused(work.task_id, loss, "merge or apply it, or say --force to lose it")


def _each(task_ids: list[str], let_go: Callable[[str], None]) -> tuple[list[str], dict[str, str]]:
    """The tasks that were let go, and why the others were not."""
    gone: list[str] = []
    kept: dict[str, str] = {}
    for task_id in task_ids:
        try:
            let_go(task_id)
        except AgentError as error:
            kept[task_id] = str(error)
        else:
            gone.append(task_id)
    return gone, kept


def _remove(store: TaskStore, saved: Path, work: Work) -> None:
    """The branch first: a record without a branch can be removed again, not the other way."""
    from understudy.actors.saved_copies import SavedCopies  # noqa: PLC0415 - when it is needed

    had_branch = work.remove_branch()
    store.delete([work.task_id])
    SavedCopies(saved, work.task_id).remove()
    branch = f" and branch {work.branch}" if had_branch else ""
    click.echo(f"{work.task_id}{branch} removed", err=True)


def _show_disk(used: DiskUse) -> None:
    for name, size_bytes in used.folders.items():
        click.echo(f"{size_bytes / 1e6:10.1f} MB  {name}")
    most = sorted(used.tasks.items(), key=lambda item: -item[1])
    for task_id, size_bytes in most[:_SHOWN]:
        click.echo(f"{size_bytes / 1e6:10.1f} MB  task {task_id}")
    if len(most) > _SHOWN:
        rest_bytes = sum(size_bytes for _, size_bytes in most[_SHOWN:])
        click.echo(f"{rest_bytes / 1e6:10.1f} MB  {len(most) - _SHOWN} more tasks")
