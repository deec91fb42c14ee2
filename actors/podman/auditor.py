"""`understudy audit`: a running container, looked at and compared with its promise."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AgentError, PodmanError
from .argv import SECCOMP_PROFILE
from .audit import MASKED, READ_ONLY, Finding, compare, sockets_finding
from .canary import MIN_SECRET_CHARS, Search
from .command import run_podman
from .egress_probe import egress_command, egress_finding
from .facts import collect
from .probe import PROBES, probe_command, probe_finding
from .promise import PROMISE_LABEL, Promise

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

    from .facts import Facts

_PODMAN_S = 30.0
_PROBE_S = 10.0


class NotAuditable(AgentError):
    """The container cannot be looked at.

    Attributes:
        container: its name.
        reason: why not.
    """

    exit_code_of_command = 3

    def __init__(self, container: str, reason: str) -> None:
        super().__init__(container, reason)
        self.container = container
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.container} cannot be looked at: {self.reason}"


def audit_container(
    name: str, *, env: Mapping[str, str], secrets: Sequence[str] | None
) -> list[Finding]:
    """Every line of the audit; about a second. Any thread.

    Args:
        name: of a running container of a fleet of this user.
        env: environment of podman, see `podman_env`.
        secrets: values that must be nowhere in it; too short ones are left out. None when they are
            not known.

    Raises:
        NotAuditable: it does not run, is not a fleet's, or may not be looked at.
    """
    try:
        inspected = run_podman("container", "inspect", name, timeout_s=_PODMAN_S, env=env).stdout
        about: dict[str, Any] = json.loads(inspected)[0]
        promise = _promise(name, about)
        facts = collect(_pid(name, about), promise, (*MASKED, *READ_ONLY))
        search = _search(facts, inspected, secrets or ())
        return [
            *compare(promise, facts, _image_env(about, env)),
            _probe(name, env),
            _egress(name, promise, env),
            sockets_finding(promise, search.sockets, _bound_sockets()),
            search.finding(known=secrets is not None),
        ]
    except PodmanError as error:
        raise NotAuditable(name, _last_line(error)) from error
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename}); it ended, or is not yours"
        raise NotAuditable(name, reason) from error


def _promise(name: str, about: Mapping[str, Any]) -> Promise:
    labels: dict[str, str] = about["Config"].get("Labels") or {}
    label = labels.get(PROMISE_LABEL)
    if label is None:
        raise NotAuditable(name, "it carries no promise; an older understudy made it, or another")
    try:
        return Promise.from_label(label)
    except ValueError as error:
        raise NotAuditable(name, f"its promise cannot be read: {error}") from error


def _pid(name: str, about: Mapping[str, Any]) -> int:
    pid = int(about["State"].get("Pid") or 0)
    if pid <= 0:
        raise NotAuditable(name, "it does not run")
    return pid


def _image_env(about: Mapping[str, Any], env: Mapping[str, str]) -> list[str]:
    shown = run_podman(
        *("image", "inspect", "--format={{json .Config.Env}}", str(about["Image"])),
        timeout_s=_PODMAN_S,
        env=env,
    )
    pairs: list[str] = json.loads(shown.stdout) or []
    return [pair.partition("=")[0] for pair in pairs]


def _search(facts: Facts, inspected: str, secrets: Sequence[str]) -> Search:
    values = {secret.encode() for secret in secrets if len(secret) >= MIN_SECRET_CHARS}
    search = Search(sorted(values))
    search.look_at("podman inspect", inspected.encode())
    for fact in facts.environments:
        for name, value in fact.values.items():
            search.look_at(f"{name} of {fact.process}", os.fsencode(value))
    for process in facts.processes:
        try:
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        search.look_at(f"arguments of {process.name} ({process.pid})", words)
    search.look_below(f"/proc/{facts.processes[0].pid}/root")
    return search


def _probe(name: str, env: Mapping[str, str]) -> Finding:
    what, promised = "system calls", "filtered by understudy's own list"
    command = probe_command(os.uname().machine)
    if command is None:
        return Finding(what, promised, f"{os.uname().machine} is not known here", "unknown")
    done = _exec(name, command, env)
    try:
        errnos: list[int] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        return Finding(what, promised, f"python3 in the container: {last}", "unknown")
    if len(errnos) != len(PROBES):
        return Finding(what, promised, "an answer of another length", "unknown")
    profile: dict[str, Any] = json.loads(SECCOMP_PROFILE.read_text(encoding="utf-8"))
    return probe_finding(profile, errnos)


def _egress(name: str, promise: Promise, env: Mapping[str, str]) -> Finding:
    said = _exec(name, egress_command(), env).stdout if promise.egress_hosts else ""
    return egress_finding(promise, said)


def _exec(
    name: str, command: Sequence[str], env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    # A client that dies would leave the program running: it is bounded inside.
    bounded = ("timeout", "-k", "1", f"{_PROBE_S:g}", *command)
    return run_podman(*("exec", name, *bounded), timeout_s=_PODMAN_S, env=env, check=False)


def _bound_sockets() -> set[str]:
    """The paths of the sockets that are bound outside of the container, as far as we see them."""
    lines = Path("/proc/self/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()
    fields = (line.split(maxsplit=7) for line in lines[1:])
    return {words[7] for words in fields if len(words) > 7}  # noqa: PLR2004 - the eighth is the path


def _last_line(error: PodmanError) -> str:
    return (error.stderr.strip().splitlines() or [str(error)])[-1]
