"""How soon a turn is over that is interrupted, and one whose stream stands still.

`python -m bench.turns` runs the real CLI in a container of the fleet's kind before the scripted
model, which says half an answer and then nothing more. Interrupt: from the call of `cancel` until
the CLI's result is read and the turn over. Hung stream: from the model's last byte until the turn
is given up, interrupted and over, less the stall time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.machine import machine
from understudy.actors.claude import ClaudeClient
from understudy.actors.claude.argv import CLI_ENV, CliRole, cli_argv
from understudy.actors.claude.errors import TurnCancelled, TurnStalled
from understudy.actors.paths import cache_dir
from understudy.actors.podman import (
    CONTAINER_GID,
    CONTAINER_UID,
    Container,
    ContainerSpec,
    container_name,
    ensure_image,
    podman_env,
)
from understudy.actors.releases import DEFAULT_CLI_VERSION
from understudy.fakeapi import FakeApiThread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_READY_S = 60.0
_TURN_S = 120.0
# Until the half that the model has said has come through the CLI.
_SAID_S = 0.3
_HALF = json.dumps([{"text": "half", "hang": 100, "at": "mid"}])
_PROMPT = f"@@ {_HALF} @@"
_INTERRUPT_GOAL_MS, _HUNG_GOAL_MS = 100.0, 1000.0


def _spec(folder: Path, image: str) -> ContainerSpec:
    folders = {name: folder / name for name in ("home", "work", "s")}
    for made in folders.values():
        made.mkdir()
        if os.geteuid() == 0:
            os.chown(made, CONTAINER_UID, CONTAINER_GID)
    return ContainerSpec(
        name=container_name(f"b{os.getpid()}", "turns", 1, 1),
        image=image,
        command=cli_argv(CliRole((), model="claude-sonnet-4-5"), session_id=None),
        home_dir=folders["home"],
        work_dir=folders["work"],
        socket_dir=folders["s"],
        memory="1g",
        env=CLI_ENV,
    )


@contextmanager
def a_talk(version: str) -> Generator[tuple[ClaudeClient, FakeApiThread]]:
    """A CLI that is ready, and the model that it asks."""
    env, cache = podman_env(cache_dir(os.environ)), cache_dir(os.environ)
    image = ensure_image(version, cache, env=env).tag
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="us-bench-", dir="/tmp"))
        spec = _spec(Path(folder), image)
        api = stack.enter_context(FakeApiThread(unix=Path(folder) / "s" / "api.sock"))
        container = stack.enter_context(Container(spec, env=env))
        pipes = (container.stdin, container.stdout, container.stderr)
        client = stack.enter_context(ClaudeClient(*pipes))
        client.initialize(_READY_S)
        yield client, api


def _until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + _TURN_S
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError("the CLI does not ask the model")
        time.sleep(0.005)


def _count(api: FakeApiThread, kind: str) -> int:
    return sum(entry["ev"] == kind for entry in api.requests)


def interrupted_s(client: ClaudeClient, api: FakeApiThread) -> float:
    """Seconds from an interrupt until the turn is over."""
    over: list[float] = []

    def turn() -> None:
        try:
            client.run_turn(_PROMPT, timeout_s=_TURN_S)
        except TurnCancelled:
            over.append(time.monotonic())

    asked = _count(api, "request")
    thread = threading.Thread(target=turn)
    thread.start()
    _until(lambda: _count(api, "request") > asked)
    time.sleep(_SAID_S)
    begun = time.monotonic()
    client.cancel()
    thread.join(_TURN_S)
    return over[0] - begun


def noticed_s(client: ClaudeClient, api: FakeApiThread, stall_s: float) -> float:
    """Seconds beyond the stall time until a turn whose stream stands still is over."""
    hangs, over = _count(api, "hang over"), 0.0
    try:
        client.run_turn(_PROMPT, timeout_s=_TURN_S, stall_s=stall_s)
    except TurnStalled:
        over = time.time()
    _until(lambda: _count(api, "hang over") > hangs)
    hang = [entry for entry in api.requests if entry["ev"] == "hang over"][-1]
    begun = float(hang["t"]) - float(hang["seconds"])
    return over - begun - stall_s


def _shown(values_s: list[float], goal_ms: float) -> dict[str, float]:
    values = sorted(value * 1e3 for value in values_s)
    return {
        "p50_ms": round(statistics.median(values), 1),
        "max_ms": round(values[-1], 1),
        "goal_ms": goal_ms,
    }


def measure(version: str, turns: int, stall_s: float) -> dict[str, Any]:
    """Both, in one talk."""
    with a_talk(version) as (client, api):
        interrupted = [interrupted_s(client, api) for _ in range(turns)]
        noticed = [noticed_s(client, api, stall_s) for _ in range(turns)]
    return {
        "what": "turns given up",
        "cli": version,
        "turns": turns,
        "interrupt_to_result": _shown(interrupted, _INTERRUPT_GOAL_MS),
        "hung_stream_over_stall_time": {"stall_s": stall_s, **_shown(noticed, _HUNG_GOAL_MS)},
        "machine": machine(),
    }


def main() -> None:
    """Parse the command line, measure, print one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m bench.turns", description=__doc__)
    parser.add_argument("--turns", type=int, default=20, help="of each kind")
    parser.add_argument("--stall", type=float, default=1.0, help="the stall time, in seconds")
    parser.add_argument("--cli", default=DEFAULT_CLI_VERSION, help="the release of Claude Code")
    args = parser.parse_args()
    print(json.dumps(measure(args.cli, args.turns, args.stall)), flush=True)


if __name__ == "__main__":
    main()
