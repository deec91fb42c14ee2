"""`python -m tests.faults.kills`: tasks of several steps, and at random moments a kill.

A CLI, a container, an agent, an agent that hangs and must be replaced, or the whole service, which
is started again. Every step of a task leaves a line in a file: what was lost or done twice is seen
in what the task delivers.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import json
import os
import random
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.fakeapi import FakeApiThread

from . import checker, victims
from .plan import Plan
from .service import NotInTime, Service, load_factor, wait_for
from .step_model import FILE, StepModel, order, said_at_the_end
from .twins import Twins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .points import Role

KINDS = ("cli", "container", "agent", "hung agent", "service")
_AGENTS = 2
_AT_ONCE = 3
_STEPS = 6
# A kill hits anything between a step that begins and the next one.
_MAX_WAIT_S = 1.5
_VICTIM_S = 30.0
_REPLACED_S = 15.0
_DONE_S = 180.0
_LEFT_S = 60.0
# An agent that hangs is found within one and a half of the interval.
_SETTINGS = {"agent.health_check_interval": "2"}


@dataclass(frozen=True)
class Finding:
    """A promise that was broken.

    Attributes:
        kind: which; the same word for the same promise.
        detail: what was seen.
        task: whose it was, if it was one's.
    """

    kind: str
    detail: str
    task: str | None = None


@dataclass
class Run:
    """One run."""

    service: Service
    plan: Plan
    model: StepModel
    chance: random.Random
    done: collections.Counter[str] = field(default_factory=collections.Counter[str])
    findings: list[Finding] = field(default_factory=list[Finding])
    names: dict[str, str] = field(default_factory=dict[str, str])
    lines: collections.Counter[str] = field(default_factory=collections.Counter[str])
    _runs: set[str] = field(default_factory=set[str])

    def run(self, kills: int) -> None:
        """Kill so often, then have all done, and see what came of it."""
        self._start()
        for kind in itertools.islice(self._kinds(), kills):
            self._submit()
            self._kill(kind, self.chance.uniform(0.0, _MAX_WAIT_S))
        self._end()

    def _kinds(self) -> Iterator[str]:
        """At random, but each before one of them comes again."""
        while True:
            yield from self.chance.sample(KINDS, len(KINDS))

    def _start(self) -> None:
        if not self.service.start(self.plan.save(), agents=_AGENTS):
            raise AssertionError(f"the service does not start; see {self.service.log}")
        self._runs |= self.service.runs()

    def _submit(self) -> None:
        """Have enough to do at any moment."""
        while self.service.unfinished() < _AT_ONCE:
            name = f"task-{len(self.names) + 1}"
            repo = str(self.service.home / "repo")
            task_id = self.service.submit(order(name, _STEPS), repo=repo)
            if task_id is None:
                raise AssertionError(f"{name} is not taken; see {self.service.log}")
            self.names[task_id] = name

    # -- kills --------------------------------------------------------------------------------

    def _kill(self, kind: str, wait_s: float) -> None:
        """Wait for somebody to kill, then a moment, then do it."""
        found = list[int]()
        while not found:
            limit_s = _VICTIM_S * load_factor()
            wait_for(lambda: self._candidates(kind), limit_s, f"there is a {kind} to kill")
            time.sleep(wait_s)
            found = self._candidates(kind)
        pid = self.chance.choice(found)
        self.done[kind] += 1
        {"hung agent": self._hang, "service": self._kill_service}.get(kind, victims.kill)(pid)

    def _candidates(self, kind: str) -> list[int]:
        if kind == "service":
            return [self.service.process.pid] if self.service.process else []
        role: Role = "agent" if "agent" in kind else "cli"
        pids = victims.with_role(self.service.home, role)
        # What they start has their name for a moment.
        own = [pid for pid in pids if victims.parent_of(pid) not in pids]
        if kind != "container":
            return own
        # The first process of a container is the CLI's parent.
        firsts = {victims.parent_of(pid) for pid in own}
        return sorted(firsts & set(self.service.processes()))

    def _hang(self, pid: int) -> None:
        victims.kill(pid, signal.SIGSTOP)
        try:
            limit_s = _REPLACED_S * load_factor()
            wait_for(
                lambda: not victims.command_of(pid), limit_s, "an agent that hangs is replaced"
            )
        except NotInTime as error:
            self.findings.append(Finding("hung", str(error)))
            victims.kill(pid, signal.SIGCONT)

    def _kill_service(self, pid: int) -> None:
        victims.kill(pid)
        assert self.service.process is not None
        self.service.process.wait(_LEFT_S)
        self._start()

    # -- the end ------------------------------------------------------------------------------

    def _end(self) -> None:
        done_s = _DONE_S * load_factor()
        wait_for(lambda: self.service.unfinished() == 0, done_s, "all tasks are done")
        code = self.service.end()
        if code != 0:
            self._find("service", f"it ended with {code}; see {self.service.log}")
        with contextlib.suppress(NotInTime):
            wait_for(lambda: not self.service.left(), _LEFT_S, "")
        for left in victims.shown(self.service.left()):
            self._find("process left", left)
        for name in self.service.containers(self._runs):
            self._find("container left", name)
        journal = self.plan.ordered("order", "recorded")
        for fault in checker.faults_in(self.service.database, self.names, journal):
            self._find("promise", fault)
        for task_id, result in checker.results(self.service.database).items():
            self._check(task_id, result)

    def _check(self, task_id: str, result: dict[str, Any]) -> None:
        """The task's file has each line once, and its answer is the model's last."""
        name = self.names[task_id]
        if result["status"] != "success":
            return  # told with its reason by the checker
        if result["result"]["output"] != said_at_the_end(name, _STEPS):
            self._find("answer", result["result"]["output"], name)
        lines = self._lines(result["branch"])
        counts = collections.Counter(lines)
        wanted = [str(number) for number in range(1, _STEPS + 1)]
        wrong = {
            "lost": [line for line in wanted if not counts[line]],
            "done again": [line for line in wanted if counts[line] > 1],
        }
        for kind, steps in wrong.items():
            self.lines[kind] += len(steps)
            if steps:
                self._find(kind, f"steps {steps}, delivered {lines}", name)

    def _lines(self, branch: str | None) -> list[str]:
        """What the task delivers."""
        if branch is None:
            return []
        command = ["git", "-C", str(self.service.home / "repo"), "show", f"{branch}:{FILE}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout.split()

    def _find(self, kind: str, detail: str, task: str | None = None) -> None:
        self.findings.append(Finding(kind, detail, task))


def kills(number: int, seed: int, env: Mapping[str, str]) -> tuple[dict[str, Any], list[Finding]]:
    """Do it in a home of its own, which stays when something was found; summary and findings."""
    home = a_home()
    model, chance = StepModel(), random.Random(seed)  # noqa: S311 - no secret
    started = time.monotonic()
    with FakeApiThread(model=model) as api:
        api_env = {**env, "ANTHROPIC_BASE_URL": api.url, "ANTHROPIC_API_KEY": "any"}
        service = Service(home, home / "run", _SETTINGS, api_env, options=())
        run = Run(service, Plan(str(home), ()), model, chance)
        with Twins(home, victims.all_processes()) as twins:
            try:
                run.run(number)
            except (AssertionError, OSError, sqlite3.Error, subprocess.SubprocessError) as error:
                run.findings.append(Finding("course", str(error)))
            finally:
                service.kill_all()
    run.findings += [Finding("two CLIs", text) for text in twins.seen.values()]
    took_s = round(time.monotonic() - started)
    figures = {"seed": seed, "seconds": took_s, **summary(run, twins)}
    if run.findings:
        figures["home"] = str(home)
    else:
        shutil.rmtree(home)
    return figures, run.findings


def a_home() -> Path:
    """A folder for a service, with a repository to work on."""
    home = Path(tempfile.mkdtemp(prefix="us-kills-", dir="/tmp"))
    home.chmod(0o711)
    for name in ("run", "repo"):
        (home / name).mkdir(mode=0o755)
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "start"]):
        subprocess.run(["git", *command], cwd=home / "repo", check=True, timeout=30)
    return home


def summary(run: Run, twins: Twins) -> dict[str, Any]:
    """The figures of a run."""
    kinds = collections.Counter(finding.kind for finding in run.findings)
    database = run.service.database
    return {
        "kills": dict(run.done.most_common()),
        "tasks": len(run.names),
        "ended": checker.ends(database) if database.exists() else {},
        "runs_of_tasks": len(run.plan.journal("order")),
        "lines_lost": run.lines["lost"],
        "lines_done_again": run.lines["done again"],
        "conversations_went_back": dict(sorted(run.model.went_back.items())),
        "two_clis": len(twins.seen),
        "looks_for_two_clis": twins.looks,
        "left": kinds["process left"] + kinds["container left"],
        "lives_of_the_service": run.service.lives,
        "findings": len(run.findings),
    }


def main() -> int:
    """Kill N times; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills", description=__doc__)
    default = int(os.environ.get("KILLS", "100"))
    parser.add_argument("--kills", type=int, default=default, help="how many (KILLS, 100)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    args = parser.parse_args()
    sys.stdout.write(f"seed {args.seed}\n")
    sys.stdout.flush()
    figures, findings = kills(args.kills, args.seed, os.environ)
    for line in [*map(asdict, findings), figures]:
        sys.stdout.write(json.dumps(line) + "\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
