"""Who holds a task, who may record its result, and what deaths cost it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from understudy.actors.tasks.rows import Conversation, Lease, Outcome
from understudy.actors.tasks.store import StoreError, TaskStore
from understudy.actors.tasks.task import Task, TaskResult, TaskState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST, SECOND = Lease("agent_000", 1), Lease("agent_000", 2)
DAY_S = 24 * 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[TaskStore]:
    with TaskStore(tmp_path / "tasks.db", wall=clock) as opened:
        opened.add(Task(task_id="a"), "service")
        yield opened


def success(task_id: str = "a") -> TaskResult:
    return TaskResult(task_id, "agent_000", "success", {"n": 1})


def outcomes(store: TaskStore, task_id: str = "a") -> list[tuple[int, str | None]]:
    return [(attempt.incarnation, attempt.outcome) for attempt in store.attempts(task_id)]


def die(store: TaskStore, times: int, max_deaths: int = 3) -> None:
    for number in range(times):
        assert store.start("a", Lease("agent_000", number + 1), number + 1)
        store.recover("service", max_deaths)


def test_the_holder_of_the_lease_records_the_result_and_the_attempt_ends(store: TaskStore) -> None:
    assert store.start("a", FIRST, 1)
    assert store.finish(success(), TaskState.COMPLETED, lease=FIRST)
    assert outcomes(store) == [(1, "success")]


def test_a_result_of_an_incarnation_without_the_lease_is_refused_and_counted(
    store: TaskStore,
) -> None:
    store.start("a", FIRST, 1)
    store.end_attempt("a", Outcome.FELL, 1)
    assert not store.finish(success(), TaskState.COMPLETED, lease=FIRST)
    store.start("a", SECOND, 2)
    assert not store.finish(success(), TaskState.COMPLETED, lease=FIRST)
    assert not store.finish(success(), TaskState.COMPLETED, lease=Lease("agent_001", 2))
    assert (store.refused("agent_000"), store.refused("agent_001")) == (2, 1)
    assert store.result("a") is None
    assert store.finish(success(), TaskState.COMPLETED, lease=SECOND)
    assert outcomes(store) == [(1, "fell"), (2, "success")]


def test_a_task_has_one_holder_at_a_time(store: TaskStore) -> None:
    store.start("a", FIRST, 1)
    with pytest.raises(StoreError):
        store.start("a", SECOND, 2)
    assert outcomes(store) == [(1, None)]


def test_a_finished_task_is_given_to_nobody(store: TaskStore) -> None:
    store.finish(success(), TaskState.COMPLETED)
    assert not store.start("a", FIRST, 1)
    assert not store.start("ghost", FIRST, 1)
    assert store.attempts("a") == []


@pytest.mark.parametrize(
    ("outcome", "deaths"),
    [
        (Outcome.FELL, 1),
        (Outcome.SERVICE_DIED, 1),
        (Outcome.PARKED, 0),
        (Outcome.RETRIED, 0),
        (Outcome.REFUSED, 0),
    ],
)
def test_only_deaths_count_towards_poison(store: TaskStore, outcome: Outcome, deaths: int) -> None:
    store.start("a", FIRST, 1)
    assert store.end_attempt("a", outcome, 1) == deaths
    assert store.end_attempt("a", outcome, 1) == deaths  # nobody has it any more
    row = store.row("a")
    assert row is not None
    assert (row.deaths, row.state, row.agent_id) == (deaths, TaskState.SUBMITTED, None)
    assert row.may_have_run is (outcome is not Outcome.REFUSED)


def test_a_task_in_flight_at_three_deaths_of_the_service_is_kept_back(store: TaskStore) -> None:
    die(store, 3)
    assert store.unfinished("service") == []
    (row,) = store.tasks(poison=True)
    result = store.result("a")
    assert result is not None
    assert (row.state, result.failure_kind) == (TaskState.FAILED, "poison")
    assert "understudy replay" in (result.error or "")
    assert [event.kind for event in store.events(task_id="a")] == ["finished"]


def test_deaths_of_agent_and_service_add_up(store: TaskStore) -> None:
    die(store, 2)
    store.start("a", FIRST, 3)
    assert store.end_attempt("a", Outcome.FELL, 3) == 3


def test_recovering_twice_counts_a_death_once(store: TaskStore) -> None:
    die(store, 1)
    (row,) = store.recover("service", 3)
    assert (row.deaths, row.may_have_run) == (1, True)
    assert (row.state, row.agent_id) == (TaskState.SUBMITTED, None)


def test_recovery_leaves_the_tasks_of_other_runs_alone(store: TaskStore) -> None:
    store.add(Task(task_id="other"), "f00d")
    store.start("other", FIRST, 1)
    store.recover("service", 3)
    row = store.row("other")
    assert row is not None
    assert (row.state, row.deaths) == (TaskState.WORKING, 0)


def test_a_task_that_is_put_back_runs_with_a_clean_record_that_still_tells(
    store: TaskStore,
) -> None:
    die(store, 3)
    assert store.replay("a")
    assert not store.replay("a")
    assert store.tasks(poison=True) == []
    (row,) = store.recover("service", 3)
    assert (row.attempts, row.deaths, row.may_have_run) == (0, 0, True)
    assert store.start("a", FIRST, 1)
    assert store.finish(success(), TaskState.COMPLETED, lease=FIRST)
    assert len(store.attempts("a")) == 4


def test_only_poison_is_put_back(store: TaskStore) -> None:
    assert not store.replay("a")
    assert not store.replay("ghost")
    failed = TaskResult("a", "agent_000", "failed", {}, failure_kind="timeout")
    store.finish(failed, TaskState.FAILED)
    assert not store.replay("a")
    assert store.result("a") is not None


def test_what_a_dead_embedded_fleet_left_is_ended(store: TaskStore) -> None:
    store.add_many([Task(task_id="b"), Task(task_id="c")], "f00d")
    store.start("b", FIRST, 1)
    store.incarnations.started("f00d", "agent_000", 1)
    assert store.open_runs() == ["f00d", "service"]
    assert store.abandon("f00d") == 2
    assert store.open_runs() == ["service"]
    results = [store.result(task_id) for task_id in ("b", "c")]
    assert [result.failure_kind for result in results if result] == ["internal", "internal"]
    assert outcomes(store, "b") == [(1, "internal")]


def test_incarnations_go_up_over_restarts_of_the_service(store: TaskStore, clock: Clock) -> None:
    table = store.incarnations
    assert table.take_over("service") == 1
    table.started("service", "agent_000", 1)
    table.ended("service", "agent_000", 1, "killed: by SIGKILL")
    table.ended("service", "agent_000", 1, "again")
    table.started("service", "agent_000", 2)
    clock.now = 200.0
    assert table.take_over("service") == 3
    assert table.take_over("f00d") == 1
    first, second = table.of("service")
    assert (first.ended_at, first.reason) == (100.0, "killed: by SIGKILL")
    assert (second.ended_at, second.reason) == (200.0, "its service ended without stopping it")


def test_nothing_that_is_over_is_kept_for_ever_and_numbers_are_not_used_again(
    store: TaskStore, clock: Clock
) -> None:
    for number in (1, 2):
        store.incarnations.started("service", "agent_000", number)
        store.incarnations.ended("service", "agent_000", number, "normal")
    store.incarnations.started("f00d", "agent_000", 1)
    store.incarnations.ended("f00d", "agent_000", 1, "normal")
    store.start("a", FIRST, 1)
    store.finish(success(), TaskState.COMPLETED, lease=SECOND)
    store.finish(success(), TaskState.COMPLETED, lease=FIRST)
    clock.now += 31 * DAY_S
    assert store.prune(30 * DAY_S) == 1
    assert (store.attempts("a"), store.refused("agent_000")) == ([], 0)
    assert store.incarnations.of("f00d") == []
    assert [life.incarnation for life in store.incarnations.of("service")] == [2]
    assert store.incarnations.take_over("service") == 3


def test_only_its_holder_moves_a_task_to_another_conversation(store: TaskStore) -> None:
    store.start("a", FIRST, 1, Conversation("old", "place"))
    assert not store.move("a", SECOND, "new")
    assert store.conversation_of("a") == Conversation("old", "place")
    assert store.move("a", FIRST, "new")
    assert store.conversation_of("a") == Conversation("new", "place")
    store.end_attempt("a", Outcome.FELL, 1)
    assert not store.move("a", FIRST, "newer")
