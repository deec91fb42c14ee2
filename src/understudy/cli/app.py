"""The group of all commands, and what becomes of their errors.

Exit codes: 0 done, 1 a task failed, 2 usage or configuration, 3 the machine is not ready,
130 interrupted, after cleaning up.
"""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING

import click

from understudy.actors.core_dumps import forbid_core_dumps
from understudy.actors.paths import state_dir
from understudy.actors.printable import printable
from understudy.cli.interrupt import arm_interrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE, TASK_FAILED, BAD_USAGE, NOT_READY, INTERRUPTED = 0, 1, 2, 3, 130

# Errors with a message for people; everything else is a defect.
_TOLD = {"AgentError", "TransportError", "SupervisionError"}
_BAD_USAGE = {"ConfigurationError", "InvalidTask", "SocketPathTooLong"}
_NOT_READY = {
    "MachineNotReady",
    "PodmanError",
    "ImageError",
    "SocketInUse",
    "SocketPathUnusable",
    "StoreError",
    "UnsafeDirectory",
    "ServiceRunning",
}

# Each command is loaded when it is called: `understudy tasks` need not load what `serve` needs.
_COMMANDS = {
    "run": "running:run",
    "demo": "demo:demo",
    "serve": "service:serve",
    "submit": "running:submit",
    "status": "service:status",
    "ps": "service:status",
    "tree": "fleet:tree",
    "tasks": "tasks:tasks",
    "result": "tasks:result",
    "logs": "tasks:logs",
    "diff": "work:diff",
    "apply": "work:apply",
    "merge": "work:merge",
    "checkout": "work:checkout",
    "rm": "removal:rm",
    "prune": "removal:prune",
    "replay": "tasks:replay",
    "cancel": "service:cancel",
    "approve": "approvals:approve",
    "deny": "approvals:deny",
    "answer": "approvals:answer",
    "stop": "service:stop",
    "restart": "fleet:restart",
    "suspend": "fleet:suspend",
    "resume": "fleet:resume",
    "repl": "repl:repl",
    "plan": "plan:plan",
    "audit": "audit:audit",
    "simulate": "simulate:simulate",
    "doctor": "machine:doctor",
    "image": "machine:image",
    "config": "settings:config",
    "fake-api": "machine:fake_api",
}

_FULL = (errno.ENOSPC, errno.EDQUOT)


class _Lazy(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [name for name in _COMMANDS if name != "ps"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, name = place.split(":")
        command: click.Command = getattr(import_module(f"understudy.cli.{module}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib  # noqa: PLC0415 - needed for a typing error alone

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"{error.format_message()}{hint}", ctx) from None


def _show_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"understudy {_version()}")
        ctx.exit()


def _version() -> str:
    from understudy.version import VERSION  # noqa: PLC0415 - it reads the package's metadata

    return VERSION


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version.",
)
def app() -> None:
    """Run a fleet of headless Claude Code agents, each supervised, in a container of its own.

    \b
    Exit codes: 0 done, 1 a task failed, 2 usage or configuration,
    3 the machine is not ready (see `understudy doctor`), 130 interrupted.
    """  # noqa: D301 - click looks for the backspace that the escape stands for


def run_app(argv: Sequence[str]) -> int:
    """Run one command; the exit code."""
    arm_interrupt()
    forbid_core_dumps()  # a key may be in the environment
    wants_json = "--json" in argv
    try:
        code = app.main(list(argv), prog_name="understudy", standalone_mode=False)
    except click.ClickException as error:
        return _report(_usage(error), BAD_USAGE, wants_json=wants_json)
    except (click.Abort, KeyboardInterrupt):
        return _report("interrupted", INTERRUPTED, wants_json=wants_json)
    except BrokenPipeError:
        # Whoever read our output has what it wanted; nothing more can be said on stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:  # noqa: BLE001 - the last net: no traceback reaches the user
        message, code = _judge(error)
        return _report(message, code, wants_json=wants_json)
    return code if isinstance(code, int) else DONE


def _usage(error: click.ClickException) -> str:
    ctx = getattr(error, "ctx", None)
    hint = f"\ntry `{ctx.command_path} --help`" if isinstance(ctx, click.Context) else ""
    return error.format_message() + hint


def _judge(error: Exception) -> tuple[str, int]:
    """What to say of an error, and the exit code."""
    if names_of(error) & _TOLD:
        return str(error), _code_of(error)
    if isinstance(error, OSError) and error.filename:
        mend = "mend it, or name another folder (storage.*)"
        return f"{error.filename}: {error.strerror}; {mend}", NOT_READY
    if isinstance(error, OSError) and error.errno in _FULL:
        # A write names no file.
        mend = "free some space, or name other folders (storage.*)"
        return f"the disk is full ({error.strerror}); {mend}", NOT_READY
    return _defect(), TASK_FAILED


def names_of(error: Exception) -> set[str]:
    """The names of an error's classes, to tell it by without loading them."""
    return {kind.__name__ for kind in type(error).__mro__}


def _code_of(error: Exception) -> int:
    """The exit code for an error."""
    named = getattr(error, "exit_code_of_command", None)
    if named is not None:
        return int(named)
    names = names_of(error)
    if names & _BAD_USAGE:
        return BAD_USAGE
    return NOT_READY if names & _NOT_READY else TASK_FAILED


def _report(message: str, code: int, *, wants_json: bool) -> int:
    click.echo(printable(f"understudy: {message}"), err=True)
    if wants_json:
        click.echo(json.dumps({"error": message, "exit_code": code}))
    return code


def _defect() -> str:
    """Keep the traceback of a defect where a bug report can find it."""
    folder = state_dir(os.environ)
    path = folder / "defects.log"
    kind, value, _ = sys.exc_info()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"--- {dt.datetime.now(dt.UTC).isoformat()} {_version()}\n")
            file.write(traceback.format_exc())
    except OSError as error:
        return f"a defect of understudy: {kind.__name__ if kind else ''}: {value} ({error})"
    return f"a defect of understudy: {value!r}; please report it with {path}"
