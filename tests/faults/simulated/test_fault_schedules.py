"""Seeded fault schedules on the real core, each invariant checked after each step.

`FAULT_SCHEDULES` in the environment says how many, `FAULT_SEED` which is the first. One that failed
is played again, with all that happened, by the command in its message.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from faults.simulated.invariants import Broken
from faults.simulated.schedules import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST = int(os.environ.get("FAULT_SEED", "1"))
COUNT = int(os.environ.get("FAULT_SCHEDULES", "2000"))
AGAIN = "FAULT_SEED={} FAULT_SCHEDULES=1 python -m pytest {}"


def test_every_invariant_holds_in_every_schedule() -> None:
    for seed in range(FIRST, FIRST + COUNT):
        schedule = Schedule(seed)
        try:
            schedule.play()
        except Exception as error:  # noqa: BLE001 - a crash of the core is a finding, too
            pytest.fail("\n".join(_story(seed, schedule, error)), pytrace=False)


def _story(seed: int, schedule: Schedule, error: Exception) -> Iterator[str]:
    what = error if isinstance(error, Broken) else repr(error)
    yield f"seed {seed}: {what}"
    yield f"again: {AGAIN.format(seed, os.path.relpath(__file__))}"
    yield repr(schedule.spec)
    for now, happened, commands in schedule.trace:
        yield f"{now:8.2f} {happened}"
        yield from (f"             {command}" for command in commands)
