"""`python -m tests.faults.soak`: tasks come steadily while everything is killed, paused and cut.

Every 200 ms something bad happens; now and then the whole service is killed and started again. At
the end all must be done, nothing left, and every promise kept.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checker, victims
from .growth import Sample, not_flat, sample_of, summary_of
from .nemesis import Nemesis
from .plan import Plan
from .service import NotInTime, Service, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .points import Role

_STRIKE_S = 0.2
_SAMPLE_S = 1.0
_AGENTS = 3
_MAX_WAITING = 10
_LIVES = 5
_MIN_LIFE_S = 20.0
_SETTLE_S = 5.0
_DONE_S = 180.0
_LEFT_S = 60.0
_SAMPLED: tuple[Role, ...] = ("service", "fork server", "guard")
# In every second life these live long enough to tell whether they grow.
_SPARED: frozenset[Role] = frozenset({"fork server", "guard"})
_QUICK = '@@ [{"delay": 0.05, "text": "done"}] @@'
_WRITES = '@@ [{"tool": "Bash", "input": {"command": "echo x > f; sleep 0.3"}}, {"text": "ok"}] @@'
# Longer than a pause, so that a paused process is not taken for a hung one.
_SETTINGS = {"agent.health_check_interval": "5", "task_queue.max_size": "1000"}


@dataclass
class Soak:
    """One run."""

    service: Service
    plan: Plan
    nemesis: Nemesis
    chance: random.Random
    # The samples of each process, by its part and its id.
    lives: list[dict[str, list[Sample]]] = field(default_factory=list[dict[str, list[Sample]]])
    faults: list[str] = field(default_factory=list[str])
    runs: set[str] = field(default_factory=set[str])
    dead_left_s: list[float] = field(default_factory=list[float])
    refused: int = 0
    _born: float = 0.0
    _seen: dict[str, float] = field(default_factory=dict[str, float])

    def run(self, duration_s: float) -> None:
        """Strike for that long, then see that all is done and nothing left."""
        ends = time.monotonic() + duration_s
        life_s = max(_MIN_LIFE_S, duration_s / _LIVES)
        while time.monotonic() < ends:
            self._start()
            self._live(min(ends, time.monotonic() + life_s))
            if time.monotonic() < ends:
                self._kill_service()
        self.nemesis.wake(everybody=True)
        self._end()

    def _start(self) -> None:
        plan_file = self.plan.save()
        if not self.service.start(plan_file, agents=_AGENTS):
            raise AssertionError(f"the service does not start; see {self.service.log}")
        self._born = time.monotonic()
        self.lives.append({})
        self.nemesis.spared = _SPARED if len(self.lives) % 2 else frozenset()
        old, self.runs = set(self.runs), self.runs | self.service.runs()
        if old:
            self._await_sweep(old)

    def _await_sweep(self, old: set[str]) -> None:
        """What the dead left goes with the next start at the latest."""
        try:
            took_s = wait_for(lambda: not self.service.containers(old & self._dead()), _LEFT_S, "")
            self.dead_left_s.append(took_s)
        except NotInTime:
            left = self.service.containers(old)
            self.faults.append(f"containers of dead runs are left: {left}")

    def _dead(self) -> set[str]:
        return self.runs - {self._newest_run()}

    def _newest_run(self) -> str:
        folder = self.service.home / "state" / "understudy" / "runs"
        return max(self.service.runs(), key=lambda run: (folder / run).stat().st_ctime_ns)

    def _live(self, until: float) -> None:
        sampled = 0.0
        while (now := time.monotonic()) < until and self.service.is_alive:
            self.nemesis.wake()
            self._submit()
            self.nemesis.strike()
            self._check_single_lives()
            if now - sampled >= _SAMPLE_S:
                sampled = now
                self._sample()
            time.sleep(max(0.0, _STRIKE_S - (time.monotonic() - now)))
        if not self.service.is_alive:
            self.faults.append(f"the service ended by itself; see {self.service.log}")

    def _submit(self) -> None:
        if self.service.unfinished() >= _MAX_WAITING:
            return
        kind = self.chance.choice(("generic", "generic", "code_review"))
        text = self.chance.choice((_QUICK, _WRITES)) if kind == "generic" else "Review it"
        files = ["a.py"] if kind == "code_review" else []
        repo = str(self.service.home / "repo")
        if self.service.submit(text, task_type=kind, files=files, repo=repo) is None:
            self.refused += 1

    def _check_single_lives(self) -> None:
        """At most one living process for each agent of the present service."""
        if time.monotonic() - self._born < _SETTLE_S:
            return
        agents = self.nemesis.parts().get("agent", [])
        # A program that an agent starts has its name until it becomes that program.
        own = [pid for pid in agents if victims.parent_of(pid) not in agents]
        counts = collections.Counter(victims.name_of(pid) for pid in own)
        if twice := [name for name, count in counts.items() if name and count > 1]:
            self.faults.append(f"incarnations lived at once: {twice}, {victims.shown(own)}")

    def _sample(self) -> None:
        assert self.service.process is not None
        parts = self.nemesis.parts()
        # What it starts has its command line until it becomes another program.
        parts["service"] = [self.service.process.pid]
        for role in _SAMPLED:
            for pid in parts.get(role, []):
                self._sample_one(f"{role} {pid}", pid)

    def _sample_one(self, name: str, pid: int) -> None:
        now = time.monotonic()
        first = self._seen.setdefault(name, now)
        with contextlib.suppress(OSError):
            self.lives[-1].setdefault(name, []).append(sample_of(pid, now - first))

    def _kill_service(self) -> None:
        """A socket goes first, which nothing but a new service makes good."""
        self.nemesis.remove_a_socket()
        time.sleep(_SETTLE_S / 2)
        self.nemesis.wake(everybody=True)
        assert self.service.process is not None
        self.service.process.kill()
        self.service.process.wait(_LEFT_S)
        self.nemesis.done["service killed"] += 1

    def _end(self) -> None:
        if not self.service.is_alive:
            self._start()
        wait_for(lambda: self.service.unfinished() == 0, _DONE_S, "all tasks are done")
        code = self.service.end()
        if code != 0:
            self.faults.append(f"the service ended with {code}")
        wait_for(lambda: not self.service.left(), _LEFT_S, "nothing is left at the end")
        if left := self.service.containers(self.runs):
            self.faults.append(f"containers left at the end: {left}")
        journal = self.plan.ordered("order", "recorded")
        told = self.service.acknowledged
        self.faults += checker.faults_in(
            self.service.database, told, journal, may_fail=checker.NOT_THE_SERVICES_FAULT
        )
        self.faults += [
            f"{name}: {fault}"
            for life in self.lives
            for name, samples in life.items()
            for fault in not_flat(samples)
        ]


def soak(duration_s: float, seed: int, env: Mapping[str, str]) -> dict[str, Any]:
    """Run it; the summary, whose `faults` are empty when every promise was kept."""
    home = Path(tempfile.mkdtemp(prefix="us-soak-", dir="/tmp"))
    home.chmod(0o711)
    for name in ("run", "repo"):
        (home / name).mkdir(mode=0o755)
    (home / "repo" / "a.py").write_text("print(eval(input()))\n", encoding="utf-8")
    service = Service(home, home / "run", _SETTINGS, env)
    chance = random.Random(seed)  # noqa: S311 - no secret
    run = Soak(service, Plan(str(home), ()), Nemesis(service, chance), chance)
    started = time.monotonic()
    try:
        run.run(duration_s)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        run.faults.append(str(error))
    finally:
        service.kill_all()
    if run.faults:
        run.faults.append(f"see {home}")
    found = results(run, seed, time.monotonic() - started)
    if not run.faults:
        shutil.rmtree(home)
    return found


def results(run: Soak, seed: int, took_s: float) -> dict[str, Any]:
    """The summary."""
    database = run.service.database
    return {
        "seed": seed,
        "seconds": round(took_s),
        "strikes": dict(run.nemesis.done.most_common()),
        "acknowledged": len(run.service.acknowledged),
        "submits_unanswered": run.refused,
        "ended": checker.ends(database) if database.exists() else {},
        "runs_of_tasks": len(run.plan.journal("order")),
        "swept_after_start_s": [round(took, 2) for took in run.dead_left_s],
        "lives": [_long_ones(life) for life in run.lives],
        "faults": run.faults,
    }


def _long_ones(life: dict[str, list[Sample]]) -> dict[str, dict[str, float]]:
    found = {name: summary_of(samples) for name, samples in life.items()}
    return {name: summary for name, summary in found.items() if summary}


def main() -> int:
    """Soak for DURATION_S seconds; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    duration_s = float(os.environ.get("DURATION_S", "1200"))
    parser.add_argument("--seconds", type=float, default=duration_s, help="DURATION_S; 20 minutes")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--json", type=Path, help="write the summary there, too")
    args = parser.parse_args()
    sys.stdout.write(f"seed {args.seed}\n")
    sys.stdout.flush()
    text = json.dumps(found := soak(args.seconds, args.seed, os.environ), indent=1) + "\n"
    sys.stdout.write(text)
    if args.json:
        args.json.write_text(text, encoding="utf-8")
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
