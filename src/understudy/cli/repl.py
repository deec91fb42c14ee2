"""`repl`: the fleet at a prompt, with history and completion."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from understudy.actors.errors import AgentError
from understudy.actors.printable import all_visible, printable
from understudy.actors.team.shown_call import call_text
from understudy.cli.common import chosen_file, config_options, overrides_of
from understudy.cli.interrupt import arm_interrupt, hurry_by
from understudy.transport.errors import TransportError
from understudy.tree_view import tree_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.actors.handle import TaskHandle
    from understudy.actors.tasks.task import TaskResult
    from understudy.orchestrator import Orchestrator

# How soon a call that needs a yes is seen.
_LOOK_S = 0.2

_HELP = """\
status                      agents and queue
tree                        supervisors and what they keep alive
restart AGENT               end it in good order and start it again
suspend AGENT [now]         give it no more tasks; with now, end its turn
resume AGENT                give it tasks again; wakes one that is parked
approve TASK, deny TASK     answer the call that the task asks for; --call ID after TASK: that one
answer TASK TEXT            refuse it, and tell the agent what to do instead
task TYPE DESCRIPTION       run a task; files of the current folder follow as @FILE words;
                            calls that need a yes are asked here
result ID                   the result of a task
quit                        end the fleet and leave (also Ctrl-D)"""


@click.command()
@click.option("--agents", type=int, help="How many agents. Default: orchestrator.num_agents.")
@click.option(
    "--fake", is_flag=True, default=None, help="Use the scripted model: no key, no network."
)
@config_options
def repl(
    agents: int | None, fake: bool | None, config_path: str | None, settings: tuple[str, ...]
) -> int:
    """Start a fleet and take commands at a prompt.

    Commands: status, tree, task TYPE DESCRIPTION, result ID, restart AGENT, suspend AGENT,
    resume AGENT, quit.
    """
    from prompt_toolkit import PromptSession  # noqa: PLC0415 - for this command alone
    from prompt_toolkit.completion import NestedCompleter  # noqa: PLC0415 - likewise
    from prompt_toolkit.history import FileHistory  # noqa: PLC0415 - likewise

    from understudy.actors.fleet_specs import agent_ids  # noqa: PLC0415 - likewise
    from understudy.actors.tasks.types import TASK_TYPES  # noqa: PLC0415 - likewise
    from understudy.orchestrator import Orchestrator, base_of  # noqa: PLC0415 - likewise

    flags = {"orchestrator__num_agents": agents, "gateway__scripted_model": fake or None}
    orchestrator = Orchestrator(chosen_file(config_path), overrides=overrides_of(settings, flags))
    folder = base_of(orchestrator.config.settings, os.environ).state_dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ids = dict.fromkeys(agent_ids(orchestrator.config.settings))
    words = {"status": None, "tree": None, "task": dict.fromkeys(TASK_TYPES), "result": None}
    words |= {"restart": ids, "suspend": ids, "resume": ids, "help": None}
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(folder / "repl_history")),
        completer=NestedCompleter.from_nested_dict({**words, "quit": None}),
    )
    hurry_by(orchestrator.hurry)
    with orchestrator:
        click.echo("Commands: status, task TYPE DESCRIPTION, result ID, tree, help, quit")
        while True:
            try:
                line = session.prompt("> ").strip()
            except (EOFError, KeyboardInterrupt):
                return 0
            if line == "quit":
                return 0
            _obey(orchestrator, line, session.prompt)


def _obey(orchestrator: Orchestrator, line: str, ask: Callable[[str], str]) -> None:
    verb, _, rest = line.partition(" ")
    try:
        match verb:
            case "":
                return
            case "status":
                click.echo(json.dumps(orchestrator.get_agent_status(), indent=2))
            case "task":
                _run_task(orchestrator, rest, ask)
            case "result":
                result = orchestrator.get_task_result(rest.strip())
                text = json.dumps(result.to_wire(), indent=2) if result else "no such result"
                click.echo(text)
            case "tree":
                click.echo("\n".join(tree_lines(orchestrator.tree())))
            case "restart" | "suspend" | "resume":
                _steer(orchestrator, verb, rest.split())
            case "approve" | "deny" | "answer":
                settle(orchestrator, verb, rest)
            case "help":
                click.echo(_HELP)
            case _:
                click.echo(f"unknown command {verb!r}\n{_HELP}")
    except (AgentError, TransportError) as error:
        click.echo(printable(f"error: {error}"))


def _steer(orchestrator: Orchestrator, verb: str, words: list[str]) -> None:
    match verb, words:
        case "restart", [name]:
            number = orchestrator.restart_agent(name)
            click.echo(f"{name} runs again, incarnation {number}")
        case "suspend", [name] | [name, "now"]:
            orchestrator.suspend_agent(name, now=len(words) > 1)
            click.echo(f"{name} is suspended")
        case "resume", [name]:
            orchestrator.resume_agent(name)
            click.echo(f"{name} takes tasks again")
        case _:
            click.echo(f"usage: {verb} AGENT{' [now]' if verb == 'suspend' else ''}")


def settle(orchestrator: Orchestrator, verb: str, rest: str) -> None:
    """Do what `approve`, `deny` or `answer` with these words says."""
    task_id, _, text = rest.strip().partition(" ")
    call = None
    if text.startswith("--call "):
        call, _, text = text.removeprefix("--call ").strip().partition(" ")
    if not task_id or (verb == "answer") is not bool(text):
        click.echo(f"usage: {verb} TASK [--call ID]{' TEXT' if verb == 'answer' else ''}")
        return
    allow = verb == "approve"
    done = orchestrator.settle_call(task_id, allow=allow, text=text or None, call=call)
    if done is None:
        click.echo(f"{task_id} does not ask for that")
    else:
        click.echo(f"{task_id} goes on; {'allowed' if allow else 'refused'}: {call_text(done)}")


def _see_through(
    orchestrator: Orchestrator, handle: TaskHandle, ask: Callable[[str], str]
) -> TaskResult:
    """Wait for the result; calls that need somebody's yes meanwhile are asked here."""
    while True:
        try:
            return handle.wait(_LOOK_S)
        except TimeoutError:
            for asked in orchestrator.status()["input_required"]:
                ask_about(orchestrator, asked, ask)


def ask_about(orchestrator: Orchestrator, asked: dict[str, str], ask: Callable[[str], str]) -> None:
    """Have one call answered; whatever the task asks for meanwhile, no other is."""
    click.echo(f"{asked['agent_id']} asks: {call_text(asked, see_all='say all to see them')}")
    said = _answer_to(ask)
    if said.lower() == "all":
        click.echo(all_visible(asked["input"]))
        said = _answer_to(ask)
    task_id, call = asked["task_id"], asked["request_id"]
    if said.lower() in ("y", "yes"):
        done = orchestrator.approve(task_id, call=call)
    elif said.lower() in ("", "n", "no"):
        done = orchestrator.deny(task_id, call=call)
    else:
        done = orchestrator.answer(task_id, said, call=call)
    if not done:
        click.echo("too late: it was denied, or its task is over")


def _answer_to(ask: Callable[[str], str]) -> str:
    try:
        return ask("allow it? y, n, or what to do instead: ").strip()
    except EOFError:
        return ""


def _run_task(orchestrator: Orchestrator, rest: str, ask: Callable[[str], str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - rich is loaded when something is shown

    from understudy.actors.tasks.task import Task  # noqa: PLC0415 - likewise
    from understudy.views import print_outcome  # noqa: PLC0415 - likewise

    task_type, _, description = rest.strip().partition(" ")
    if not task_type or not description:
        click.echo("usage: task TYPE DESCRIPTION [@FILE ...]")
        return
    words = (word.removeprefix("@") for word in description.split() if word.startswith("@"))
    names = [word for word in words if word and not word.startswith("@")]
    task = Task(
        task_type=task_type,
        description=description,
        files=names,
        timeout=orchestrator.config.settings.orchestrator.task_timeout,
    )
    handle = orchestrator.submit(task)
    try:
        result = _see_through(orchestrator, handle, ask)
    except KeyboardInterrupt:
        arm_interrupt()  # for the next one
        handle.cancel()
        click.echo("canceling; its result comes with `result ID`")
        return
    print_outcome(Console(emoji=False), result)
    click.echo(f"Task {result.task_id}: {result.status}")
