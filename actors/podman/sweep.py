"""Removing what dead runs left: containers, and the wreckage that podman itself does not show."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PodmanError
from .clients import await_clients, labels_of, made_name, serves_dead_owner
from .command import run_podman
from .names import RUN_LABEL, is_run_id, owner_lives, parse_name
from .removal import container_exists, remove_containers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_log = logging.getLogger(__name__)
_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_TIMEOUT_S = 30.0
_LIST_ATTEMPTS = 20
_LIST_PAUSE_S = 0.1


def sweep(env: Mapping[str, str], is_alive: Callable[[str], bool]) -> list[str]:
    """Remove the containers of dead runs; the ids of those runs.

    A run is dead when `is_alive(run_id)` says so and the process that owns the container is gone.
    Only containers with our label or a name of our making are touched. Any thread; about 0.1 s when
    there is nothing to do.

    Raises:
        PodmanError: podman cannot be run, or could not remove one.
    """
    await_clients(lambda argv: serves_dead_owner(argv) and _is_of_dead_run(argv, is_alive))
    swept: set[str] = set()
    for found in _records(env):
        if not found.is_owned() and not is_alive(found.run_id):
            _log.info("removing %s of dead run %s", found.name, found.run_id)
            remove_containers([found.container_id], env)
            swept.add(found.run_id)
    for lost in _lost_conmons(env):
        if not is_alive(lost.run_id):
            _log.info("removing %s of dead run %s, unknown to podman", lost.name, lost.run_id)
            _remove_lost(lost)
            swept.add(lost.run_id)
    return sorted(swept)


def remove_left(name: str, env: Mapping[str, str]) -> None:
    """Remove a dead owner's container of that name, also one that is only being made.

    Raises:
        PodmanError: podman failed, and it is still there.
    """
    _remove_named(lambda found: found == name, [name], env)


def remove_predecessors(
    run_id: str, agent_id: str, incarnation: int, env: Mapping[str, str]
) -> None:
    """Remove the containers of that agent's incarnations before this one, likewise.

    Raises:
        PodmanError: podman failed.
    """

    def is_left(name: str) -> bool:
        parts = parse_name(name)
        return (
            parts is not None
            and (parts.run_id, parts.agent_id) == (run_id, agent_id)
            and parts.incarnation < incarnation
        )

    await_clients(lambda argv: is_left(made_name(argv)))
    _remove_named(is_left, [found.name for found in _records(env) if is_left(found.name)], env)


def _remove_named(is_left: Callable[[str], bool], names: list[str], env: Mapping[str, str]) -> None:
    await_clients(lambda argv: is_left(made_name(argv)))
    remove_containers(names, env)
    for lost in _lost_conmons(env, is_left):
        _log.warning("ending %s, unknown to podman", lost.name)
        _remove_lost(lost)


def _is_of_dead_run(argv: list[bytes], is_alive: Callable[[str], bool]) -> bool:
    run_id = labels_of(argv).get(RUN_LABEL, "")
    return is_run_id(run_id) and not is_alive(run_id)


@dataclass(frozen=True)
class _Record:
    container_id: str
    name: str
    run_id: str
    labels: Mapping[str, str]

    def is_owned(self) -> bool:
        """Whether its owner, or for a half-made one the client that makes it, still runs."""
        return owner_lives(self.labels) or (not self.labels and _is_being_made(self.name))


def _records(env: Mapping[str, str]) -> list[_Record]:
    # A client that was killed while it created a container leaves a "Storage" record, without
    # labels, which only --external shows.
    records: list[_Record] = []
    for row in _list_all(env):
        name = str((row.get("Names") or [""])[0])
        labels: dict[str, str] = row.get("Labels") or {}
        parts = parse_name(name)
        run_id = labels.get(RUN_LABEL) or (parts.run_id if parts else "")
        if is_run_id(run_id):
            records.append(_Record(str(row["Id"]), name, run_id, labels))
    return records


def _list_all(env: Mapping[str, str]) -> list[dict[str, Any]]:
    # `podman ps --external` 4.3 fails as a whole when one container goes away while it lists them.
    args = ("ps", "--all", "--external", "--no-trunc", "--format=json")
    attempts_left = _LIST_ATTEMPTS
    while True:
        try:
            return list(json.loads(run_podman(*args, timeout_s=_TIMEOUT_S, env=env).stdout or "[]"))
        except PodmanError as error:
            attempts_left -= 1
            if error.kind != "no_such_container" or not attempts_left:
                raise
        time.sleep(_LIST_PAUSE_S)


def _is_being_made(name: str) -> bool:
    wanted = f"--name={name}".encode()
    return any(wanted in argv and b"run" in argv for _, argv in _processes("podman"))


@dataclass(frozen=True)
class _Conmon:
    pid: int
    container_id: str
    name: str
    run_id: str
    runtime: str


def _lost_conmons(
    env: Mapping[str, str], is_it: Callable[[str], bool] = lambda _: True
) -> list[_Conmon]:
    """The monitors of containers of such names that podman has no record of."""
    lost: list[_Conmon] = []
    for pid, argv in _processes("conmon"):
        words = [word.decode(errors="replace") for word in argv]
        pairs = list(itertools.pairwise(words))
        options = dict(reversed(pairs))
        name, container_id = options.get("-n", ""), options.get("-c", "")
        parts = parse_name(name)
        if parts is None or not container_id or not is_it(name):
            continue
        if _is_unknown(container_id, env, _store_options(pairs)):
            runtime = options.get("-r", "runc")
            lost.append(_Conmon(pid, container_id, name, parts.run_id, runtime))
    return lost


def _is_unknown(container_id: str, env: Mapping[str, str], store: Sequence[str]) -> bool:
    try:
        return not container_exists(container_id, env, options=store)
    except PodmanError as error:  # somebody else's store, of which we can tell nothing
        _log.warning("container %s is left alone: %s", container_id, error)
        return False


def _store_options(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Podman's options for the store that a conmon works for, which need not be the usual one.

    They stand in the command that conmon runs at the end: podman OPTIONS container cleanup ID.
    """
    words = [value for option, value in pairs if option == "--exit-command-arg"]
    return list(itertools.takewhile(lambda word: word != "container", words))


def _remove_lost(lost: _Conmon) -> None:
    # Each step on its own: the runtime may have no state of it, the monitor may just end.
    done = subprocess.run(
        [lost.runtime, "delete", "--force", lost.container_id],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if done.returncode:
        _log.debug("%s delete %s: %s", lost.runtime, lost.container_id, done.stderr.strip())
    _kill(lost.pid, lost.container_id)
    for group in _CGROUPS.glob(f"**/libpod_parent/libpod-*{lost.container_id}"):
        with contextlib.suppress(OSError):  # not empty yet: the kernel's, not ours
            group.rmdir()


def _kill(pid: int, container_id: str) -> None:
    """Kill the monitor of that container, and nothing that has got its number since."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            if container_id.encode() in _argv(pid):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)


def _processes(program: str) -> Iterator[tuple[int, list[bytes]]]:
    """Those of this user: root's podman in another's store would take it away from its owner."""
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            argv = _argv(int(entry.name))
            is_it = bool(argv) and os.path.basename(argv[0]) == program.encode()  # noqa: PTH119 - bytes
            if is_it and _user_of(int(entry.name)) == os.geteuid():
                yield int(entry.name), argv


def _user_of(pid: int) -> int | None:
    # The folder's owner is root for a process that may not be traced.
    try:
        status = (_PROC / str(pid) / "status").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = re.search(rb"^Uid:\t\d+\t(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else None


def _argv(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
