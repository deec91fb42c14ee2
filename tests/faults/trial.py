"""One trial: killed at the points of a plan, one after the other; then all is checked."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checker, victims
from .plan import Plan
from .service import NotInTime, Service, load_factor, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

QUICK = '@@ [{"delay": 0.05, "text": "done"}] @@'
# Long enough to be in flight when its agent is killed or its service stopped.
SLOW = '@@ [{"delay": 0.8, "text": "done"}] @@'
_PASS_S = 40.0
_NAMED_S = 2.0
_END_S = 40.0
_DONE_S = 90.0
_FEW = 3
# What the guard has, from the death of the service to the last of its processes and containers.
GUARD_S = 2.0
# The guard looks on for three seconds more: podman clients may still have been at work.
_GUARD_LEAVES_S = 20.0
# What is left without a guard goes with the next start.
_SWEPT_S = 30.0


@dataclass
class Outcome:
    """What a trial has shown.

    Attributes:
        faults: promises that were broken.
        left_s: for each death of the service, seconds until nothing of it was left.
    """

    plan: Plan
    faults: list[str] = field(default_factory=list[str])
    left_s: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    took_s: float = 0.0

    def replay(self) -> str:
        """The command that does it again."""
        points = ",".join(map(str, self.plan.numbers))
        return f"python -m tests.faults --points {points} --seed {self.plan.seed}"

    def report(self) -> str:
        """The faults, with the points and the command."""
        return "\n".join([*self.faults, f"seed {self.plan.seed}; again: {self.replay()}"])


def run(
    numbers: Sequence[int],
    seed: int,
    *,
    light: bool,
    env: Mapping[str, str],
    guard_s: float = GUARD_S,
) -> Outcome:
    """Do the trial in a home of its own, which stays when something was wrong.

    `guard_s` is what the guard has on an idle machine.
    """
    home = Path(tempfile.mkdtemp(prefix="us-fault-", dir="/tmp"))
    home.chmod(0o711)
    run_dir = home / "run"
    run_dir.mkdir(mode=0o711)
    outcome = Outcome(Plan(str(home), tuple(numbers), seed, light))
    started = time.monotonic()
    trial = Trial(outcome, Service(home, run_dir, {}, env), guard_s)
    try:
        trial.run()
    except (AssertionError, OSError, sqlite3.Error, subprocess.SubprocessError) as error:
        outcome.faults.append(f"{trial.doing}: {error}")
    finally:
        trial.service.kill_all()
    outcome.took_s = time.monotonic() - started
    if outcome.faults:
        outcome.faults.append(f"see {home}")
    else:
        shutil.rmtree(home)
    return outcome


class Trial:
    """The course of one trial."""

    def __init__(self, outcome: Outcome, service: Service, guard_s: float = GUARD_S) -> None:
        self.outcome = outcome
        self.plan = outcome.plan
        self.service = service
        self._guard_s = guard_s
        self.doing = "before the first point"
        self._plan_file = self.plan.save()
        self._has_guard = True
        self._runs: set[str] = set()

    def run(self) -> None:
        """All points in order, then an undisturbed service that ends what is left to do."""
        for index in range(len(self.plan.numbers)):
            self.doing = str(self.plan.point(index))
            while (fired := self._fired(index)) is None:
                self._pass_point(index)
            self._after(index, fired)
        self.doing = "the last service, after all points"
        self._end_all()

    # -- one point ----------------------------------------------------------------------------

    def _pass_point(self, index: int) -> None:
        """Have the service do what leads to the point, until it has fired."""
        ends = time.monotonic() + _PASS_S * load_factor()
        while self.plan.armed() == index:
            if time.monotonic() > ends:
                raise NotInTime(f"the point was not passed; see {self.service.log}")
            if not self.service.is_alive and not self._start():
                continue
            self._provoke(self.plan.point(index).stage, index)

    def _provoke(self, stage: str, index: int) -> None:
        is_services = self.plan.point(index).process == "service"
        if stage == "stop":
            self._in_flight()
            self.service.end()
            self._has_guard = True
        elif stage == "start" and is_services:
            self.service.end()
        elif stage in ("start", "fall"):
            if stage == "fall":
                self._in_flight()
            for pid in victims.with_role(self.service.home, "agent"):
                victims.kill(pid)
            self._settle(index)
        else:
            if self.service.unfinished() < _FEW:
                self.service.submit(QUICK)
            self._settle(index)

    def _settle(self, index: int) -> None:
        with contextlib.suppress(NotInTime):
            wait_for(
                lambda: self.plan.armed() != index
                or not self.service.is_alive
                or self.service.unfinished() == 0,
                1.0, "",
            )  # fmt: skip

    def _in_flight(self) -> None:
        """A task that an agent has, and that takes its time."""
        before = len(self.plan.journal("order"))
        self.service.submit(SLOW)
        with contextlib.suppress(NotInTime):
            wait_for(
                lambda: len(self.plan.journal("order")) > before or not self.service.is_alive,
                _END_S, "a task is in flight",
            )  # fmt: skip

    def _start(self) -> bool:
        is_up = self.service.start(self._plan_file)
        self._runs |= self.service.runs()
        self._has_guard = self._has_guard or is_up
        return is_up

    def _fired(self, index: int) -> dict[str, Any] | None:
        """Who was killed there; None when it has not come to that.

        The stamp comes first, then the journal's line, then the death: a process that dies of
        something else between them, as an orphan does, leaves a point that has to be passed again.
        """
        if self.plan.armed() == index:
            return None
        with contextlib.suppress(NotInTime):
            wait_for(lambda: self.plan.struck(index), _NAMED_S, "")
            return self.plan.struck(index)[0]
        self.plan.arm_again(index)
        return None

    def _after(self, index: int, fired: dict[str, Any]) -> None:
        """What must be so once the victim is dead."""
        self._runs |= self.service.runs()
        if fired["victim"] == "guard":
            self._has_guard = False
        process = self.service.process
        if process is not None and process.pid in fired["pids"]:
            process.wait(_END_S)
            self._nothing_left(index)

    def _nothing_left(self, index: int) -> None:
        """After the service's death the guard is quick; without one the next service tidies up."""
        if not self._has_guard:
            while not self._start():  # the next point may be in it
                assert self.plan.armed() != index + 1, f"no next start; see {self.service.log}"
            wait_for(lambda: not self._of_the_dead(), _SWEPT_S, "what was left is swept")
            return
        took_s = wait_for(lambda: not self._left(), _SWEPT_S, "nothing is left")
        self.outcome.left_s.append((self.plan.numbers[index], took_s))
        limit_s = self._guard_s * load_factor()
        if took_s > limit_s:
            self.outcome.faults.append(f"{self.doing}: {took_s:.2f} s until nothing was left")

    def _left(self) -> bool:
        """Whether there are processes, but for the guard, which is at work, or containers."""
        left = [pid for pid in self.service.left() if victims.role_of(pid) != "guard"]
        if left or self.plan.light:
            return bool(left)
        return bool(self.service.containers(self._runs))

    def _of_the_dead(self) -> list[str]:
        """Containers of runs that are over."""
        return [name for name in self.service.containers(self._runs) if self._run_is_dead(name)]

    def _run_is_dead(self, container: str) -> bool:
        newest = max(self.service.runs(), key=self._made_at)
        return newest not in container

    def _made_at(self, run_id: str) -> int:
        return (self.service.home / "state" / "understudy" / "runs" / run_id).stat().st_ctime_ns

    # -- the end ------------------------------------------------------------------------------

    def _end_all(self) -> None:
        if not self.service.is_alive:
            assert self._start(), f"the service does not start; see {self.service.log}"
        self.service.submit(QUICK)
        wait_for(lambda: self.service.unfinished() == 0, _DONE_S, "all tasks are done")
        code = self.service.end()
        assert code == 0, f"the service ended with {code}; see {self.service.log}"
        wait_for(lambda: not self.service.left(), _GUARD_LEAVES_S, "nothing is left at the end")
        assert not self.service.containers(self._runs), "containers are left at the end"
        journal = self.plan.ordered("order", "recorded")
        told = self.service.acknowledged
        self.outcome.faults += checker.faults_in(self.service.database, told, journal)
