"""`diff`, `apply`, `merge`, `checkout`: a task's work looked at and taken over.

Done from the store and the user's repository, with or without a service.
"""

from __future__ import annotations

import difflib
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from understudy.actors.errors import AgentError
from understudy.actors.printable import printable
from understudy.cli.common import config_options, read_config
from understudy.cli.tasks import NoResult, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from understudy.actors.repository.takeout import Work
    from understudy.actors.tasks.store import TaskStore

_KNOWN = 1000


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
    from understudy.actors.repository.takeout import APPLIED, Work  # noqa: PLC0415 - when needed

    row, result = store.row(task_id), store.result(task_id)
    if row is None or result is None:
        raise NoResult(task_id, row.state if row else "unknown")
    return Work.of(row.task, result, was_applied=store.has_event(task_id, APPLIED))


class NoCopy(AgentError):
    """There is no such copy of a task's work in progress."""

    def __init__(self, task_id: str, wanted: int, there: int) -> None:
        super().__init__(task_id, wanted, there)
        self.task_id = task_id
        self.wanted = wanted
        self.there = there

    def __str__(self) -> str:
        what = f"there are {self.there} copies" if self.there else "there is no copy"
        return f"task {self.task_id}: {what} of its work in progress; see storage.save_interval"


def _saved(store: TaskStore, folder: Path, task_id: str, number: int) -> Work:
    """A copy of the work in progress, the newest is 1, as if it were the task's work."""
    from understudy.actors.repository.takeout import Work  # noqa: PLC0415 - when it is needed
    from understudy.actors.saved_copies import SavedCopies  # noqa: PLC0415 - likewise

    task, files = store.task(task_id), SavedCopies(folder, task_id).files()
    if task is None or not 1 <= number <= len(files):
        raise NoCopy(task_id, number, len(files))
    file = files[number - 1]
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(file.stat().st_mtime))
    older = f"; older ones: --saved 2 to {len(files)}" if number == 1 < len(files) else ""
    click.echo(f"copy {number} of {len(files)}, of {when}{older}", err=True)
    return Work.of_patch(task, file.read_bytes())


@contextmanager
def _opened(
    start: str, config_path: str | None, settings: tuple[str, ...], saved: int | None = None
) -> Generator[Work]:
    from understudy.orchestrator import base_of  # noqa: PLC0415 - when it is needed

    with open_store(config_path, settings) as store:
        task_id = one_task(store, start)
        if saved is None:
            yield work_of(store, task_id)
        else:
            base = base_of(read_config(config_path, settings).settings, os.environ)
            yield _saved(store, base.saved, task_id, saved)


def _saved_option(command: Callable[..., int]) -> Callable[..., int]:
    return click.option(
        "--saved",
        type=click.IntRange(min=1),
        is_flag=False,
        flag_value=1,
        default=None,
        metavar="[NUMBER]",
        help="A copy of its work in progress, also while it runs; 1 is the newest.",
    )(command)


@click.command()
@click.argument("task")
@click.option("--name-only", is_flag=True, help="Only the paths that were changed.")
@_saved_option
@config_options
def diff(
    task: str,
    name_only: bool,
    saved: int | None,
    config_path: str | None,
    settings: tuple[str, ...],
) -> int:
    """Show what a task changed, as a patch.

    \b
    understudy diff 1f3a
    understudy diff 1f3a | git apply
    understudy diff 1f3a --saved
    """  # noqa: D301 - click looks for the backspace that the escape stands for
    with _opened(task, config_path, settings, saved) as work:
        if name_only:
            names = "".join(f"{path}\n" for path in work.changed)
            click.echo(printable(names) if sys.stdout.isatty() else names, nl=False)
            return 0
        patch = work.patch()
    if work.is_cut:
        text = (
            f"the patch is cut, as it is large; the whole: understudy diff {work.task_id} --saved"
        )
        click.echo(text, err=True)
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - rich is loaded when something is shown

        from understudy.views import print_plain  # noqa: PLC0415 - likewise

        print_plain(Console(emoji=False), patch.decode(errors="replace"))
    else:
        click.echo(patch, nl=False)
    return 0


@click.command()
@click.argument("task")
@_saved_option
@config_options
def apply(task: str, saved: int | None, config_path: str | None, settings: tuple[str, ...]) -> int:
    """Put what a task changed into the files of its repository, without a commit.

    All of it or nothing: what does not fit your files is refused. git's index stays as it is.

    \b
    understudy apply 1f3a
    understudy apply 1f3a --saved 2
    """  # noqa: D301 - likewise
    with _opened(task, config_path, settings, saved) as work:
        work.apply()
    _note_applied(work, config_path, settings, saved)
    click.echo(f"{work.task_id}: {len(work.changed)} files changed in {work.folder}", err=True)
    return 0


def _note_applied(
    work: Work, config_path: str | None, settings: tuple[str, ...], saved: int | None
) -> None:
    """Put on record that all of the task's work is in the user's files; see `Work.loss`."""
    from understudy.actors.repository.takeout import APPLIED  # noqa: PLC0415 - when it is needed

    with open_store(config_path, settings) as store:
        result = store.result(work.task_id)
        # A copy is all of it only at the end of a task whose patch was cut, and the newest.
        if saved is None or (saved == 1 and result is not None and "whole" in result.result):
            store.event(work.task_id, None, time.time(), APPLIED, f"in {work.folder}")


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
        click.echo(printable(work.merge()), err=True)
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
