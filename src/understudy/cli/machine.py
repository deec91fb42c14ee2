"""`doctor`, `image build`, `fake-api`: what the machine needs, and what stands in for the model."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from understudy.actors.errors import MachineNotReady
from understudy.cli.common import config_options, json_option, print_json, read_config

if TYPE_CHECKING:
    from understudy.actors.podman import Check, ImageInfo
    from understudy.actors.settings import Settings

_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@click.command()
@click.option("--fix", is_flag=True, help="Install what is missing and build the agent image.")
@click.option("--quiet", is_flag=True, help="Show only what is not as it should be.")
@config_options
@json_option
def doctor(
    fix: bool, quiet: bool, config_path: str | None, settings: tuple[str, ...], as_json: bool
) -> int:
    """Check this machine, and say how to mend what is missing."""
    from understudy.actors.gateway import find_credentials  # noqa: PLC0415 - when it is needed

    config = read_config(config_path, settings).settings
    checks = _examine(config)
    if fix and (packages := _missing(checks)):
        install(packages)
        checks = _examine(config)
    if fix and not _is_ready(checks) and config.agent.image is None:
        _build_image(config, config.agent.cli_version, force=False)
        checks = _examine(config)
    has_key = find_credentials(os.environ) is not None
    ready = _is_ready(checks)
    if as_json:
        rows = [check.to_dict() for check in checks]
        print_json({"ready": ready, "api_key": has_key, "checks": rows})
        return 0 if ready else 3
    shown = [check for check in checks if not quiet or check.status == "fail"]
    for check in shown:
        click.echo(f"{_MARKS[check.status]}  {check.name}: {check.detail}")
        if check.mend and check.status != "ok":
            click.echo(f"      mend: {check.mend}")
    if not quiet:
        mend = "none; set ANTHROPIC_API_KEY, or use --fake (the scripted model)"
        click.echo(f"{'ok  ' if has_key else 'warn'}  API key: {'found' if has_key else mend}")
        click.echo("ready" if ready else "not ready: see the lines marked FAIL")
    return 0 if ready else 3


def _examine(config: Settings) -> list[Check]:
    from understudy.actors.podman import image_tag, run_checks  # noqa: PLC0415 - when it is needed
    from understudy.orchestrator import base_of  # noqa: PLC0415 - likewise

    image = config.agent.image or image_tag(config.agent.cli_version)
    return run_checks(
        base_of(config, os.environ).cache_dir,
        os.environ,
        image=image,
        missing_limits=config.agent.allow_missing_limits,
    )


def _is_ready(checks: list[Check]) -> bool:
    return all(check.status != "fail" for check in checks)


def _build_image(config: Settings, cli_version: str, *, force: bool) -> ImageInfo:
    from understudy.actors.podman import ensure_image  # noqa: PLC0415 - when it is needed
    from understudy.orchestrator import base_of  # noqa: PLC0415 - likewise

    return ensure_image(
        cli_version,
        base_of(config, os.environ).cache_dir,
        env=os.environ,
        progress=lambda text: click.echo(text, err=True),
        force=force,
    )


def _missing(checks: list[Check]) -> list[str]:
    names = [name for check in checks if check.status != "ok" for name in check.packages]
    return list(dict.fromkeys(names))


def install(packages: list[str]) -> None:
    """Install system packages, after saying which and how.

    Raises:
        MachineNotReady: no right, no package manager, or it failed.
    """
    from understudy.actors.gateway import scrub  # noqa: PLC0415 - when it is needed
    from understudy.actors.podman import install_commands  # noqa: PLC0415 - likewise

    for command in install_commands(packages):
        line = " ".join(command)
        click.echo(f"installing: {line}", err=True)
        done = subprocess.run(
            command,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=900,
            env={**scrub(os.environ), "DEBIAN_FRONTEND": "noninteractive"},
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise MachineNotReady(f"`{line}` failed: {last}", f"run it yourself: {line}")


@click.group()
def image() -> None:
    """The image that agents run in."""


@image.command()
@click.option("--version", "cli_version", help="Claude Code's version. Default: agent.cli_version.")
@click.option("--force", is_flag=True, help="Build it even when it is up to date.")
@config_options
@json_option
def build(
    cli_version: str | None,
    force: bool,
    config_path: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """Build the agent image with a pinned Claude Code; does nothing when it is up to date."""
    config = read_config(config_path, settings).settings
    info = _build_image(config, cli_version or config.agent.cli_version, force=force)
    if as_json:
        print_json({
            "image": info.tag, "cli_version": info.cli_version,
            "built": info.built, "size_bytes": info.size_bytes,
        })  # fmt: skip
    else:
        what = "built" if info.built else "up to date"
        click.echo(f"{info.tag} {what}, {info.size_bytes / 1e6:.0f} MB")
    return 0


@click.command("fake-api")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port; 0 picks one.")
@click.option("--unix", type=click.Path(dir_okay=False), help="Unix socket to listen on.")
@click.option("--scenarios", type=click.Path(dir_okay=False), help="JSON file of named scripts.")
@click.option("--require-key", help="Answer 401 to any other key.")
@click.option("--log", type=click.Path(dir_okay=False), help="Append a JSON line per request.")
def fake_api(
    host: str,
    port: int | None,
    unix: str | None,
    scenarios: str | None,
    require_key: str | None,
    log: str | None,
) -> int:
    """Serve a scripted model in place of the real API."""
    from understudy.fakeapi import run_server  # noqa: PLC0415 - aiohttp, when it is needed

    if port is None and unix is None:
        port = 8801
    run_server(
        host=host,
        port=port,
        unix=Path(unix) if unix else None,
        scenarios=Path(scenarios) if scenarios else None,
        require_key=require_key,
        log=Path(log) if log else None,
        announce=lambda where: click.echo(f"listening on {where}", err=True),
    )
    return 0
