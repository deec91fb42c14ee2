"""What a container is promised to be: written once, for the command that makes it and the audit.

The promise travels with the container as a label. Labels are set by whoever makes the container and
cannot be changed from inside, so an audit in another process compares with what was meant, not with
what podman says it did.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..egress.container import EGRESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .argv import ContainerSpec
    from .machine import Machine

PROMISE_LABEL = "understudy.promise"
CONTAINER_UID = 1000
CONTAINER_GID = 1000
HOME = "/home/agent"
WORK = "/work"
SOCKETS = "/run/agent"
API_SOCKET_NAME = "api.sock"
TMP_BYTES = 256 << 20
SHM_BYTES = 16 << 20
_NOFILE = 4096
# RLIMIT_NPROC counts all processes of the user on the machine, so it stands above the sum of what a
# whole fleet runs; each container's own bound is --pids-limit.
_NPROC = 16384
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
# As go-units' RAMInBytes reads it: "2g", "2GB" and "2GiB" are the same.
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)(?:i?b)?")
_VERSION = 2


@dataclass(frozen=True)
class Mount:
    """A folder of the machine that a container sees.

    Attributes:
        source: its absolute path on the machine.
        target: its place in the container.
        options: mount options beside "rw"; "ro" is among them when it cannot be written to.
    """

    source: str
    target: str
    options: tuple[str, ...]

    @property
    def writable(self) -> bool:
        """Whether what is in it can be changed."""
        return "ro" not in self.options


@dataclass(frozen=True)
class Promise:
    """All that differs from container to container. What is the same for all stands in the audit.

    Attributes:
        mounts: the folders of the machine.
        uid: the container's user, as the machine's kernel counts.
        gid: its only group, likewise.
        memory_bytes: most memory; there is no swap beside it.
        cpus: most CPU seconds in a second.
        pids: most processes and threads.
        nofile: most open files of a process.
        nproc: RLIMIT_NPROC.
        env_names: variables of the program, beside those that the image and podman bring.
        command_hash: see `command_hash`.
        egress_hosts: what can be reached beside the Messages API.
        missing_limits: names of `LIMIT_NAMES` that lack on this machine, as was allowed.
    """

    mounts: tuple[Mount, ...]
    uid: int
    gid: int
    memory_bytes: int
    cpus: float
    pids: int
    nofile: int
    nproc: int
    env_names: tuple[str, ...]
    command_hash: str
    missing_limits: tuple[str, ...] = ()
    egress_hosts: tuple[str, ...] = ()

    def to_label(self) -> str:
        """As the value of `PROMISE_LABEL`."""
        return json.dumps({"version": _VERSION, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def from_label(cls, text: str) -> Promise:
        """What `to_label` gave.

        Raises:
            ValueError: it is of another version, or damaged.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            if data.pop("version") != _VERSION:
                raise ValueError("of another version of understudy")
            mounts = [Mount(m["source"], m["target"], tuple(m["options"])) for m in data["mounts"]]
            for name in ("env_names", "missing_limits", "egress_hosts"):
                data[name] = tuple(data[name])
            data["mounts"] = tuple(mounts)
            return cls(**data)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a promise: {error!r}") from error


def promise_of(spec: ContainerSpec, machine: Machine) -> Promise:
    """What a container made from that spec on that machine is promised to be."""
    nofile, nproc = _NOFILE, _NPROC
    if not machine.may_raise_limits:
        nofile, nproc = min(nofile, machine.hard_nofile), min(nproc, machine.hard_nproc)
    return Promise(
        mounts=_mounts(spec),
        # Rootless, the container's user is the caller.
        uid=os.geteuid() if machine.rootless else CONTAINER_UID,
        gid=os.getegid() if machine.rootless else CONTAINER_GID,
        memory_bytes=size_bytes(spec.memory),
        cpus=_cpus(spec.cpus),
        pids=spec.pids_limit,
        nofile=nofile,
        nproc=nproc,
        env_names=tuple(sorted({"HOME", *spec.env})),
        command_hash=command_hash(spec.command),
        missing_limits=tuple(n for n in spec.missing_limits if n in machine.unkept_limits),
        egress_hosts=spec.egress_hosts,
    )


def command_hash(command: Sequence[str]) -> str:
    """A command line, told from any other in few characters."""
    return hashlib.sha256("\0".join(command).encode()).hexdigest()[:32]


def size_bytes(text: str) -> int:
    """Podman's notation of a size, such as "2g"; 0 for what is none: podman itself refuses that."""
    match = _SIZE.fullmatch(text.lower())
    return int(float(match[1]) * _UNITS[match[2]]) if match else 0


def _cpus(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0  # as above


def _mounts(spec: ContainerSpec) -> tuple[Mount, ...]:
    read_only = ("ro",) if spec.read_only_work else ()
    mounts = [
        Mount(str(spec.home_dir.absolute()), HOME, ("nosuid", "nodev")),
        Mount(str(spec.work_dir.absolute()), WORK, (*read_only, "nosuid", "nodev")),
    ]
    if spec.socket_dir is not None:
        options = ("ro", "nosuid", "nodev", "noexec")
        mounts.append(Mount(str(spec.socket_dir.absolute()), SOCKETS, options))
    if spec.egress_dir is not None:
        options = ("ro", "nosuid", "nodev", "noexec")
        mounts.append(Mount(str(spec.egress_dir.absolute()), EGRESS, options))
    return tuple(mounts)
