"""`tree`, `restart`, `suspend`, `resume`: the actors of the running service, seen and steered."""

from __future__ import annotations

import click

from understudy.cli.common import config_options, json_option, print_json, read_config
from understudy.cli.service import need_service

_RESUMED = {"changed": "takes tasks again", "woken": "makes its container ready"}


@click.command()
@config_options
@json_option
def tree(config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Show the running service as a tree of supervisors and what they keep alive.

    \b
    For each supervisor: its rules, and how many restarts count at this moment.
    For each agent and service: state, incarnation, process, container, task,
    when it is started next, and why it fell last.

    \b
    Example: understudy tree --json | jq '.children[].restarts_in_window'
    """  # noqa: D301 - click looks for the backspace that the escape stands for
    with need_service(read_config(config_path, settings)) as client:
        answer = client.call("tree")
    if as_json:
        print_json(answer)
        return 0
    from understudy.tree_view import tree_lines  # noqa: PLC0415 - when it is needed

    for line in tree_lines(answer):
        click.echo(line)
    return 0


@click.command()
@click.argument("agent")
@config_options
@json_option
def restart(agent: str, config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """End AGENT in good order and start it again; also a service, such as gateway.

    A task that it works on waits again, at no cost to its attempts. The restart does not count in
    the supervisor's intensity, and waits for no backoff. An agent that failed for good is started
    as well.

    \b
    Example: understudy restart agent_000
    """  # noqa: D301 - click looks for the backspace that the escape stands for
    from understudy.restarts import await_restart, restart_limit_s  # noqa: PLC0415 - when needed

    config = read_config(config_path, settings)
    with need_service(config) as client:
        ended = client.call("restart", agent=agent)["incarnation"]
        limit_s = restart_limit_s(config.settings)
        number = await_restart(lambda: client.call("status"), agent, ended, limit_s)
    if as_json:
        print_json({"agent": agent, "incarnation": number, "ended": ended})
    else:
        click.echo(f"{agent} runs again, incarnation {number}")
    return 0


@click.command()
@click.argument("agent")
@click.option("--now", is_flag=True, help="End the turn under way; its task waits again.")
@config_options
@json_option
def suspend(
    agent: str, now: bool, config_path: str | None, settings: tuple[str, ...], as_json: bool
) -> int:
    """Give AGENT no more tasks until `understudy resume AGENT`.

    It finishes the task it has, unless --now is given. Its process and its container stay, so that
    it goes on at once. It stays suspended over restarts of the agent, not over one of the service.

    \b
    Example: understudy suspend agent_000 --now
    """  # noqa: D301 - click looks for the backspace that the escape stands for
    with need_service(read_config(config_path, settings)) as client:
        answer = client.call("suspend", agent=agent, now=now)
    if as_json:
        print_json(answer)
        return 0
    task = answer["current_task"]
    what = "ends its turn of" if now else "finishes"
    rest = f"; it {what} task {task}" if task else ""
    click.echo(f"{agent} {'is' if answer['changed'] else 'was already'} suspended{rest}")
    return 0


@click.command()
@click.argument("agent")
@config_options
@json_option
def resume(agent: str, config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Give AGENT tasks again; one that is parked makes its container ready.

    \b
    Example: understudy resume agent_000
    """  # noqa: D301 - click looks for the backspace that the escape stands for
    with need_service(read_config(config_path, settings)) as client:
        answer = client.call("resume", agent=agent)
    if as_json:
        print_json(answer)
    else:
        did = [text for key, text in _RESUMED.items() if answer[key]]
        click.echo(f"{agent} {' and '.join(did) or 'was not suspended'}")
    return 0
