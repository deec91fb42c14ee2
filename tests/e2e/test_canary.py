"""A key that is known is looked for everywhere, while a fleet works with it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes.program import CANARY, Program

from understudy.fakeapi import FakeApiThread

pytestmark = [pytest.mark.podman, pytest.mark.timeout(180)]

WORK = '@@ [{"tool":"Bash","input":{"command":"sleep 30; echo x"}},{"text":"done"}] @@'
KEY = CANARY.encode()
PAGE = os.sysconf("SC_PAGESIZE")


@pytest.fixture
def api() -> Iterator[FakeApiThread]:
    """A scripted model that wants the canary."""
    with FakeApiThread(require_key=CANARY) as made:
        yield made


def family(service: int) -> dict[int, str]:
    """All processes of the service but itself, those in containers too, and what each is."""
    parent = psutil.Process(service)
    found: dict[int, str] = {}
    for child in parent.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            found[child.pid] = child.name()
    for conmon in psutil.process_iter(["name", "cmdline"]):
        words: list[str] = conmon.info["cmdline"] or []
        if conmon.info["name"] == "conmon" and "understudy" in " ".join(words):
            found |= {p.pid: p.name() for p in (conmon, *conmon.children(recursive=True))}
    return found


def holds(pid: int) -> list[str]:
    """Where a process has the key: its environment, its arguments, its memory."""
    places: list[str] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        names = ("environ", "cmdline")
        places += [name for name in names if KEY in Path(f"/proc/{pid}/{name}").read_bytes()]
        if any(KEY in piece for piece in memory(pid)):
            places.append("memory")
    return places


def memory(pid: int) -> Iterator[bytes]:
    """All that a process has written to its memory: areas without a hole, page by page."""
    areas = re.findall(r"(?m)^([0-9a-f]+)-([0-9a-f]+) rw", Path(f"/proc/{pid}/maps").read_text())
    with (
        open(f"/proc/{pid}/mem", "rb", buffering=0) as mem,  # noqa: PTH123 - no buffer
        open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap,  # noqa: PTH123 - likewise
    ):
        for start, end in ((int(a, 16), int(b, 16)) for a, b in areas):
            entries = os.pread(pagemap.fileno(), (end - start) // PAGE * 8, start // PAGE * 8)
            # Of each entry the last byte says whether the page is present, or swapped out.
            for run in re.finditer(rb"[\x40-\xff]+", entries[7::8]):
                with contextlib.suppress(OSError):  # the kernel's own
                    size = (run.end() - run.start()) * PAGE
                    yield os.pread(mem.fileno(), size, start + run.start() * PAGE)


def files_with_key(*folders: Path) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                with contextlib.suppress(FileNotFoundError):
                    if KEY in path.read_bytes():
                        found.append(path)
    return found


def test_the_key_is_with_the_gateway_alone_while_a_fleet_works(
    program: Program, api: FakeApiThread, home: Path, until: Callable[..., Any]
) -> None:
    program.env |= {"ANTHROPIC_API_KEY": CANARY, "ANTHROPIC_BASE_URL": api.url}
    service = program.serve("--agents", "2")
    task = program.run("submit", WORK).out.strip()
    until(
        lambda: any(request.get("path", "").startswith("/v1/messages") for request in api.requests)
    )
    status = program.run("status", "--json")
    gateway = status.json["services"]["gateway"]["pid"]
    processes = family(service.pid)
    assert {agent["pid"] for agent in status.json["agents"].values()} <= set(processes)
    assert "claude" in processes.values()
    found = {f"{name} ({pid})": holds(pid) for pid, name in processes.items() if pid != gateway}
    assert {name: places for name, places in found.items() if places} == {}
    # The search finds what is there: the gateway has the key in its memory alone, the service in
    # the environment that it was started with.
    assert holds(gateway) == ["memory"]
    assert "environ" in holds(service.pid)
    for pid in (service.pid, gateway):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"(?m)^Max core file size +[01] +[01] ", limits), limits
    runtime = Path(program.env["XDG_RUNTIME_DIR"])
    assert files_with_key(home, runtime) == []
    said = [status, *(program.run(*words) for words in COMMANDS), program.run("logs", task)]
    assert [done for done in said if CANARY in done.out + done.err] == []
    assert CANARY not in podman("events", "--stream=false", "--since=10m", "--format=json")
    for container in podman("ps", "-q", "--filter=label=understudy.run").split():
        assert CANARY not in podman("inspect", container)
    program.run("cancel", task)
    done = program.end(service)
    assert CANARY not in done.out + done.err
    assert files_with_key(home, runtime) == []


COMMANDS = (
    ("config", "show", "--json"),
    ("tasks", "--json"),
    ("tree", "--json"),
    ("doctor", "--json"),
    ("logs", "gateway"),
    ("audit", "agent_000", "--json"),
)


@pytest.mark.parametrize("key", [f"{CANARY}\nx", f"{CANARY} x", f"{CANARY}\u00e4"])
def test_a_key_that_cannot_be_used_is_refused_and_not_shown(program: Program, key: str) -> None:
    program.env["ANTHROPIC_API_KEY"] = key
    for words in (("run", "x"), ("serve",), ("config", "show"), ("doctor",)):
        done = program.run(*words)
        assert CANARY not in done.out + done.err
    assert done.code in (0, 2, 3)


def podman(*args: str) -> str:
    done = subprocess.run(["podman", *args], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout
