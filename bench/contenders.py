"""Who is measured: each contender a program of its own, which does one job and prints numbers."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.isolate import run
from bench.messaging.program import NOT_INSTALLED

if TYPE_CHECKING:
    from bench.messaging.job import Job
    from bench.rounds import Measure

ROOT = Path(__file__).resolve().parent.parent
PEERS_VENV = ROOT / ".venv-bench"

_LIMIT_S = 60.0
_LEAST = 20
# A number of processes, seconds and depths is the question itself and stays the same for all.
_UNSCALED = ("spawn", "stop", "depth", "actors", "overload")


@dataclass(frozen=True)
class Contender:
    """One way to pass messages.

    Attributes:
        module: its program.
        what: what receives the messages.
        variant: the program's argument of that name.
        distribution: what has to be installed for it, in the peers' environment.
        scale: slow ones do this share of a job, so that a round takes seconds.
        waits: its processes wait for their children, so that their CPU time is known as ours.
    """

    module: str
    what: str
    variant: str = ""
    distribution: str = ""
    scale: float = 1.0
    waits: bool = True

    def fitted(self, job: Job) -> Job:
        """The job in the size this contender does it."""
        if job.kind in _UNSCALED or self.scale == 1:
            return job
        return replace(job, n=max(min(job.n, _LEAST), int(job.n * self.scale)))

    def command(self, job: Job, peers_python: Path | None, cpu: int | None) -> list[str]:
        """What runs it."""
        python = str(peers_python) if self.distribution else sys.executable
        pinned = [] if cpu is None else [f"--cpu={cpu}"]
        text = self.fitted(job).to_json()
        return [python, "-m", self.module, text, f"--variant={self.variant}", *pinned]


_OURS = "bench.messaging.ours"
_ACTOR = "actor in a process of its own"
_LOOP = "bare loop"

CONTENDERS = {
    "understudy": Contender(_OURS, _ACTOR),
    "understudy-peers": Contender(_OURS, _ACTOR + ", the sender too", "peers"),
    "understudy-msgpack": Contender(_OURS, _ACTOR + ", msgpack alone", "msgpack"),
    "understudy-local": Contender(_OURS, "actor in the sender's process", "local"),
    "pykka": Contender("bench.messaging.stock", "actor in the sender's process"),
    "raw": Contender("bench.messaging.raw", "bytes, no codec"),
    "mp-pipe": Contender("bench.messaging.pipe", _LOOP + ", pickle"),
    "mp-spawn": Contender("bench.messaging.pipe", _LOOP, "spawn"),
    "mp-forkserver": Contender("bench.messaging.pipe", _LOOP, "forkserver"),
    "pyzmq": Contender("bench.peers.zmq_peer", _LOOP + ", msgpack", "msgpack", "pyzmq"),
    "pyzmq-msgspec": Contender("bench.peers.zmq_peer", _LOOP + ", msgspec", "msgspec", "pyzmq"),
    "pynng": Contender("bench.peers.nng_peer", _LOOP + ", msgpack", "", "pynng", 0.3),
    "xoscar": Contender("bench.peers.xoscar_peer", _ACTOR + ", the sender too", "", "xoscar", 0.2),
    "thespian-udp": Contender(
        "bench.peers.thespian_peer", _ACTOR + ", the sender too",
        "multiprocUDPBase", "thespian", 0.05,
    ),
    "thespian-tcp": Contender(
        "bench.peers.thespian_peer", _ACTOR + ", the sender too",
        "multiprocTCPBase", "thespian", 0.02,
    ),
    "ray": Contender(
        "bench.peers.ray_peer", _ACTOR + ", the sender too", "", "ray", 0.05, waits=False
    ),
}  # fmt: skip


def measure_with(name: str, job: Job, peers_python: Path | None, cpu: int | None) -> Measure:
    """What measures a contender once, in fresh processes."""
    command = CONTENDERS[name].command(job, peers_python, cpu)
    limit_s = _LIMIT_S + 3 * job.seconds
    return partial(measure_program, name, command, limit_s)


def measure_program(name: str, command: list[str], limit_s: float) -> dict[str, float]:
    """Run a program and read the numbers it prints.

    Raises:
        BenchError: it failed, hung, or printed something else.
    """
    # Its children find the actors' classes by name, from whatever folder they work in.
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = run(command, limit_s=limit_s, cwd=ROOT, env=env)
    if ended.code is None:
        raise BenchError(f"{name} took more than {limit_s:.0f} s and was ended")
    last = (ended.error.splitlines() or ["no message"])[-1]
    if ended.code == NOT_INSTALLED:
        raise BenchError(last)
    if ended.code != 0:
        raise BenchError(f"{name} ended with code {ended.code}: {last}")
    values = read_values(name, ended.out)
    return {**values, "left_processes": len(ended.left)} if ended.left else values


def read_values(name: str, text: str) -> dict[str, float]:
    """The numbers in a program's last line.

    Raises:
        BenchError: there are none.
    """
    try:
        found = json.loads(text.strip().splitlines()[-1])
        return {str(key): float(value) for key, value in found.items()}
    except (IndexError, ValueError, AttributeError, TypeError) as error:
        raise BenchError(f"{name} printed no numbers but {text[-100:]!r} ({error})") from None
