"""Which filter of system calls is at work: calls are tried from inside, and compared with the list.

The kernel tells that there is a filter, not which one. So calls that do no harm are made in the
container, with arguments for which each other answer than the filter's is known to differ.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .audit import Finding, judged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Name of the try, call, its arguments. None of them changes anything where it is allowed.
# Families of sockets: socket(2). 0x10000000 is CLONE_NEWUSER, 0xffffffff asks for the personality.
PROBES: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("AF_UNIX", "socket", (1, 1, 0)),
    ("AF_INET", "socket", (2, 1, 0)),
    ("AF_INET6", "socket", (10, 1, 0)),
    ("AF_NETLINK", "socket", (16, 3, 0)),
    ("AF_NETLINK audit", "socket", (16, 3, 9)),
    ("AF_PACKET", "socket", (17, 3, 0)),
    ("AF_BLUETOOTH", "socket", (31, 1, 0)),
    ("AF_ALG", "socket", (38, 5, 0)),
    ("AF_VSOCK", "socket", (40, 1, 0)),
    ("AF_XDP", "socket", (44, 3, 0)),
    ("unshare", "unshare", (0x10000000,)),
    ("personality", "personality", (0xFFFFFFFF,)),
    ("ptrace", "ptrace", (0, 0, 0, 0)),
    ("keyctl", "keyctl", (0, 0xFFFFFFFD, 0)),
    ("userfaultfd", "userfaultfd", (1,)),
    ("io_uring_setup", "io_uring_setup", (0, 0)),
    ("perf_event_open", "perf_event_open", (0, 0, 0, 0, 0)),
    ("bpf", "bpf", (0, 0, 0)),
    ("clone3", "clone3", (0, 0)),
    ("getpid", "getpid", ()),
)
_NUMBERS = {
    "x86_64": {
        "socket": 41, "unshare": 272, "personality": 135, "ptrace": 101, "keyctl": 250,
        "userfaultfd": 323, "io_uring_setup": 425, "perf_event_open": 298, "bpf": 321,
        "clone3": 435, "getpid": 39,
    },
    "aarch64": {
        "socket": 198, "unshare": 97, "personality": 92, "ptrace": 117, "keyctl": 219,
        "userfaultfd": 282, "io_uring_setup": 425, "perf_event_open": 241, "bpf": 280,
        "clone3": 435, "getpid": 172,
    },
}  # fmt: skip

# Each try has a process of its own: ptrace would change it.
PROGRAM = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def tried(words):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    done = libc.syscall(*[ctypes.c_long(word) for word in words])
    os._exit(ctypes.get_errno() if done == -1 else 0)
print(json.dumps([tried(words) for words in json.loads(sys.argv[1])]))
"""


def probe_command(architecture: str) -> tuple[str, ...] | None:
    """The command that makes the tries in a container, or None where the numbers are not known."""
    numbers = _NUMBERS.get(architecture)
    if numbers is None:
        return None
    words = [[numbers[call], *args] for _, call, args in PROBES]
    return ("python3", "-I", "-S", "-c", PROGRAM, json.dumps(words))


def expected_errno(profile: Mapping[str, Any], call: str, args: Sequence[int]) -> int:
    """What a call gives under a profile in the format of OCI runtimes: 0 when it is allowed."""
    answer = int(profile.get("defaultErrnoRet", 1))
    for rule in profile["syscalls"]:
        if call not in rule["names"] or not all(_holds(c, args) for c in rule.get("args", [])):
            continue
        if rule["action"] == "SCMP_ACT_ALLOW":
            return 0
        answer = int(rule.get("errnoRet", 1))
    return answer


def probe_finding(profile: Mapping[str, Any], errnos: Sequence[int]) -> Finding:
    """Whether the tries went as the profile has it.

    Args:
        profile: the packaged one.
        errnos: what `PROGRAM` printed: for each try the error's number, 0 for none.
    """
    wrong: list[str] = []
    for (name, call, args), found in zip(PROBES, errnos, strict=True):
        wanted = expected_errno(profile, call, args)
        # An allowed call may fail for a reason of the kernel's own.
        if found != wanted and (wanted or found in _FILTERED):
            wrong.append(f"{name}: {_said(found)} where {_said(wanted)} is promised")
    found_text = f"{len(PROBES)} calls tried"
    return judged("system calls", "filtered by understudy's own list", wrong, found=found_text)


# What the profile answers: EPERM and ENOSYS, errno(3).
_FILTERED = {1, 38}


def _said(errno: int) -> str:
    return "allowed" if errno == 0 else f"error {errno}"


def _holds(condition: Mapping[str, Any], args: Sequence[int]) -> bool:
    index: int = condition["index"]
    found = args[index]
    value: int = condition["value"]
    match condition["op"]:
        case "SCMP_CMP_EQ":
            return found == value
        case "SCMP_CMP_NE":
            return found != value
        case "SCMP_CMP_MASKED_EQ":
            return found & value == int(condition["valueTwo"])
        case op:
            raise ValueError(f"{op} is not known here")
