"""The agent image: this machine's programs (or a base image) with Claude Code, tried out once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import shutil
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImageError, PodmanError
from ..lock_file import try_lock
from ..releases import DEFAULT_CLI_VERSION
from .argv import ContainerSpec, run_argv
from .cli_binary import SCRATCH_PREFIX, cli_binary
from .command import podman_env, run_podman
from .limits import LIMIT_NAMES
from .names import container_name, owner_labels
from .promise import CONTAINER_GID, CONTAINER_UID
from .rootfs import collect_host

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

_log = logging.getLogger(__name__)

KEY_LABEL = "understudy.image_key"
VERSION_LABEL = "understudy.cli_version"

# Goes up when this module or rootfs.py puts something else into the image.
_REVISION = 1
_REPOSITORY = "localhost/understudy-agent"
_BASE_REPOSITORY = "localhost/understudy-base"
_LOCK_TIMEOUT_S = 900.0
_LOCK_POLL_S = 0.2
_QUICK_TIMEOUT_S = 60.0
_BUILD_TIMEOUT_S = 900.0
_SMOKE_TIMEOUT_S = 120.0
_NEEDED_BYTES = 2 << 30

_CONTAINERFILE = """\
FROM {base}
COPY claude /usr/local/bin/claude
COPY gitconfig /etc/gitconfig
ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
ENV LANG=C.UTF-8 HOME=/home/agent DISABLE_AUTOUPDATER=1
ENTRYPOINT []
USER {uid}:{gid}
WORKDIR /work
LABEL {key_label}={key} {version_label}={version}
"""
# Files of a mounted repository may belong to another user; git refuses such ones, and a setting
# given by the environment does not reach the child processes of a fetch.
_GITCONFIG = "[safe]\n\tdirectory = *\n"
_SMOKE = (
    "set -e; claude --version; git --version; timeout --version >/dev/null; "
    'touch "$HOME/w" /tmp/w /work/w; python3 -c "import json, ssl, subprocess" || echo no python3'
)


@dataclass(frozen=True)
class ImageInfo:
    """An agent image on this machine. `built` says whether it was made by this call."""

    tag: str
    cli_version: str
    built: bool
    size_bytes: int


def image_tag(cli_version: str = DEFAULT_CLI_VERSION) -> str:
    """The name of the image with that version of Claude Code."""
    return f"{_REPOSITORY}:{cli_version}"


def image_exists(image: str, env: Mapping[str, str]) -> bool:
    """Whether the image is on this machine.

    Raises:
        PodmanError: podman failed.
    """
    args = ("image", "exists", image)
    done = run_podman(*args, timeout_s=_QUICK_TIMEOUT_S, env=env, check=False)
    if done.returncode > 1:
        run_podman(*args, timeout_s=_QUICK_TIMEOUT_S, env=env)
    return done.returncode == 0


def ensure_image(
    cli_version: str,
    cache_dir: Path,
    tag: str | None = None,
    *,
    base: str | None = None,
    env: Mapping[str, str] | None = None,
    progress: Callable[[str], object] = _log.info,
    force: bool = False,
) -> ImageInfo:
    """Have the agent image, building it where it is not there or made of something else.

    Blocks: about 0.1 s when there is nothing to do, 10 s when the program is in the cache, and a
    download of some 130 MB otherwise. Only an image that passed its try-out gets the name; until
    then an older one keeps it.

    Args:
        cli_version: version of Claude Code.
        cache_dir: downloads and base images are kept there.
        tag: name of the image; default `image_tag(cli_version)`.
        base: an image on this machine to build upon, instead of this machine's own programs.
        env: environment of podman, npm and pip; default the process's own.
        progress: called with a line of text for each step that takes time.
        force: build even if the image is there.

    Raises:
        ImageError: it could not be made; the kind tells why.
        PodmanError: podman failed.
    """
    job = _Build(
        cli_version=cli_version,
        cache_dir=cache_dir,
        tag=tag or image_tag(cli_version),
        base=base,
        env=podman_env(cache_dir, env),
        progress=progress,
    )
    key = job.key()
    if not force and job.label_of(job.tag) == key:
        return job.info(built=False)
    with _lock(cache_dir / "image.lock", progress):
        if force or job.label_of(job.tag) != key:  # else another process has just built it
            job.build(key)
            return job.info(built=True)
    return job.info(built=False)


def image_key(cli_version: str, base: str, machine: str) -> str:
    """A hash of everything that decides what is in the image.

    Args:
        cli_version: version of Claude Code.
        base: id of the base image, or the version of the system that the programs are taken from.
        machine: the processor's architecture.
    """
    inputs = json.dumps([_REVISION, cli_version, base, machine, _CONTAINERFILE, _GITCONFIG])
    return _digest(inputs)


def _digest(inputs: str) -> str:
    return hashlib.sha256(inputs.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Build:
    cli_version: str
    cache_dir: Path
    tag: str
    base: str | None
    env: Mapping[str, str]
    progress: Callable[[str], object]

    def key(self) -> str:
        base = _system_version() if self.base is None else self._id_of_base()
        return image_key(self.cli_version, base, platform.machine())

    def info(self, *, built: bool) -> ImageInfo:
        size = self._podman("image", "inspect", "--format={{.Size}}", self.tag)
        return ImageInfo(self.tag, self.cli_version, built, int(size))

    def label_of(self, image: str) -> str | None:
        if not image_exists(image, self.env):
            return None
        form = f'--format={{{{index .Labels "{KEY_LABEL}"}}}}'
        return self._podman("image", "inspect", form, image).strip()

    def build(self, key: str) -> None:
        self._clear_scratch()
        self._refuse_small_disk()
        program = cli_binary(self.cli_version, self.cache_dir, env=self.env, progress=self.progress)
        base = self.base or self._host_base()
        self.progress(f"building {self.tag}")
        with self._folder() as folder:
            new = self._build_in(folder, base, program, key)
        self.progress("trying it out")
        try:
            self._try_out(new)
            self._name(new)
        except BaseException:
            self._drop(new)
            raise

    def _id_of_base(self) -> str:
        assert self.base is not None
        try:
            return self._podman("image", "inspect", "--format={{.Id}}", self.base).strip()
        except PodmanError as error:
            if not error.is_missing_image:
                raise
            mend = f"bring it here with `podman pull {self.base}`"
            raise ImageError("build", f"the base image {self.base} is not there", mend) from None

    def _host_base(self) -> str:
        inputs = json.dumps([_REVISION, _system_version(), platform.machine()])
        tag = f"{_BASE_REPOSITORY}:{_digest(inputs)}"
        if not image_exists(tag, self.env):
            self.progress("collecting the programs of this machine")
            with self._folder() as folder:
                collect_host(folder / "base.tar")
                self._step("import", "--quiet", str(folder / "base.tar"), tag)
        return tag

    def _build_in(self, folder: Path, base: str, program: Path, key: str) -> str:
        try:
            os.link(program, folder / "claude")
        except OSError:  # a file system without hard links
            shutil.copy2(program, folder / "claude")
        (folder / "gitconfig").write_text(_GITCONFIG, encoding="utf-8")
        text = _CONTAINERFILE.format(
            base=base,
            uid=CONTAINER_UID,
            gid=CONTAINER_GID,
            key_label=KEY_LABEL,
            key=key,
            version_label=VERSION_LABEL,
            version=self.cli_version,
        )
        (folder / "Containerfile").write_text(text, encoding="utf-8")
        return self._step("build", "--quiet", "--pull=never", "--layers=false", str(folder)).strip()

    def _try_out(self, image: str) -> None:
        """One run under the flags that agents run under, but for a shorter life."""
        name = container_name(uuid.uuid4().hex[:10], "image", 0, 1)
        with self._folder() as folder:
            home, work = folder / "home", folder / "work"
            for place in (home, work):
                place.mkdir(mode=0o700)
                if os.geteuid() == 0:
                    os.chown(place, CONTAINER_UID, CONTAINER_GID)
            spec = ContainerSpec(
                name=name,
                image=image,
                command=("bash", "-c", _SMOKE),
                home_dir=home,
                work_dir=work,
                timeout_s=int(_SMOKE_TIMEOUT_S),
                labels=owner_labels(),
                missing_limits=LIMIT_NAMES,
            )
            argv = run_argv(spec, detach=False, pidfile=None)
            try:
                done = run_podman(*argv[1:], timeout_s=_SMOKE_TIMEOUT_S + 30, env=self.env)
            except PodmanError as error:
                raise ImageError("smoke", f"the new image does not work: {error}") from error
        if not done.stdout.startswith(self.cli_version):
            found = (done.stdout.split() or ["nothing"])[0]
            detail = f"the program says it is {found}, not {self.cli_version}"
            mend = f"remove {self.cache_dir}/claude-{self.cli_version} and build again"
            raise ImageError("smoke", detail, mend)

    def _name(self, image: str) -> None:
        before = ""
        if image_exists(self.tag, self.env):
            before = self._podman("image", "inspect", "--format={{.Id}}", self.tag).strip()
        self._podman("tag", image, self.tag)
        if before and not image.startswith(before) and not before.startswith(image):
            self._drop(before)

    def _drop(self, image: str) -> None:
        """Remove an image that has no name any more; one that a container still uses stays."""
        try:
            self._podman("image", "rm", image)
        except PodmanError as error:
            _log.info("image %s stays: %s", image, error)

    @contextlib.contextmanager
    def _folder(self) -> Generator[Path]:
        with tempfile.TemporaryDirectory(dir=self.cache_dir, prefix=SCRATCH_PREFIX) as folder:
            yield Path(folder)

    def _clear_scratch(self) -> None:
        # What a build that was killed has left; the lock says that no other one is at work.
        for folder in self.cache_dir.glob(f"{SCRATCH_PREFIX}*"):
            shutil.rmtree(folder)

    def _refuse_small_disk(self) -> None:
        free = shutil.disk_usage(self.cache_dir).free
        if free < _NEEDED_BYTES:
            needed = _NEEDED_BYTES >> 20
            detail = f"{self.cache_dir} has {free >> 20} MB left; {needed} MB are needed"
            raise ImageError("build", detail, "free some space, or set storage.cache_dir")

    def _podman(self, *args: str) -> str:
        return run_podman(*args, timeout_s=_QUICK_TIMEOUT_S, env=self.env).stdout

    def _step(self, *args: str) -> str:
        try:
            return run_podman(*args, timeout_s=_BUILD_TIMEOUT_S, env=self.env).stdout
        except PodmanError as error:
            if error.kind == "podman_missing":
                raise
            raise ImageError("build", str(error), "run `understudy doctor`") from error


def _system_version() -> str:
    names = ("/etc/os-release", "/etc/debian_version")
    found = (Path(name) for name in names if Path(name).exists())
    return "\n".join(path.read_text(encoding="utf-8") for path in found)


@contextlib.contextmanager
def _lock(path: Path, progress: Callable[[str], object]) -> Generator[None]:
    """One build at a time on this cache. The kernel frees the lock of a process that died."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    told = False
    while True:
        fd, is_locked = try_lock(path)
        if is_locked:
            break
        os.close(fd)
        if time.monotonic() > deadline:
            raise ImageError("busy", f"another build holds {path}", "wait for it, or end it")
        if not told:
            progress("waiting for another build")
            told = True
        time.sleep(_LOCK_POLL_S)
    try:
        yield
    finally:
        os.close(fd)
