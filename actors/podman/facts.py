"""What a running container is, as the kernel has it: read from this side of the wall.

Everything comes from /proc/PID of the container's first process and from its control group, so that
nothing in the container can lie about it; only the filter of system calls must be tried from
inside, which `probe` does.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .limits import limit_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .promise import Promise

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_RLIMITS = {
    "Max open files": "nofile",
    "Max processes": "nproc",
    "Max core file size": "core",
}
_TABLES = ("unix", "tcp", "tcp6", "udp", "udp6", "netlink", "packet", "raw", "raw6")
_INODE_COLUMN = {"unix": 6, "netlink": 9, "packet": 8}
# Memory shared without a file; they belong to mounts that only the kernel has.
_OF_THE_KERNEL = ("/memfd:", "/dev/zero (deleted)", "/SYSV", "/[")


@dataclass(frozen=True)
class MountFact:
    """A line of /proc/PID/mountinfo (proc(5)).

    Attributes:
        mount_id: the kernel's number of it.
        target: its place in the container.
        options: of the mount, such as "ro" and "nosuid".
        kind: the type of its file system.
        size_bytes: the limit of a tmpfs, or None.
        same_source: whether it shows the promised folder; None when none is promised there.
    """

    mount_id: int
    target: str
    options: frozenset[str]
    kind: str
    size_bytes: int | None = None
    same_source: bool | None = None


@dataclass(frozen=True)
class ProcessFact:
    """What /proc/PID/status says of the rights of one process in the container."""

    pid: int
    name: str
    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    capabilities: Mapping[str, int]
    no_new_privs: bool
    seccomp: int


@dataclass(frozen=True)
class EnvFact:
    """The environment of one process in the container, with values; never shown."""

    process: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class Facts:
    """A container, looked at once.

    Attributes:
        mounts: in the kernel's order; of several at one place the last is on top.
        present: which of the paths that ought to be masked exist.
        processes: all that run in it; the first is its PID 1.
        shared_namespaces: kinds of namespaces that it shares with us.
        limits: as kept by the kernel; None where there is none.
        interfaces: of its network.
        routes: interfaces to which one of its routes leads.
        environments: of the processes.
        command: the arguments of its PID 1, without the init's own.
        devices: nodes of devices, by path.
        descriptors: open files that are not of its mounts, and sockets that are not of its network.
    """

    mounts: tuple[MountFact, ...]
    present: frozenset[str]
    processes: tuple[ProcessFact, ...]
    shared_namespaces: tuple[str, ...]
    limits: Mapping[str, float | None]
    interfaces: tuple[str, ...]
    routes: tuple[str, ...]
    environments: tuple[EnvFact, ...]
    command: tuple[str, ...]
    devices: tuple[str, ...]
    descriptors: tuple[str, ...]


def collect(pid: int, promise: Promise, masked: Sequence[str]) -> Facts:
    """Look at the container whose first process has that number.

    Args:
        pid: as the machine counts.
        promise: tells which folders to compare.
        masked: paths of which to tell whether they exist.

    Raises:
        OSError: it ended, or is not ours to look at.
    """
    proc = Path(f"/proc/{pid}")
    root = proc / "root"
    mounts = _mounts(proc, promise)
    members = _members(proc)
    sources = [_process(member) for member in members]
    return Facts(
        mounts=mounts,
        present=frozenset(path for path in masked if os.path.lexists(f"{root}{path}")),
        processes=tuple(process for process in sources if process),
        shared_namespaces=tuple(kind for kind in NAMESPACES if _shares(proc, kind)),
        limits={**limit_values(pid), **_rlimits(proc)},
        interfaces=_interfaces(proc),
        routes=_routes(proc),
        environments=tuple(fact for member in members if (fact := _environment(member))),
        command=_command(proc),
        devices=_devices(root),
        descriptors=_foreign_descriptors(members, proc, mounts),
    )


def parse_mountinfo(text: str, same_source: Mapping[str, bool]) -> tuple[MountFact, ...]:
    """The mounts in a /proc/PID/mountinfo."""
    found: list[MountFact] = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _source, super_options) = before.split(" "), after.split(" ", 2)
        target = _unescaped(fields[4])
        size = re.search(r"\bsize=(\d+)k", super_options)
        options = frozenset(fields[5].split(","))
        if kind != "cgroup" and "ro" in super_options.split(","):
            options |= {"ro"}
        size_bytes = int(size[1]) << 10 if size and kind == "tmpfs" else None
        fact = MountFact(int(fields[0]), target, options, kind, size_bytes, same_source.get(target))
        found.append(fact)
    return tuple(found)


def parse_status(pid: int, text: str) -> ProcessFact:
    """The rights in a /proc/PID/status."""
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    def numbers(name: str) -> tuple[int, ...]:
        return tuple(map(int, fields[name].split()))

    return ProcessFact(
        pid=pid,
        name=fields["Name"],
        uids=numbers("Uid"),
        gids=numbers("Gid"),
        groups=numbers("Groups"),
        capabilities={name: int(fields[name], 16) for name in CAPABILITY_SETS},
        no_new_privs=fields["NoNewPrivs"].strip() == "1",
        seccomp=int(fields["Seccomp"]),
    )


def _mounts(proc: Path, promise: Promise) -> tuple[MountFact, ...]:
    same: dict[str, bool] = {}
    for mount in promise.mounts:
        try:
            same[mount.target] = _identity(f"{proc}/root{mount.target}") == _identity(mount.source)
        except FileNotFoundError:
            same[mount.target] = False
    return parse_mountinfo((proc / "mountinfo").read_text(encoding="utf-8"), same)


def _identity(path: str) -> tuple[int, int]:
    status = Path(path).lstat()
    return status.st_dev, status.st_ino


def _members(proc: Path) -> list[Path]:
    """The processes of the container: its first one, and all others in its PID namespace."""
    wanted = (proc / "ns/pid").readlink()
    found = [proc]
    for other in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            if other != proc and (other / "ns/pid").readlink() == wanted:
                found.append(other)
        except OSError:
            continue  # ended, or of a user whose processes cannot be of this container
    return found


def _process(member: Path) -> ProcessFact | None:
    try:
        text = (member / "status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None  # ended meanwhile
    return parse_status(int(member.name), text)


def _shares(proc: Path, kind: str) -> bool:
    return (proc / "ns" / kind).readlink() == Path("/proc/self/ns", kind).readlink()


def _rlimits(proc: Path) -> dict[str, float | None]:
    limits: dict[str, float | None] = {}
    for line in (proc / "limits").read_text(encoding="ascii").splitlines():
        for title, name in _RLIMITS.items():
            if line.startswith(title):
                hard = line[len(title) :].split()[1]
                limits[name] = None if hard == "unlimited" else float(hard)
    return limits


def _interfaces(proc: Path) -> tuple[str, ...]:
    lines = (proc / "net/dev").read_text(encoding="ascii").splitlines()[2:]
    return tuple(line.partition(":")[0].strip() for line in lines)


def _routes(proc: Path) -> tuple[str, ...]:
    found = [line.split()[0] for line in _lines(proc / "net/route")[1:]]
    found += [line.split()[-1] for line in _lines(proc / "net/ipv6_route")]
    return tuple(sorted(set(found)))


def _lines(path: Path) -> list[str]:
    # A kernel without IPv6 has no table for it.
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _environment(member: Path) -> EnvFact | None:
    try:
        data = (member / "environ").read_bytes()
        name = (member / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None  # ended meanwhile
    pairs = (item.partition(b"=") for item in data.split(b"\0") if item)
    values = {os.fsdecode(key): os.fsdecode(value) for key, _, value in pairs}
    return EnvFact(f"{name} ({member.name})", values)


def _command(proc: Path) -> tuple[str, ...]:
    words = [os.fsdecode(word) for word in (proc / "cmdline").read_bytes().split(b"\0")[:-1]]
    # `podman run --init` puts "/run/podman-init --" before the command.
    return tuple(words[2:] if words[1:2] == ["--"] else words)


def _devices(root: Path) -> tuple[str, ...]:
    found: list[str] = []
    base = f"{root}/dev"
    for place, _, names in os.walk(base):
        for name in names:
            path = os.path.join(place, name)  # noqa: PTH118 - thousands of names
            mode = os.lstat(path).st_mode
            if mode & 0o170000 in (0o020000, 0o060000):  # character and block devices, stat(2)
                found.append(path[len(str(root)) :])
    return tuple(sorted(found))


def _foreign_descriptors(
    members: Sequence[Path], proc: Path, mounts: Sequence[MountFact]
) -> tuple[str, ...]:
    """Open files that lead out of the container: by its mounts, none can be opened from inside."""
    mount_ids = {mount.mount_id for mount in mounts}
    sockets = _socket_inodes(proc)
    found: list[str] = []
    for member in members:
        for descriptor in _descriptors(member):
            try:
                target = str(descriptor.readlink())
                info = Path(member, "fdinfo", descriptor.name).read_text(encoding="ascii")
            except (FileNotFoundError, ProcessLookupError):
                continue  # closed meanwhile
            if _leads_out(target, info, mount_ids, sockets):
                found.append(f"{member.name}: {descriptor.name} -> {target}")
    return tuple(found)


def _descriptors(member: Path) -> list[Path]:
    try:
        return list((member / "fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []  # ended meanwhile


def _leads_out(target: str, info: str, mount_ids: set[int], sockets: set[str]) -> bool:
    if target.startswith("socket:["):
        return target[len("socket:[") : -1] not in sockets
    if not target.startswith("/") or target.startswith(_OF_THE_KERNEL):
        return False  # a pipe, an event counter
    mount_id = re.search(r"^mnt_id:\s*(\d+)$", info, re.MULTILINE)
    return mount_id is not None and int(mount_id[1]) not in mount_ids


def _socket_inodes(proc: Path) -> set[str]:
    """The sockets of the container's network namespace."""
    found: set[str] = set()
    for table in _TABLES:
        column = _INODE_COLUMN.get(table, 9)
        for line in _lines(proc / "net" / table)[1:]:
            fields = line.split()
            if len(fields) > column:
                found.add(fields[column])
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text)
