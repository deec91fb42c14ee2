"""The Claude Code program of one version, from the package registries, kept in the cache."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..errors import ImageError
from ..releases import DEFAULT_CLI_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Folders of this name in the cache belong to a download or build that is under way, or was killed.
SCRATCH_PREFIX = "scratch-"

_ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}
_VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?")
_DOWNLOAD_TIMEOUT_S = 900.0
_VERSION_TIMEOUT_S = 60.0
_NO_SUCH_VERSION = re.compile(r"ETARGET|E404|No matching (version|distribution)")
_NPM_FIELD = re.compile(r"npm (error|ERR!) (code|syscall|errno|type)\b")
_MEND_OFFLINE = "check the network and npm's registry setting, or copy the program to {path}"


def cli_binary(
    version: str,
    cache_dir: Path,
    *,
    env: Mapping[str, str],
    progress: Callable[[str], object],
) -> Path:
    """The program of that version: from the cache, else from npm, without npm from PyPI. Blocks.

    Raises:
        ImageError: unsupported_machine, missing_tool, no_such_version or download.
    """
    if _VERSION.fullmatch(version) is None:
        detail = f"{version!r} is no version such as {DEFAULT_CLI_VERSION}"
        raise ImageError("no_such_version", detail)
    architecture = _ARCHITECTURES.get(platform.machine())
    if architecture is None:
        detail = f"Claude Code is not built for {platform.machine()}"
        raise ImageError("unsupported_machine", detail, "use x86_64 or aarch64")
    path = cache_dir / f"claude-{version}"
    if path.exists():
        return path
    cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    has_npm = shutil.which("npm", path=env.get("PATH")) is not None
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=SCRATCH_PREFIX) as folder:
        if has_npm:
            new = _from_npm(version, architecture, Path(folder), env, progress, path)
        else:
            new = _from_pypi(version, Path(folder), env, progress)
        new.chmod(0o755)
        new.replace(path)
    return path


def _from_npm(
    version: str,
    architecture: str,
    folder: Path,
    env: Mapping[str, str],
    progress: Callable[[str], object],
    path: Path,
) -> Path:
    # The package for one architecture holds the program alone: no Node, no install script. npm
    # checks its sum.
    package = f"@anthropic-ai/claude-code-linux-{architecture}@{version}"
    progress(f"downloading {package}")
    quick = ["--loglevel=error", "--fetch-retries=1", "--fetch-retry-maxtimeout=10000"]
    done = _run(["npm", "pack", *quick, package], folder, env)
    if done.returncode:
        raise _refused(package, done.stderr, _MEND_OFFLINE.format(path=path))
    archive = next(folder.glob("*.tgz"))
    with tarfile.open(archive) as tar:
        return _unpack(tar.extractfile("package/claude"), folder)


def _from_pypi(
    version: str, folder: Path, env: Mapping[str, str], progress: Callable[[str], object]
) -> Path:
    # The wheel of the Agent SDK carries a program whose version is not the wheel's: the newest is
    # taken and looked at.
    progress("no npm here: downloading claude-agent-sdk from PyPI, which carries the program")
    pip = _pip(env)
    args = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "claude-agent-sdk"]
    done = _run([*pip, *args], folder, env)
    if done.returncode:
        raise _refused("claude-agent-sdk", done.stderr, "install npm, or check the network")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        name = next((n for n in wheel.namelist() if n.endswith("_bundled/claude")), None)
        new = _unpack(wheel.open(name) if name else None, folder)
    new.chmod(0o755)
    found = _version_of(new)
    if found != version:
        detail = f"PyPI gives Claude Code {found}, not {version}"
        mend = f"install npm, or set agent.cli_version to {found}"
        raise ImageError("no_such_version", detail, mend)
    return new


def _unpack(source: IO[bytes] | None, folder: Path) -> Path:
    if source is None:
        raise ImageError("download", "the package holds no program", "try another version")
    new = folder / "claude.new"
    with source as packed, new.open("wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
    return new


def _pip(env: Mapping[str, str]) -> list[str]:
    for candidate in ([sys.executable, "-m", "pip"], ["pip3"]):
        if shutil.which(candidate[0], path=env.get("PATH")) is None:
            continue
        if _run([*candidate, "--version"], Path.cwd(), env).returncode == 0:
            return candidate
    raise ImageError("missing_tool", "neither npm nor pip is installed", "install npm")


def _version_of(program: Path) -> str:
    done = subprocess.run(
        [program, "--version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_VERSION_TIMEOUT_S,
    )
    return (done.stdout.split() or ["unknown"])[0]


def _run(
    argv: Sequence[str], folder: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            cwd=folder,
            env=dict(env),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_DOWNLOAD_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        detail = f"{argv[0]} did not end within {_DOWNLOAD_TIMEOUT_S:g} s"
        raise ImageError("download", detail, "check the network") from None


def _refused(package: str, stderr: str, mend: str) -> ImageError:
    if _NO_SUCH_VERSION.search(stderr):
        detail = f"the registry has no {package}"
        return ImageError("no_such_version", detail, "set agent.cli_version to one that is there")
    return ImageError("download", f"{package} could not be downloaded: {_reason(stderr)}", mend)


def _reason(stderr: str) -> str:
    """The one line of npm's or pip's many that says what happened."""
    lines = [line for line in stderr.splitlines() if "error" in line.lower()]
    telling = [line for line in lines if not _NPM_FIELD.match(line)]
    return (telling or lines or [stderr.strip()])[0][:300]
