"""`config show`: each setting, its value, and where it came from."""

from __future__ import annotations

import click

from understudy.cli.common import config_options, json_option, print_json, read_config


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@config_options
@json_option
def show(config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Show every setting, its value and where it came from."""
    rows = list(read_config(config_path, settings).rows())
    if as_json:
        print_json({row.name: {"value": row.value, "origin": row.origin} for row in rows})
        return 0
    width = max(len(row.name) for row in rows)
    values = ["null" if row.value is None else str(row.value) for row in rows]
    value_width = max(len(value) for value in values)
    for row, value in zip(rows, values, strict=True):
        click.echo(f"{row.name:<{width}}  {value:<{value_width}}  {row.origin}")
    return 0
