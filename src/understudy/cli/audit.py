"""`audit`: an agent's container as the kernel has it, beside what was promised of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from understudy.actors.errors import AgentError
from understudy.actors.printable import printable
from understudy.cli.common import config_options, json_option, print_json, read_config
from understudy.cli.service import need_service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from understudy.actors.podman.audit import Finding
    from understudy.actors.settings import Settings

# The agent's process, its fork server, the service.
_TO_THE_SERVICE = 3


class NoContainer(AgentError):
    """The agent is not known, or has no container now."""

    exit_code_of_command = 3

    def __init__(self, agent: str, reason: str) -> None:
        super().__init__(agent, reason)
        self.agent = agent
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.agent}: {self.reason}"


@click.command()
@click.argument("agent")
@config_options
@json_option
def audit(agent: str, config_path: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Compare an agent's running container with what is promised of it.

    \b
    Exit codes: 0 nothing differs, 1 something does, 3 it cannot be looked at.
    """  # noqa: D301 - click looks for the backspace that the escape stands for
    from understudy.actors.podman import podman_env  # noqa: PLC0415 - when it is needed
    from understudy.actors.podman.audit import exit_code  # noqa: PLC0415 - likewise
    from understudy.actors.podman.auditor import audit_container  # noqa: PLC0415 - likewise
    from understudy.orchestrator import base_of  # noqa: PLC0415 - likewise

    config = read_config(config_path, settings)
    with need_service(config) as client:
        agents = client.call("status")["agents"]
    container = container_of(agents, agent)
    env = podman_env(base_of(config.settings, os.environ).cache_dir, os.environ)
    secrets = known_secrets(config.settings, environments_above(agents[agent]["pid"]))
    findings = audit_container(container, env=env, secrets=secrets)
    code = exit_code(findings)
    reached: dict[str, dict[str, int]] = agents[agent]["egress"]
    if as_json:
        print_json({
            "agent": agent, "container": container, "exit_code": code,
            "lines": [finding.to_dict() for finding in findings], "egress": reached,
        })  # fmt: skip
    else:
        _show(container, findings)
        _show_reached(reached)
    return code


def container_of(agents: Mapping[str, Mapping[str, Any]], agent: str) -> str:
    """The name of the agent's container.

    Raises:
        NoContainer: there is none.
    """
    if agent not in agents:
        known = ", ".join(sorted(agents)) or "none"
        raise NoContainer(agent, f"the service has no such agent; it has: {known}")
    container = agents[agent].get("container")
    state = agents[agent].get("state", "in an unknown state")
    if state in ("parking", "parked"):
        wake = f"wake it with `understudy resume {agent}`, or give it a task"
        raise NoContainer(agent, f"it is parked: idle, and nothing runs in a container; {wake}")
    if not container:
        raise NoContainer(agent, f"it has no container now (it is {state}); try again later")
    return str(container)


def known_secrets(settings: Settings, environments: list[dict[str, str]]) -> list[str] | None:
    """The keys that the service may have: found where it finds its own, and never shown.

    Args:
        settings: name the file or the command that gives the key.
        environments: of the service and what started it.

    Returns:
        None when the service's own environment could not be read.
    """
    from understudy.actors.gateway import SECRET_VARIABLES  # noqa: PLC0415 - when it is needed
    from understudy.actors.gateway.credential_source import (  # noqa: PLC0415 - likewise
        read_credentials,
    )

    gateway = settings.gateway
    found = read_credentials(gateway.credential_file, gateway.credential_command)
    values = {found.value} if found else set[str]()
    for environment in (dict(os.environ), *environments):
        for name in SECRET_VARIABLES:
            # Custom headers are lines of "name: value"; a key has no colon followed by a space.
            lines = environment.get(name, "").splitlines()
            values |= {line.rpartition(": ")[2].strip() for line in lines}
    values.discard("")
    return sorted(values) if values or len(environments) >= _TO_THE_SERVICE else None


def environments_above(pid: int | None) -> list[dict[str, str]]:
    """The environments that a process and its ancestors were started with, as far as readable."""
    import psutil  # noqa: PLC0415 - for this command alone

    found: list[dict[str, str]] = []
    try:
        process = psutil.Process(pid) if pid else None
        while process is not None and process.pid > 1:
            found.append(process.environ())
            process = process.parent()
    except psutil.Error:
        pass  # another user's: not where this service was started
    return found


def _show(container: str, findings: list[Finding]) -> None:
    click.echo(f"container {container}")
    for finding in findings:
        mark = {"ok": "ok     ", "unknown": "unknown", "DIFFERS": "DIFFERS"}[finding.verdict]
        click.echo(f"{mark}  {finding.what}: {finding.promised}")
        if finding.verdict != "ok":
            click.echo(printable(f"         found: {finding.found}"))
    differing = sum(finding.verdict == "DIFFERS" for finding in findings)
    unknown = sum(finding.verdict == "unknown" for finding in findings)
    click.echo(f"{len(findings)} lines, {differing} differ, {unknown} unknown")


def _show_reached(hosts: Mapping[str, Mapping[str, int]]) -> None:
    """What the agent has reached beside the API, and was refused, since the service started."""
    for host, sums in sorted(hosts.items()):
        text = (
            f"egress   {host}: {sums['connections']} connections, {sums['refused']} of them refused"
            f" or cut, {sums['sent_bytes']} bytes out, {sums['received_bytes']} in"
        )
        click.echo(printable(text))
