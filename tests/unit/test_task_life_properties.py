"""Whatever happens in whatever order: no accepted task is lost, none ends twice, none runs on."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from understudy.actors.failure import FailureKind
from understudy.actors.handle import TaskHandle
from understudy.actors.task_book import TaskBook
from understudy.actors.tasks.queue import TaskQueue
from understudy.actors.tasks.rows import Lease
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task, TaskResult

MAX_DEATHS = 3


class TaskLife(RuleBasedStateMachine):
    """A book on a store that outlives it, and a model of what was promised to whom."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="us-life-"))
        self.now = 0.0
        self.incarnation = 0
        self.accepted: set[str] = set()
        self.ended: dict[str, object] = {}
        self.deaths: dict[str, int] = {}
        self.ran: set[str] = set()
        self.leases: dict[str, Lease] = {}
        self.store = TaskStore(self.folder / "tasks.db")
        self.open_book()

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def open_book(self) -> None:
        queue = TaskQueue(clock=lambda: self.now)
        self.book = TaskBook(queue, self.store, "service", clock=lambda: self.now)

    # -- what happens -------------------------------------------------------------------------

    # Few tasks and many deaths: three of the same task must be no rare luck.
    @precondition(lambda self: len(self.accepted) < 3)
    @rule(count=st.integers(1, 2))
    def submit(self, count: int) -> None:
        names = [f"t{len(self.accepted) + number}" for number in range(count)]
        handles = [TaskHandle(name, lambda _: False) for name in names]
        self.book.accept([Task(task_id=name) for name in names], handles)
        self.accepted.update(names)

    @precondition(lambda self: len(self.book.running) < 3 and self.book.waiting)
    @rule()
    def start(self) -> None:
        picked = self.book.take({"agent_000": None})
        if picked is None:
            return
        task = picked[0]
        assert task.task_id not in self.ended, "a finished task was given out"
        assert self.deaths.get(task.task_id, 0) < MAX_DEATHS, "poison was given out"
        assert self.book.may_have_run(task) is (task.task_id in self.ran)
        self.incarnation += 1
        lease = Lease("agent_000", self.incarnation)
        assert self.book.start(task, lease.agent_id, gives_up_at=9e9, incarnation=lease.incarnation)
        self.leases[task.task_id] = lease

    @precondition(lambda self: self.book.running)
    @rule(data=st.data(), delayed=st.booleans(), free=st.booleans())
    def the_api_is_at_fault(self, data: st.DataObject, *, delayed: bool, free: bool) -> None:
        running = self.book.running[self.one_of(data)]
        self.book.requeue(running.task, "later", after_s=5.0 * delayed, free=free)
        self.ran.add(running.task.task_id)
        del self.leases[running.task.task_id]

    @precondition(lambda self: self.book.running)
    @rule(data=st.data())
    def the_agent_falls(self, data: st.DataObject) -> None:
        task_id = self.one_of(data)
        self.count_death(task_id)
        again = self.book.fell(self.book.running[task_id], "killed", MAX_DEATHS)
        assert again is (task_id not in self.ended)

    @precondition(lambda self: self.book.waiting)
    @rule(deaths=st.integers(1, MAX_DEATHS))
    def agents_fall_one_after_the_other(self, deaths: int) -> None:
        for _ in range(deaths):
            self.start()
        for task_id in list(self.book.running):
            self.count_death(task_id)
            again = self.book.fell(self.book.running[task_id], "killed", MAX_DEATHS)
            assert again is (task_id not in self.ended)

    @precondition(lambda self: self.book.running)
    @rule(data=st.data())
    def the_agent_answers(self, data: st.DataObject) -> None:
        task_id = self.one_of(data)
        result = TaskResult(
            task_id, "agent_000", "success", {"by": self.leases[task_id].incarnation}
        )
        assert self.book.finish(result, self.leases.pop(task_id))
        self.ended[task_id] = result.result

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def somebody_without_the_lease_answers(self, data: st.DataObject) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.accepted)))
        late = TaskResult(task_id, "agent_000", "success", {"by": "nobody"})
        assert not self.book.finish(late, Lease("agent_000", self.incarnation + 1))

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def the_user_cancels(self, data: st.DataObject) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.accepted)))
        task = self.book.take_waiting(task_id)
        assert (task is None) is (task_id in self.ended or task_id in self.book.running)
        if task is not None:
            self.book.fail(task, FailureKind.CANCELED, "canceled before it ran")
            self.ended[task_id] = {}

    @rule()
    def time_passes(self) -> None:
        self.now += 10.0
        self.book.release_due()

    @rule()
    def the_service_stops_in_good_order(self) -> None:
        for running in list(self.book.running.values()):
            self.ran.add(running.task.task_id)
            self.book.keep_for_later(running.task)
        self.restart()

    @rule()
    def the_service_dies(self) -> None:
        for task_id in list(self.book.running):
            self.count_death(task_id)
        self.restart()

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def a_task_is_put_back(self, data: st.DataObject) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.ended)))
        poison = self.deaths.get(task_id, 0) >= MAX_DEATHS
        assert self.book.replay(task_id, TaskHandle(task_id, lambda _: False)) is poison
        if poison:
            del self.ended[task_id], self.deaths[task_id]

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def no_accepted_task_is_lost_and_none_changes_its_result(self) -> None:
        unfinished = {row.task_id for row in self.store.unfinished()}
        assert unfinished == self.accepted - self.ended.keys()
        assert len(unfinished) == self.book.waiting + len(self.book.running)
        for task_id, output in self.ended.items():
            result = self.store.result(task_id)
            assert result is not None
            assert result.result == output

    @invariant()
    def the_store_knows_who_has_what_and_how_often_it_died(self) -> None:
        for task_id in self.accepted:
            row = self.store.row(task_id)
            assert row is not None
            assert row.deaths == self.deaths.get(task_id, 0) <= MAX_DEATHS
            assert row.quarantined is (row.deaths == MAX_DEATHS)
            held = [a for a in self.store.attempts(task_id) if a.ended_at is None]
            lease = self.leases.get(task_id)
            assert [Lease(a.agent_id, a.incarnation) for a in held] == ([lease] if lease else [])

    # -- inside -------------------------------------------------------------------------------

    def one_of(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.book.running)))

    def count_death(self, task_id: str) -> None:
        del self.leases[task_id]
        self.ran.add(task_id)
        self.deaths[task_id] = self.deaths.get(task_id, 0) + 1
        if self.deaths[task_id] == MAX_DEATHS:
            self.ended[task_id] = {}

    def restart(self) -> None:
        self.leases.clear()
        self.store.close()
        self.store = TaskStore(self.folder / "tasks.db")
        self.open_book()
        rows = self.store.recover("service", MAX_DEATHS)
        may_have_run = [row.task_id for row in rows if row.may_have_run]
        self.book.recover([(row.task, row.attempts) for row in rows], [], may_have_run=may_have_run)


TestTaskLife = TaskLife.TestCase
TestTaskLife.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
