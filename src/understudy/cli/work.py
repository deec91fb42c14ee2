"""`diff`, `apply`, `merge`, `checkout`: a task's work looked at and taken over.

Done from the store and the user's repository, with or without a service.
"""

from __future__ import annotations

import difflib
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from understudy.actors.errors import AgentError
from understudy.cli.common import config_options
from understudy.cli.tasks import NoResult, open_store

if TYPE_CHECKING:
    from collections.abc import Generator

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
