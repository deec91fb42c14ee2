"""Promise against facts: one pure function for each line of `understudy audit`."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..egress.container import EGRESS, EGRESS_SOCKET_NAME
from .promise import (
    API_SOCKET_NAME,
    SHM_BYTES,
    SOCKETS,
    TMP_BYTES,
    WORK,
    Promise,
    command_hash,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from .facts import Facts, MountFact

Verdict = Literal["ok", "DIFFERS", "unknown"]

# The masked and read-only paths of the OCI runtimes as podman asks for them (pkg/specgen).
MASKED = (
    *("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug"),
    *("/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/dev/block", "/sys/firmware"),
    "/sys/fs/selinux",
)
READ_ONLY = (
    *("/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"),
    "/sys",
)
_TMP_OPTIONS = {"nosuid", "nodev"}
# What podman mounts into each container by itself, with the options that must be there.
_RUNTIME_MOUNTS = {
    "/proc": {"nosuid", "nodev", "noexec"},
    "/dev": {"nosuid", "noexec"},
    "/dev/pts": {"nosuid", "noexec"},
    "/dev/mqueue": {"nosuid", "nodev", "noexec"},
    "/dev/shm": {"nosuid", "nodev", "noexec"},  # noqa: S108 - the container's own
    "/sys": {"ro", "nosuid", "nodev", "noexec"},
    "/sys/fs/cgroup": {"nosuid", "nodev", "noexec"},
    "/run/podman-init": {"ro"},
    "/dev/init": {"ro"},
    "/run/.containerenv": {"ro"},
    "/etc/hostname": {"ro"},
}
_CGROUP_TREE = "/sys/fs/cgroup/"
_DEVICE_NAMES = ("console", "full", "null", "ptmx", "random", "tty", "urandom", "zero")
_DEVICES = {f"/dev/{name}" for name in _DEVICE_NAMES} | {"/dev/pts/ptmx"}
# Podman's own, in every container.
_PODMAN_ENV = {"HOSTNAME", "HOME", "PATH", "TERM", "container"}
# What the CLI says stands for a key.
_PLACEHOLDERS = {"", "placeholder"}
_SECRET_NAME = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"sk-ant-|\bgh[pousr]_[A-Za-z0-9]{20}|\bglpat-|\bAKIA[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE"
)
_SHOWN = 4
# File systems in memory that the container's user can write to, and their sizes.
_IN_MEMORY = {"/tmp": TMP_BYTES, "/dev/shm": SHM_BYTES}  # noqa: S108 - the container's own


@dataclass(frozen=True)
class Finding:
    """One line of an audit.

    Attributes:
        what: what was looked at.
        promised: how it ought to be.
        found: how it is; never a secret's value.
        verdict: "unknown" when it could not be looked at.
    """

    what: str
    promised: str
    found: str
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)


def compare(promise: Promise, facts: Facts, image_env: Iterable[str] = ()) -> list[Finding]:
    """Every line that follows from the facts alone.

    Args:
        promise: what the container was meant to be.
        facts: what it is.
        image_env: names of the variables that its image sets.
    """
    lines = [line(promise, facts) for line in _LINES]
    return [*lines, *_limits(promise, facts), _env_names(promise, facts, image_env)]


def judged(
    what: str, promised: str, wrong: Sequence[str], *, found: str = "as promised"
) -> Finding:
    """A line that is in order when nothing is wrong, else shows the first things that are."""
    if not wrong:
        return Finding(what, promised, found, "ok")
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return Finding(what, promised, "; ".join(wrong[:_SHOWN]) + more, "DIFFERS")


def exit_code(findings: Sequence[Finding]) -> int:
    """0 when all is as promised, 1 when something differs, 3 when something could not be seen."""
    verdicts = {finding.verdict for finding in findings}
    return 1 if "DIFFERS" in verdicts else 3 if "unknown" in verdicts else 0


def sockets_finding(
    promise: Promise, sockets: Iterable[str], bound_here: Container[str]
) -> Finding:
    """Which sockets can be reached by their names.

    Args:
        promise: what the container was meant to be.
        sockets: paths in the container at which there are some.
        bound_here: paths of the sockets that are bound outside of the container.
    """
    known = [f"{SOCKETS}/{API_SOCKET_NAME}"]
    if promise.egress_hosts:
        known.append(f"{EGRESS}/{EGRESS_SOCKET_NAME}")
    wrong: list[str] = []
    for path in sorted(sockets):
        if path in known:
            continue
        if path.startswith((f"{SOCKETS}/", f"{EGRESS}/")) or _outside(promise, path) in bound_here:
            wrong.append(path)
    return judged("sockets", f"{' and '.join(known)} alone, beside its own", wrong)


def _outside(promise: Promise, path: str) -> str:
    """Where the machine has what the container sees at that path; "" for its own file systems."""
    for mount in promise.mounts:
        if path.startswith(f"{mount.target}/"):
            return mount.source + path[len(mount.target) :]
    return ""


def _folders(promise: Promise, facts: Facts) -> Finding:
    """The promised folders: there, the right ones, with their options, nothing on top of them."""
    wrong: list[str] = []
    for mount in promise.mounts:
        shown = [fact for fact in facts.mounts if fact.target == mount.target]
        if not shown:
            wrong.append(f"{mount.target} is not mounted")
            continue
        top = shown[-1]
        if top.same_source is not True:
            wrong.append(f"{mount.target} is not the promised folder")
        lacking = set(mount.options) - top.options
        if lacking:
            wrong.append(f"{mount.target} lacks {', '.join(sorted(lacking))}")
        if mount.writable and "ro" in top.options:
            wrong.append(f"{mount.target} is read-only")
    promised = ", ".join(f"{m.target} ({' '.join(m.options)})" for m in promise.mounts)
    return judged("folders", promised, wrong)


def _other_mounts(promise: Promise, facts: Facts) -> Finding:
    known = {mount.target for mount in promise.mounts}
    wrong: list[str] = []
    for fact in facts.mounts:
        if fact.target in known:
            continue
        needed = _needed_options(fact)
        if needed is None:
            wrong.append(f"{fact.target} is mounted ({fact.kind})")
        elif needed - fact.options:
            wrong.append(f"{fact.target} lacks {', '.join(sorted(needed - fact.options))}")
    return judged("other mounts", "only those that every container has", wrong)


def _needed_options(fact: MountFact) -> set[str] | None:
    """The options that a mount beside the promised ones must have; None when it must not be."""
    if fact.target == "/":
        return {"ro"}
    if fact.target == "/tmp" and fact.kind == "tmpfs":  # noqa: S108 - the container's own
        return _TMP_OPTIONS
    if fact.target in MASKED or fact.target in READ_ONLY:
        return set()  # judged by the line about them
    if fact.target in _DEVICES and fact.kind in ("tmpfs", "devtmpfs", "devpts"):
        return set()  # rootless, the machine's own nodes are mounted
    if fact.target.startswith(_CGROUP_TREE):
        return {"ro", "nosuid", "nodev", "noexec"}
    return _RUNTIME_MOUNTS.get(fact.target)


def _writable(promise: Promise, facts: Facts) -> Finding:
    """Only these can be written to by the container's user, and those in memory have a size."""
    wrong: list[str] = []
    for target, size_bytes in _IN_MEMORY.items():
        shown = [fact for fact in facts.mounts if fact.target == target]
        if not shown or shown[-1].size_bytes != size_bytes:
            found = shown[-1].size_bytes if shown else "not mounted"
            wrong.append(f"{target} has a size of {found} where {size_bytes} bytes are promised")
    root = [fact for fact in facts.mounts if fact.target == "/"]
    if not root or "ro" not in root[-1].options:
        wrong.append("/ can be written to")
    folders = [mount.target for mount in promise.mounts if mount.writable]
    places = [*folders, *(f"{path} ({size >> 20} MB)" for path, size in _IN_MEMORY.items())]
    work = next((mount for mount in promise.mounts if mount.target == WORK), None)
    note = "" if work is None or work.writable else f"; {WORK} read-only"
    return judged("writable", ", ".join(places) + note, wrong)


def _masked(_promise: Promise, facts: Facts) -> Finding:
    wrong: list[str] = []
    on_top = {fact.target: fact for fact in facts.mounts}
    for path in sorted(facts.present):
        fact = on_top.get(path)
        if path in MASKED and (fact is None or not _hides(fact)):
            wrong.append(f"{path} is open")
        elif path in READ_ONLY and (fact is None or "ro" not in fact.options):
            wrong.append(f"{path} can be written to")
    return judged("/proc and /sys", "the kernel's secrets masked, its switches read-only", wrong)


def _hides(fact: MountFact) -> bool:
    # A folder is hidden by an empty tmpfs, a file by the null device.
    return fact.kind in ("tmpfs", "devtmpfs")


def _capabilities(_promise: Promise, facts: Facts) -> Finding:
    wrong = [
        f"{process.name} ({process.pid}) has {name} {bits:x}"
        for process in facts.processes
        for name, bits in process.capabilities.items()
        if bits
    ]
    return judged("capabilities", "none in any set, of any process", wrong)


def _no_new_privileges(_promise: Promise, facts: Facts) -> Finding:
    wrong = [f"{p.name} ({p.pid}) may gain some" for p in facts.processes if not p.no_new_privs]
    return judged("new privileges", "cannot be gained", wrong)


def _seccomp(_promise: Promise, facts: Facts) -> Finding:
    # 2 is SECCOMP_MODE_FILTER, prctl(2).
    wrong = [
        f"{p.name} ({p.pid}) is in mode {p.seccomp}"
        for p in facts.processes
        if p.seccomp != 2  # noqa: PLR2004
    ]
    return judged("seccomp", "mode 2, a filter, for every process", wrong)


def _user(promise: Promise, facts: Facts) -> Finding:
    wrong: list[str] = []
    for process in facts.processes:
        if set(process.uids) != {promise.uid}:
            wrong.append(f"{process.name} ({process.pid}) has user ids {_list(process.uids)}")
        if set(process.gids) != {promise.gid}:
            wrong.append(f"{process.name} ({process.pid}) has group ids {_list(process.gids)}")
        if not set(process.groups) <= {promise.gid}:
            wrong.append(f"{process.name} ({process.pid}) is in groups {_list(process.groups)}")
    return judged("user", f"{promise.uid}:{promise.gid} alone, as the machine counts", wrong)


def _list(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in sorted(set(numbers)))


def _namespaces(_promise: Promise, facts: Facts) -> Finding:
    wrong = [f"{kind} is shared with the machine" for kind in facts.shared_namespaces]
    return judged("namespaces", "its own of every kind", wrong)


def _network(_promise: Promise, facts: Facts) -> Finding:
    wrong = [f"interface {name}" for name in facts.interfaces if name != "lo"]
    wrong += [f"a route by {name}" for name in facts.routes if name != "lo"]
    return judged("network", "lo alone, no routes", wrong)


def _devices(_promise: Promise, facts: Facts) -> Finding:
    wrong = [
        path
        for path in facts.devices
        if path not in _DEVICES and not re.fullmatch(r"/dev/pts/\d+", path)
    ]
    return judged("devices", ", ".join(_DEVICE_NAMES), wrong)


def _descriptors(_promise: Promise, facts: Facts) -> Finding:
    return judged("open files", "none that leads out of the container", facts.descriptors)


def _command(promise: Promise, facts: Facts) -> Finding:
    shown = facts.command[0] if facts.command else "nothing"
    if command_hash(facts.command) == promise.command_hash:
        return Finding("command", "as the agent's role has it", f"{shown} as promised", "ok")
    wrong = f"{shown} with other arguments"
    return Finding("command", "as the agent's role has it", wrong, "DIFFERS")


def _secrets_in_env(_promise: Promise, facts: Facts) -> Finding:
    wrong = [
        f"{name} in {fact.process}"
        for fact in facts.environments
        for name, value in fact.values.items()
        if _SECRET_VALUE.search(value) or (_SECRET_NAME.search(name) and value not in _PLACEHOLDERS)
    ]
    return judged("secrets in the environment", "none, by name and pattern", wrong)


def _env_names(promise: Promise, facts: Facts, image_env: Iterable[str]) -> Finding:
    """The program's own environment; what its tools add for each other is no promise of ours."""
    known = {*promise.env_names, *image_env, *_PODMAN_ENV}
    first = facts.environments[0].values if facts.environments else dict[str, str]()
    wrong = [f"{name} is set" for name in sorted(set(first) - known)]
    return judged("environment", f"{len(known)} names", wrong, found=f"{len(first)} names")


_LINES: tuple[Callable[[Promise, Facts], Finding], ...] = (
    _folders,
    _other_mounts,
    _writable,
    _masked,
    _capabilities,
    _no_new_privileges,
    _seccomp,
    _user,
    _namespaces,
    _network,
    _devices,
    _descriptors,
    _command,
    _secrets_in_env,
)


def _limits(promise: Promise, facts: Facts) -> list[Finding]:
    wanted: tuple[tuple[str, float, str], ...] = (
        ("memory", promise.memory_bytes, "bytes"),
        ("swap", 0, "bytes"),
        ("pids", promise.pids, "processes"),
        ("cpu", promise.cpus, "processors"),
        ("nofile", promise.nofile, "open files"),
        ("nproc", promise.nproc, "processes of the user"),
        ("core", 0, "bytes"),
    )
    return [_limit(promise, facts, *row) for row in wanted]


def _limit(promise: Promise, facts: Facts, name: str, value: float, unit: str) -> Finding:
    what, promised = f"limit of {name}", f"{value:.12g} {unit}"
    if ("memory" if name == "swap" else name) in promise.missing_limits:
        promised += ", or none: the machine cannot keep it"
        if name not in facts.limits or facts.limits[name] is None:
            return Finding(what, promised, "none", "ok")
    if name not in facts.limits:
        # A kernel without swap accounting lets nothing be said of it.
        return Finding(what, promised, "the kernel does not tell", "unknown")
    found = facts.limits[name]
    shown = "none" if found is None else f"{found:.12g} {unit}"
    return Finding(what, promised, shown, "ok" if found == value else "DIFFERS")
