"""The order of tasks, who gets them, and how the queue behaves when it is large."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.actors.tasks import Task
from understudy.actors.tasks.queue import QueueFull, TaskQueue

IDLE: dict[str, str | None] = {"agent_000": None}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def task(task_id: str, priority: int = 5, task_type: str = "generic") -> Task:
    return Task(task_id=task_id, priority=priority, task_type=task_type)


def order(queue: TaskQueue) -> list[str]:
    return [t.task_id for t in queue.drain()]


def test_the_highest_priority_comes_first_and_of_equals_the_oldest() -> None:
    queue = TaskQueue(clock=Clock())
    for one in (task("a", 5), task("b", 9), task("c", 5), task("d", 1), task("e", 9)):
        queue.put(one)
    assert order(queue) == ["b", "e", "a", "c", "d"]


def test_waiting_for_the_ageing_time_weighs_as_much_as_one_priority() -> None:
    clock = Clock()
    queue = TaskQueue(clock=clock, ageing_s=60.0)
    queue.put(task("old", 1))
    clock.now_s += 61
    queue.put(task("middle", 2))
    clock.now_s += 7 * 60 + 1
    queue.put(task("urgent", 9))
    queue.put(task("most urgent", 10))
    assert order(queue) == ["most urgent", "old", "middle", "urgent"]


def test_a_low_task_is_not_starved_by_a_stream_of_urgent_ones() -> None:
    clock = Clock()
    queue = TaskQueue(clock=clock, ageing_s=60.0)
    queue.put(task("low", 1))
    for i in range(1000):
        clock.now_s += 1.0
        queue.put(task(f"urgent {i}", 10))
        taken = queue.take(IDLE)
        assert taken is not None
        if taken[0].task_id == "low":
            assert 539 <= i <= 541
            return
    pytest.fail("the task never came")


def test_an_agent_warm_for_the_type_is_preferred_then_a_cold_one_then_any() -> None:
    queue = TaskQueue(clock=Clock())
    for i in range(3):
        queue.put(task(str(i), task_type="code_review"))
    idle: dict[str, str | None] = {"a": "refactor", "b": None, "c": "code_review"}
    for expected in ("c", "b", "a"):
        taken = queue.take(idle)
        assert taken is not None
        assert taken[1] == expected
        del idle[expected]


def test_nothing_is_taken_without_tasks_or_without_agents() -> None:
    queue = TaskQueue(clock=Clock())
    assert queue.take(IDLE) is None
    queue.put(task("a"))
    assert queue.take({}) is None
    assert len(queue) == 1


def test_a_full_queue_says_how_full_it_is_and_takes_no_more() -> None:
    queue = TaskQueue(clock=Clock(), max_size=2)
    queue.put(task("a"))
    queue.check_room(1)
    with pytest.raises(QueueFull, match=r"1 of 2 .* 2 more .* task_queue.max_size"):
        queue.check_room(2)
    queue.put(task("b"))
    with pytest.raises(QueueFull):
        queue.put(task("c"))
    assert order(queue) == ["a", "b"]


def test_a_task_that_was_accepted_before_is_never_turned_away() -> None:
    queue = TaskQueue(clock=Clock(), max_size=1)
    queue.put(task("a"))
    queue.put(task("again"), force=True)
    assert len(queue) == 2


def test_a_removed_task_is_gone_and_frees_its_place() -> None:
    queue = TaskQueue(clock=Clock(), max_size=2)
    queue.put(task("a"))
    queue.put(task("b"))
    removed = queue.remove("a")
    assert removed is not None
    assert removed.task_id == "a"
    assert queue.remove("a") is None
    assert "a" not in queue
    queue.put(task("c"))
    assert order(queue) == ["b", "c"]


def test_a_task_that_waits_already_is_put_at_the_end_not_twice() -> None:
    queue = TaskQueue(clock=Clock())
    for name in ("a", "b", "a"):
        queue.put(task(name))
    assert len(queue) == 2
    assert order(queue) == ["b", "a"]


def test_removed_tasks_do_not_pile_up_in_memory() -> None:
    queue = TaskQueue(clock=Clock())
    for i in range(10_000):
        queue.put(task(str(i)))
        queue.remove(str(i))
    assert sum(map(len, queue._lanes.values())) < 200  # pyright: ignore[reportPrivateUsage]


def test_a_hundred_thousand_tasks_pass_in_seconds() -> None:
    queue = TaskQueue()
    tasks = [task(str(i), priority=i % 10 + 1) for i in range(100_000)]
    started = time.perf_counter()
    for one in tasks:
        queue.put(one)
    for i in range(0, 100_000, 2):
        queue.remove(str(i))
    while queue.take(IDLE):
        pass
    assert time.perf_counter() - started < 10.0  # 0.7 s; quadratic behaviour takes minutes


@given(st.lists(st.tuples(st.integers(1, 10), st.floats(0, 100), st.booleans()), max_size=40))
def test_the_order_is_that_of_a_plain_sort_by_rank(arrivals: list[tuple[int, float, bool]]) -> None:
    clock = Clock()
    queue = TaskQueue(clock=clock, ageing_s=7.0)
    expected: list[tuple[float, int, str]] = []
    for i, (priority, pause_s, removed) in enumerate(arrivals):
        clock.now_s += pause_s
        queue.put(task(str(i), priority))
        if removed:
            queue.remove(str(i))
        else:
            expected.append((clock.now_s / 7.0 - priority, i, str(i)))
    assert order(queue) == [name for _, _, name in sorted(expected)]
