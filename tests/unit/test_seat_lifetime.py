# pyright: reportPrivateUsage=false
"""How long podman lets an agent's container live: as long as its task may take, and no longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from understudy.actors import seat as module
from understudy.actors.places import Places
from understudy.actors.seat import Seat
from understudy.actors.seat_plan import SeatPlan
from understudy.actors.taking_up import Fate, Opened
from understudy.actors.tasks.rows import Conversation
from understudy.actors.tasks.task import Task
from understudy.actors.tasks.types import TaskType
from understudy.actors.team.roles import Roles
from understudy.actors.workspace import Workspace
from understudy.config import load

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


class NoPlaces:
    def hold(self, *_: object) -> None:
        return None


class SeatWithoutPodman(Seat):
    """`lifetimes_s` are those of the containers that it would have started."""

    def __init__(self, tmp_path: Path) -> None:
        plan: dict[str, Any] = dict.fromkeys(SeatPlan.__dataclass_fields__, 1)
        plan |= {"run_id": "r", "agent_id": "agent_000", "conversations": tmp_path}
        plan |= {"lifetime_s": int(DAY_S), "roles": Roles.of(load().settings).to_wire()}
        self.now_s = 0.0
        self.lifetimes_s: list[float] = []
        super().__init__(SeatPlan(**plan), on_event=lambda _: None, clock=lambda: self.now_s)
        self._places = cast("Places", NoPlaces())

    def _alive(self) -> bool:
        return True

    def _end(self, grace_s: float, fate: Fate) -> None:
        del grace_s, fate

    def _start(self, role: TaskType, name: str, opened: Opened, lifetime_s: int) -> None:
        del name
        self._type, self._opened = role, opened
        self._ends_at = self.now_s + lifetime_s
        self.lifetimes_s.append(lifetime_s)

    def is_ready_at(self, now_s: float) -> None:
        """What `recycle` leaves: a warm container that no task has."""
        self.now_s, self._clean = now_s, True


@pytest.fixture
def seat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SeatWithoutPodman:
    opened = Opened(Workspace(tmp_path), "s")

    def take_up(*_: object) -> Opened:
        return opened

    monkeypatch.setattr(module, "take_up", take_up)
    return SeatWithoutPodman(tmp_path)


def test_a_warm_container_serves_what_it_outlives_and_is_replaced_before_it_ends(
    seat: SeatWithoutPodman,
) -> None:
    same, short = Conversation.new(), Task(description="x", timeout=300)
    seat.open(short, same)
    assert seat.lifetimes_s == [DAY_S + 300]
    seat.is_ready_at(12 * HOUR_S)
    seat.open(short, same)
    assert len(seat.lifetimes_s) == 1
    seat.is_ready_at(12 * HOUR_S + 1)
    seat.open(short, same)
    assert len(seat.lifetimes_s) == 2


def test_a_task_of_a_week_has_a_container_for_a_week(seat: SeatWithoutPodman) -> None:
    same = Conversation.new()
    seat.open(Task(description="x"), same)
    seat.is_ready_at(1.0)
    seat.open(Task(description="x", timeout=7 * DAY_S), same)
    assert seat.lifetimes_s[1:] == [8 * DAY_S]
