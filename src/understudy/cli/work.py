"""`diff`, `apply`, `merge`, `checkout`, `rm`, `prune`: what becomes of a task's work.

Done from the store and the user's repository, with or without a service.
"""

from __future__ import annotations

import difflib
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from understudy.actors.errors import AgentError
from understudy.cli.common import config_options, json_option, print_json, read_config
from understudy.cli.tasks import NoResult, open_store

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from understudy.actors.repository.takeout import Work
    from understudy.actors.tasks.store import TaskStore

_KNOWN = 1000
_DAY_S = 24 * 3600.0


class UnknownTask(AgentError):
    """No task has that id, or more than one begins so.

    Attributes:
        wanted: what was asked for.
        count: how many ids begin so.
        nearest: an id that may have been meant, or None.
    """

    exit_code_of_command = 2

    def __init__(self, wanted: str, count: int, nearest: str | None) -> None:
        super().__init__(wanted, count, nearest)
        self.wanted = wanted
        self.count = count
        self.nearest = nearest

    def __str__(self) -> str:
        if self.count:
            return f"{self.wanted!r} is the start of {self.count} task ids; give more of it"
        hint = f"did you mean {self.nearest}?" if self.nearest else "see `understudy tasks`"
        return f"no task {self.wanted!r} is known here; {hint}"


def one_task(store: TaskStore, start: str) -> str:
    """The one task whose id begins so; the name of a task's branch is taken, too.

    Raises:
        UnknownTask: there is none, or more than one.
    """
    start = start.removeprefix("understudy/")
    ids = store.ids_starting_with(start) if start else []
    if start in ids:
        return start
    if len(ids) == 1:
        return ids[0]
    known = {row.task_id[: len(start)]: row.task_id for row in store.tasks(limit=_KNOWN)}
    near = difflib.get_close_matches(start, known, n=1)
    raise UnknownTask(start, len(ids), known[near[0]] if near and not ids else None)


def work_of(store: TaskStore, task_id: str) -> Work:
    """The work of a finished task.

    Raises:
        NoResult: it is not over.
    """
    from understudy.actors.repository.takeout import Work  # noqa: PLC0415 - when it is needed

    row, result = store.row(task_id), store.result(task_id)
    if row is None or result is None:
        raise NoResult(task_id, row.state if row else "unknown")
    return Work.of(row.task, result)


@contextmanager
def _opened(start: str, config_path: str | None, settings: tuple[str, ...]) -> Generator[Work]:
    with open_store(config_path, settings) as store:
        yield work_of(store, one_task(store, start))


@click.command()
@click.argument("task")
@click.option("--name-only", is_flag=True, help="Only the paths that were changed.")
@config_options
def diff(task: str, name_only: bool, config_path: str | None, settings: tuple[str, ...]) -> int:
    """Show what a task changed, as a patch.

    \b
    understudy diff 1f3a
    understudy diff 1f3a | git apply
    """  # noqa: D301 - click looks for the backspace that the escape stands for
    with _opened(task, config_path, settings) as work:
        if name_only:
            click.echo("".join(f"{path}\n" for path in work.changed), nl=False)
            return 0
        patch = work.patch()
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - rich is loaded when something is shown

        from understudy.views import print_plain  # noqa: PLC0415 - likewise

        print_plain(Console(emoji=False), patch.decode(errors="replace"))
    else:
        click.echo(patch, nl=False)
    return 0


@click.command()
@click.argument("task")
@config_options
def apply(task: str, config_path: str | None, settings: tuple[str, ...]) -> int:
    """Put what a task changed into the files of its repository, without a commit.

    All of it or nothing: what does not fit your files is refused. git's index stays as it is.

    \b
    understudy apply 1f3a
    """  # noqa: D301 - likewise
    with _opened(task, config_path, settings) as work:
        work.apply()
    click.echo(f"{work.task_id}: {len(work.changed)} files changed in {work.folder}", err=True)
    return 0


@click.command()
@click.argument("task")
@config_options
def merge(task: str, config_path: str | None, settings: tuple[str, ...]) -> int:
    """Merge a task's branch into what is checked out in its repository.

    Conflicts end the merge and leave everything as it was.

    \b
    understudy merge 1f3a
    """  # noqa: D301 - likewise
    with _opened(task, config_path, settings) as work:
        click.echo(work.merge(), err=True)
    return 0


@click.command()
@click.argument("task")
@config_options
def checkout(task: str, config_path: str | None, settings: tuple[str, ...]) -> int:
    """Check a task's branch out in its repository. As git does, it refuses to lose your changes.

    \b
    understudy checkout 1f3a
    """  # noqa: D301 - likewise
    with _opened(task, config_path, settings) as work:
        work.checkout()
    click.echo(f"{work.folder} is on {work.branch}", err=True)
    return 0


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
    """  # noqa: D301 - likewise
    from understudy.actors.repository.takeout import WorkRefused  # noqa: PLC0415 - when it is needed

    with open_store(config_path, settings) as store:
        works = [work_of(store, one_task(store, start)) for start in tasks]
        for work in works:
            if not force and (loss := work.loss()):
                mend = "merge or apply it, or say --force to lose it"
                raise WorkRefused(work.task_id, loss, mend)
        for work in works:
            _remove(store, work)
    return 0


def _remove(store: TaskStore, work: Work) -> None:
    """The branch first: a record without a branch can be removed again, not the other way."""
    had_branch = work.remove_branch()
    store.delete([work.task_id])
    branch = f" and branch {work.branch}" if had_branch else ""
    click.echo(f"{work.task_id}{branch} removed", err=True)


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

    The others are kept and named.

    \b
    understudy prune --dry-run
    understudy prune --older-than 7
    """  # noqa: D301 - likewise
    from understudy.actors.repository.takeout import WorkRefused  # noqa: PLC0415 - when it is needed

    removed: list[str] = []
    kept: dict[str, str] = {}
    with open_store(config_path, settings) as store:
        for task_id in store.finished_before(days * _DAY_S):
            work = work_of(store, task_id)
            try:
                if not force and (loss := work.loss()):
                    raise WorkRefused(task_id, loss, "merge or apply it, or say --force")
                if not dry_run:
                    _remove(store, work)
            except AgentError as error:
                kept[task_id] = str(error)
            else:
                removed.append(task_id)
    used = _disk_use(config_path, settings)
    if as_json:
        print_json({"removed": removed, "kept": kept, "dry_run": dry_run, "disk_bytes": used})
        return 0
    for text in kept.values():
        click.echo(f"kept: {text}")
    done = "would be removed" if dry_run else "removed"
    click.echo(f"{len(removed)} tasks {done}, {len(kept)} kept")
    for name, size_bytes in used.items():
        click.echo(f"{size_bytes / 1e6:10.1f} MB  {name}")
    return 0


def _disk_use(config_path: str | None, settings: tuple[str, ...]) -> dict[str, int]:
    """Bytes on disk below each of our folders, and of the store."""
    from understudy.orchestrator import base_of  # noqa: PLC0415 - when it is needed

    base = base_of(read_config(config_path, settings).settings, os.environ)
    places = [*sorted(base.state_dir.iterdir()), base.run_root]
    return {str(place): _size(place) for place in places if place.exists()}


def _size(place: Path) -> int:
    """What lies below a place, links not followed; what vanishes meanwhile counts as nothing."""
    total = place.lstat().st_blocks * 512
    for folder, folders, files in os.walk(place):
        for name in (*folders, *files):
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118 - a fast walk
            except FileNotFoundError:
                continue
    return total
