"""`plan`: what a configuration makes, and what it can do at worst."""

from __future__ import annotations

import click

from understudy.cli.common import json_option, print_json, read_config


@click.command()
@click.argument("config_path", metavar="[CONFIG]", required=False, type=click.Path(dir_okay=False))
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="A setting, stronger than file and environment; may be repeated.",
)
@json_option
def plan(config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Show the supervision tree that CONFIG makes, and what it can do at worst.

    \b
    CONFIG is a YAML file; without it, the one that the other commands use.
    Shown are the tree with its rules, how soon each supervisor gives up and
    when it never does, what bounds the spending, and what is probably not meant.
    Nothing is started: it needs neither podman nor a key.

    \b
    Example: understudy plan fleet.yaml --set supervision.intensity=10
    """  # noqa: D301 - click looks for the backspace that the escape stands for
    from understudy.actors.fleet_plan import plan_of  # noqa: PLC0415 - when it is needed

    found = plan_of(read_config(config_path, settings).settings)
    if as_json:
        print_json(found)
        return 0
    from understudy.plan_view import plan_lines  # noqa: PLC0415 - when it is needed

    for line in plan_lines(found):
        click.echo(line)
    return 0
