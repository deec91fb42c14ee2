"""`understudy doctor`: everything agents need of this machine, looked at and tried out."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PodmanError
from .argv import ContainerSpec, run_argv
from .command import podman_env, run_podman
from .image import image_exists, image_tag
from .limits import LIMIT_NAMES
from .machine import Machine
from .names import container_name, owner_labels
from .promise import CONTAINER_GID, CONTAINER_UID
from .rules import (
    Check,
    check_cgroup_manager,
    check_cgroups,
    check_disk,
    check_isolation,
    check_memory_limit,
    check_rlimits,
    check_runtime,
    check_seccomp,
    check_storage,
    check_user_ids,
    check_version,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TIMEOUT_S = 30.0
_TRY_TIMEOUT_S = 60
_TRY_MEMORY_BYTES = 256 << 20
_SLOW_START_S = 5.0
_INIT_PROGRAMS = ("catatonit", "/usr/libexec/podman/catatonit", "/usr/lib/podman/catatonit")
_MARK = "--next--"
_TRY = f"""
cat /proc/self/status; echo {_MARK}; ls /sys/class/net; echo {_MARK}
cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes
"""


def run_checks(
    cache_dir: Path,
    env: Mapping[str, str] | None = None,
    *,
    image: str | None = None,
    machine: Machine | None = None,
    missing_limits: Sequence[str] = (),
) -> list[Check]:
    """All checks, in the order in which they are best mended. About half a second; any thread.

    Args:
        cache_dir: for the private containers.conf, and where the disk's free space is looked at.
        env: environment of podman; default the process's own.
        image: the agent image; default that of the default version.
        machine: facts of the machine; default this one's.
        missing_limits: limits that may lack, see `ContainerSpec`.
    """
    doctor = _Doctor(
        cache_dir,
        podman_env(cache_dir, env),
        image or image_tag(),
        machine or Machine.here(),
        conf_in_use="CONTAINERS_CONF" not in (os.environ if env is None else env),
        missing_limits=tuple(missing_limits),
    )
    return doctor.all()


class _Doctor:
    def __init__(
        self,
        cache_dir: Path,
        env: Mapping[str, str],
        image: str,
        machine: Machine,
        *,
        conf_in_use: bool,
        missing_limits: tuple[str, ...],
    ) -> None:
        self._cache_dir = cache_dir
        self._env = env
        self._image = image
        self._machine = machine
        self._conf_in_use = conf_in_use
        self._missing_limits = missing_limits

    def all(self) -> list[Check]:
        if shutil.which("podman", path=self._env.get("PATH")) is None:
            mend = "install podman"
            packages = ("podman", "runc", "catatonit", "uidmap")
            missing = Check("podman", "fail", "not found on PATH", mend, packages)
            return [missing, *self._programs(), self._disk()]
        parts: list[Callable[[], list[Check]]] = [
            self._version,
            self._podman_info,
            lambda: [check_rlimits(self._machine, conf_in_use=self._conf_in_use)],
            self._programs,
            lambda: [self._disk()],
            self._in_a_container,
        ]
        # Each waits for podman commands of its own; together they take as long as the slowest.
        with ThreadPoolExecutor(len(parts), thread_name_prefix="understudy-check") as pool:
            pending = [pool.submit(part) for part in parts]
            return [check for one in pending for check in one.result()]

    def _version(self) -> list[Check]:
        try:
            return [check_version(self._podman("--version"))]
        except PodmanError as error:
            return [Check("podman", "fail", str(error), "reinstall podman", ("podman",))]

    def _podman_info(self) -> list[Check]:
        try:
            info = json.loads(self._podman("info", "--format=json"))
            return [
                check_runtime(info, self._machine),
                check_cgroups(info, self._machine, self._missing_limits),
                check_cgroup_manager(info, self._machine),
                check_user_ids(info, self._machine, _user()),
                check_storage(info),
                check_seccomp(info),
            ]
        except PodmanError as error:
            return [Check("podman info", "fail", _last_line(error), "run `podman info` to see all")]
        except (ValueError, KeyError, TypeError) as error:
            return [Check("podman info", "fail", f"podman's answer is not understood: {error!r}")]

    def _programs(self) -> list[Check]:
        path = self._env.get("PATH")
        checks: list[Check] = []
        if not any(shutil.which(name, path=path) for name in _INIT_PROGRAMS):
            detail = "catatonit is missing; `podman run --init` needs it"
            checks.append(Check("init", "fail", detail, "install catatonit", ("catatonit",)))
        else:
            checks.append(Check("init", "ok", "catatonit"))
        if not hasattr(os, "pidfd_open"):
            checks.append(Check("kernel", "fail", "no pidfd_open", "use Linux 5.3 or newer"))
        if shutil.which("git", path=path) is None:
            mend = "install git"
            checks.append(Check("git", "fail", "not found; diffs are made with it", mend, ("git",)))
        else:
            checks.append(Check("git", "ok", "found"))
        return checks

    def _disk(self) -> Check:
        place = self._cache_dir
        while not place.exists():
            place = place.parent
        return check_disk(shutil.disk_usage(place).free, str(place))

    def _in_a_container(self) -> list[Check]:
        try:
            if not image_exists(self._image, self._env):
                return self._without_image()
            return [Check("image", "ok", self._image), *self._try_container()]
        except PodmanError as error:
            return [Check("image", "fail", _last_line(error), error.hint)]

    def _without_image(self) -> list[Check]:
        mend = "run `understudy image build`"
        checks = [Check("image", "fail", f"{self._image} is not built", mend)]
        if shutil.which("npm", path=self._env.get("PATH")) is None:
            detail = "not found; only the version that PyPI carries can be built without it"
            checks.append(Check("npm", "warn", detail, "install npm", ("npm",)))
        return checks

    def _try_container(self) -> list[Check]:
        """One container as agents get it, asked what it sees of its own limits."""
        with tempfile.TemporaryDirectory(prefix="understudy-check-") as folder:
            argv = run_argv(self._spec(Path(folder)), detach=False, pidfile=None)
            started = time.monotonic()
            try:
                said = run_podman(*argv[1:], timeout_s=_TRY_TIMEOUT_S, env=self._env).stdout
            except PodmanError as error:
                mend = error.hint or "see the lines above"
                return [Check("container", "fail", _last_line(error), mend)]
            took_s = time.monotonic() - started
        status, interfaces, memory = [*said.split(_MARK), "", ""][:3]
        slow = took_s > _SLOW_START_S
        return [
            Check("container", "warn" if slow else "ok", f"ran and was removed in {took_s:.2f} s"),
            check_isolation(status, interfaces),
            *self._memory_limit(memory),
        ]

    def _memory_limit(self, found: str) -> list[Check]:
        # Where it cannot be kept, the line about control groups says so.
        if "memory" in self._machine.unkept_limits:
            return []
        return [check_memory_limit(found, _TRY_MEMORY_BYTES)]

    def _spec(self, folder: Path) -> ContainerSpec:
        folder.chmod(0o711)  # the container's user must get to the two folders below
        home, work = folder / "home", folder / "work"
        for place in (home, work):
            place.mkdir()
            if not self._machine.rootless:
                os.chown(place, CONTAINER_UID, CONTAINER_GID)
        return ContainerSpec(
            name=container_name(uuid.uuid4().hex[:10], "check", 0, 1),
            image=self._image,
            command=("sh", "-c", _TRY),
            home_dir=home,
            work_dir=work,
            memory=f"{_TRY_MEMORY_BYTES}b",
            timeout_s=_TRY_TIMEOUT_S,
            labels=owner_labels(),
            missing_limits=LIMIT_NAMES,
        )

    def _podman(self, *args: str) -> str:
        return run_podman(*args, timeout_s=_TIMEOUT_S, env=self._env).stdout


def _last_line(error: PodmanError) -> str:
    return (error.stderr.strip().splitlines() or [str(error)])[-1]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in some containers
        return str(os.getuid())
