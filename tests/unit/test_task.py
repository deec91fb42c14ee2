"""Tasks and results: the brief's fields, what is refused, and the way over the wire and back."""

from __future__ import annotations

import math
import pickle
from dataclasses import MISSING, fields
from typing import Any

import msgpack
import pytest

from understudy.actors.tasks import InvalidTask, Task, TaskResult, TaskState, subtasks_of
from understudy.actors.tasks.validate import MAX_DESCRIPTION_BYTES


def refusal(task: Task, **limits: int) -> InvalidTask:
    with pytest.raises(InvalidTask) as caught:
        task.check(**limits)
    return caught.value


def test_a_task_has_the_documented_fields_in_their_order_and_defaults() -> None:
    task = Task()
    assert [f.name for f in fields(Task)] == [
        "task_id",
        "task_type",
        "description",
        "files",
        "parallel",
        "subtasks",
        "priority",
        "timeout",
        "repo",
        "context_id",
        "include_uncommitted",
        "role",
        "agent",
        "parent",
        "given_by",
        "is_ask",
        "withheld",
        "deadline",
        "include_untracked",
    ]
    assert (task.task_type, task.description, task.files, task.parallel) == (
        "generic",
        "",
        [],
        False,
    )
    assert (task.subtasks, task.priority, task.timeout) == (None, 5, 300.0)
    assert task.task_id != Task().task_id
    assert task.files is not Task().files


def test_a_result_has_the_documented_fields_in_their_order() -> None:
    names = [f.name for f in fields(TaskResult)]
    required = [f.name for f in fields(TaskResult) if f.default is f.default_factory is MISSING]
    assert required == ["task_id", "agent_id", "status", "result"]
    assert names[4:7] == ["error", "execution_time", "timestamp"]


def test_a_sensible_task_passes() -> None:
    Task(task_type="code_review", files=["a.py"]).check()
    Task(description="x" * MAX_DESCRIPTION_BYTES).check()
    Task(description="x", priority=10, timeout=1).check()


def test_a_description_over_a_megabyte_is_refused_with_its_size_and_without_its_text() -> None:
    error = refusal(Task(description="ü" * 500_001))
    assert error.field == "description"
    assert "1,000,002 bytes" in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task_id", ""),
        ("task_id", "../../etc"),
        ("task_id", "a" * 129),
        ("task_id", 7),
        ("description", None),
        ("description", "\ud800"),
        ("files", "a.py"),
        ("files", None),
        ("parallel", 1),
        ("subtasks", {}),
        ("priority", 0),
        ("priority", 11),
        ("priority", 5.0),
        ("priority", True),
        ("timeout", 0),
        ("timeout", -1.0),
        ("timeout", math.nan),
        ("timeout", math.inf),
        ("timeout", "300"),
        ("timeout", True),
        ("deadline", 600.0),
        ("deadline", math.nan),
        ("deadline", math.inf),
        ("deadline", "soon"),
        ("repo", ""),
        ("context_id", 3),
    ],
)
def test_a_field_out_of_its_limits_is_refused_by_name(field: str, value: object) -> None:
    task = Task(description="x")
    setattr(task, field, value)
    assert refusal(task).field == field


def test_a_file_that_is_no_path_is_refused_with_its_place() -> None:
    assert refusal(Task(description="x", files=["a", ""])).field == "files[1]"


def test_a_misspelt_type_is_refused_with_the_nearest_one() -> None:
    error = refusal(Task(task_type="code-review"))
    assert error.nearest == "code_review"
    assert "did you mean 'code_review'?" in str(error)


def test_a_generic_task_without_a_description_is_refused() -> None:
    assert "told what to do" in str(refusal(Task(description="  ")))


def test_the_highest_priority_is_what_the_configuration_says() -> None:
    Task(description="x", priority=20).check(priority_levels=20)
    assert "from 1 to 5" in str(refusal(Task(description="x", priority=6), priority_levels=5))


def test_subtasks_have_their_own_words_and_the_rest_from_the_parent() -> None:
    parent = Task(
        task_id="p",
        task_type="code_review",
        priority=8,
        timeout=60.0,
        deadline=2e9,
        repo="/r",
        context_id="c",
        parallel=True,
        subtasks=[{"description": "one", "files": ["a"]}, {"type": "analysis", "timeout": 5}],
    )
    parent.check()
    first, second = subtasks_of(parent)
    shared: dict[str, Any] = {"priority": 8, "repo": "/r", "deadline": 2e9}
    assert first == Task("p_sub0", "code_review", "one", ["a"], timeout=60.0, **shared)
    assert second == Task("p_sub1", "analysis", "", [], timeout=5.0, **shared)


def test_a_task_without_subtasks_has_none() -> None:
    assert subtasks_of(Task()) == []


@pytest.mark.parametrize(
    ("definition", "field", "nearest"),
    [
        ({"descripton": "x"}, "subtasks[0]", "description"),
        ({"files": ["a", 3]}, "subtasks[0].files[1]", None),
        ({"timeout": "long"}, "subtasks[0].timeout", None),
        ({"description": "x", "priority": 99}, "priority", None),
    ],
)
def test_a_wrong_subtask_is_refused_by_its_place(
    definition: dict[str, Any], field: str, nearest: str | None
) -> None:
    error = refusal(Task(task_type="code_review", subtasks=[definition]))
    assert (error.field, error.nearest) == (field, nearest)


def test_a_subtask_that_is_no_mapping_is_refused_by_its_place() -> None:
    wire = Task().to_wire() | {"subtasks": ["review it"]}
    with pytest.raises(InvalidTask, match=r"subtasks\[0\]"):
        Task.from_wire(wire)


def test_tasks_and_results_survive_the_wire() -> None:
    task = Task(description="grün", files=["a"], subtasks=[{"type": "analysis"}], repo="/r")
    result = TaskResult("t", "agent_000", "partial", {"a": [1, None]}, usage={"input": 3})
    assert Task.from_wire(msgpack.unpackb(msgpack.packb(task.to_wire()))) == task
    assert TaskResult.from_wire(msgpack.unpackb(msgpack.packb(result.to_wire()))) == result


def test_fields_of_a_newer_version_are_left_out() -> None:
    wire = Task(task_id="t", timeout=5).to_wire() | {"colour": "red"}
    assert Task.from_wire(wire).task_id == "t"


@pytest.mark.parametrize(
    "wire", [{"files": "a"}, {"priority": "high"}, [], None, {"timeout": None}]
)
def test_a_task_of_the_wrong_shape_is_refused(wire: object) -> None:
    with pytest.raises(InvalidTask):
        Task.from_wire(wire)


@pytest.mark.parametrize("change", [{"status": "done"}, {"result": None}, {"agent_id": None}])
def test_a_result_of_the_wrong_shape_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        TaskResult.from_wire(TaskResult("t", "a", "success", {}).to_wire() | change)


def test_the_final_states_are_the_four_that_end_a_task() -> None:
    assert {state for state in TaskState if state.is_final} == {
        TaskState.COMPLETED,
        TaskState.FAILED,
        TaskState.CANCELED,
        TaskState.REJECTED,
    }


@pytest.mark.parametrize("value", ["x" * 10_000, 11, None, ["a"] * 1000, "short"])
def test_the_error_crosses_processes_and_stays_short(value: object) -> None:
    error = InvalidTask("field", value, "reason", "nearest")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert str(copy) == str(error)
    assert len(str(error)) < 400
