"""What was measured on, and when."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

_LIBRARIES = ("understudy", "pykka", "msgpack", "msgspec", "ormsgpack")


def machine() -> dict[str, Any]:
    """CPU, memory, kernel, versions, date."""
    total_kb = int(_first(Path("/proc/meminfo"), "MemTotal").split()[0])
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": _first(Path("/proc/cpuinfo"), "model name"),
        "cpus": os.cpu_count(),
        "memory_gb": round(total_kb * 1024 / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "podman": _podman(),
        "libraries": {name: _version(name) for name in _LIBRARIES if _version(name)},
    }


def peer_versions(python: Path, names: list[str]) -> dict[str, str]:
    """The versions of these distributions in another environment, as far as they are there."""
    code = (
        "import sys\nfrom importlib import metadata\nfor name in sys.argv[1:]:\n"
        "    try: print(name, metadata.version(name))\n"
        "    except metadata.PackageNotFoundError: pass"
    )
    done = subprocess.run(
        [str(python), "-c", code, *names], capture_output=True, text=True, timeout=60, check=True
    )
    return dict(line.split() for line in done.stdout.splitlines())


def _first(path: Path, name: str) -> str:
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0 unknown"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _podman() -> str:
    try:
        done = subprocess.run(
            ["podman", "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
