"""What a container is, and the `podman run` that makes it: pure functions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..egress.container import EGRESS_ENV, with_way_out
from .machine import Machine
from .names import name_labels
from .promise import (
    CONTAINER_GID,
    CONTAINER_UID,
    HOME,
    PROMISE_LABEL,
    SHM_BYTES,
    TMP_BYTES,
    WORK,
    Mount,
    Promise,
    promise_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# Podman's default profile (containers-common 0.50) without what a coding agent has no use for:
# tracing other processes, mounts and new namespaces, keyrings, io_uring, and all sockets but Unix,
# internet and netlink ones (so no AF_ALG, no vsock).
SECCOMP_PROFILE = Path(__file__).with_name("seccomp.json")
_KEEP_ID = f"--userns=keep-id:uid={CONTAINER_UID},gid={CONTAINER_GID}"
_DEFAULT_LIFETIME_S = 24 * 3600


@dataclass(frozen=True)
class ContainerSpec:
    """A container with one program in it, cut off from the machine but for three or four folders.

    Attributes:
        name: see `container_name`.
        image: must be on the machine; nothing is ever pulled.
        command: the program and its arguments; it runs below an init.
        home_dir: mounted at /home/agent. Under root it must belong to uid 1000, else to the caller.
        work_dir: mounted at /work, where the program starts. Owner likewise.
        socket_dir: mounted at /run/agent, read-only (connecting still works); None for none.
        read_only_work: /work cannot be written to.
        memory: podman's notation, such as "2g"; there is no swap beside it.
        cpus: share of CPUs, such as "1.5".
        pids_limit: most processes and threads at once.
        timeout_s: seconds after which podman ends it, whatever became of its owner.
        labels: beside those that the name and the owner give.
        env: environment of the program.
        hostname: name inside; "" takes podman's choice.
        egress_dir: mounted at /run/egress, read-only: the socket of a way out; None for none.
        egress_hosts: what can be reached by it.
        missing_limits: limits of `LIMIT_NAMES` that need not be kept where the machine cannot.
    """

    name: str
    image: str
    command: tuple[str, ...]
    home_dir: Path
    work_dir: Path
    socket_dir: Path | None = None
    read_only_work: bool = False
    memory: str = "2g"
    cpus: str = "1.0"
    pids_limit: int = 256
    timeout_s: int = _DEFAULT_LIFETIME_S
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    hostname: str = ""
    egress_dir: Path | None = None
    egress_hosts: tuple[str, ...] = ()
    missing_limits: tuple[str, ...] = ()


def with_egress(spec: ContainerSpec, way: Mapping[str, Any]) -> ContainerSpec:
    """The same with a way out; `way` is one of `egress.plan.seat_args`."""
    return replace(
        spec,
        command=with_way_out(spec.command),
        env={**spec.env, **EGRESS_ENV},
        egress_dir=Path(way["folder"]),
        egress_hosts=tuple(way["hosts"]),
    )


def run_argv(
    spec: ContainerSpec, *, detach: bool, pidfile: Path | None, machine: Machine | None = None
) -> list[str]:
    """The whole command line.

    With `pidfile` podman writes the number of the container's first process there, and the
    container's id into the same name with the suffix ".cid".
    """
    machine = machine or Machine.here()
    promise = promise_of(spec, machine)
    return [
        *("podman", "run", *(["-d"] if detach else []), "-i", "--rm", "--pull=never"),
        # The program holds the owner's pipes itself: nothing between, nothing kept in a log file.
        "--log-driver=passthrough",
        *([f"--pidfile={pidfile}", f"--cidfile={cid_file(pidfile)}"] if pidfile else []),
        *_identity(spec, promise),
        *_life(spec),
        *_isolation(machine),
        *_limits(spec, promise),
        *map(_bind, promise.mounts),
        f"--workdir={WORK}",
        *(f"--env={name}={value}" for name, value in {"HOME": HOME, **spec.env}.items()),
        spec.image,
        *spec.command,
    ]


def cid_file(pidfile: Path) -> Path:
    """Where the container's id is written, beside the pid file."""
    return pidfile.with_suffix(".cid")


def _identity(spec: ContainerSpec, promise: Promise) -> list[str]:
    labels = {**name_labels(spec.name), **spec.labels, PROMISE_LABEL: promise.to_label()}
    return [
        f"--name={spec.name}",
        *([f"--hostname={spec.hostname}"] if spec.hostname else []),
        *(f"--label={name}={value}" for name, value in labels.items()),
    ]


def _life(spec: ContainerSpec) -> list[str]:
    return [
        # Reaps what tools leave behind, and makes SIGTERM effective, which a PID 1 without a
        # handler ignores.
        "--init",
        "--stop-timeout=2",
        f"--timeout={spec.timeout_s}",
        # An image may bring any of these; the command is ours alone.
        "--entrypoint=",
        "--no-healthcheck",
        "--image-volume=ignore",
        "--sdnotify=ignore",
    ]


def _isolation(machine: Machine) -> list[str]:
    return [
        *("--network=none", "--no-hosts", "--http-proxy=false"),
        *("--ipc=private", "--cgroupns=private", f"--shm-size={SHM_BYTES >> 20}m"),
        # Rootless, the caller becomes uid 1000 inside, so that what it writes is the caller's.
        *([_KEEP_ID] if machine.rootless else []),
        f"--user={CONTAINER_UID}:{CONTAINER_GID}",
        *("--cap-drop=all", "--security-opt=no-new-privileges"),
        f"--security-opt=seccomp={SECCOMP_PROFILE}",
        # SELinux would forbid to connect to the gateway's socket; relabelling the user's files to
        # allow it is not our business.
        *(["--security-opt=label=disable"] if machine.selinux else []),
        *("--read-only", "--read-only-tmpfs=false"),
        f"--tmpfs=/tmp:rw,size={TMP_BYTES >> 20}m,mode=1777,nosuid,nodev",
    ]


def _limits(spec: ContainerSpec, promise: Promise) -> list[str]:
    lacking = promise.missing_limits
    kept = {
        # Without --memory-swap podman allows as much swap again.
        "memory": (f"--memory={spec.memory}", f"--memory-swap={spec.memory}"),
        "cpu": (f"--cpus={spec.cpus}",),
        "pids": (f"--pids-limit={promise.pids}",),
    }
    return [
        # What cannot be kept is not asked for: podman would say so in the program's own stderr.
        *(flag for name, flags in kept.items() if name not in lacking for flag in flags),
        "--oom-score-adj=300",
        # One --ulimit replaces podman's whole default list, so all stand here.
        f"--ulimit=nofile={promise.nofile}:{promise.nofile}",
        f"--ulimit=nproc={promise.nproc}:{promise.nproc}",
        "--ulimit=core=0:0",
    ]


def _bind(mount: Mount) -> str:
    # --mount takes a line of CSV: quoted, a path may hold commas and colons, which --volume cannot.
    quoted = f"source={mount.source}".replace('"', '""')
    return ",".join(["--mount=type=bind", f'"{quoted}"', f"target={mount.target}", *mount.options])
