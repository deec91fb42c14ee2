# ruff: noqa: ANN401 - a child's fields are passed on as they are

from __future__ import annotations

import pickle
from typing import Any

import pytest

from understudy.supervision import ChildSpec, InvalidSpec, Restart, Strategy, SupervisorSpec


def make_child(**fields: Any) -> ChildSpec:
    every: dict[str, Any] = {"id": "a", "target": "m:f", **fields}
    return ChildSpec(**every)


def make_supervisor(**fields: Any) -> SupervisorSpec:
    every: dict[str, Any] = {"id": "top", **fields}
    return SupervisorSpec(**every)


def test_a_child_is_permanent_with_ten_seconds_to_stop_unless_told_otherwise() -> None:
    spec = ChildSpec("a", "package.module:main")
    assert (spec.restart, spec.shutdown_s, spec.start_timeout_s) == (Restart.PERMANENT, 10, 60)
    assert spec.args == {}
    assert (spec.backoff, spec.liveness_interval_s, spec.env, spec.log_path) == (None,) * 4


def test_a_supervisor_is_one_for_one_and_bears_three_restarts_in_five_seconds() -> None:
    spec = SupervisorSpec("top")
    assert (spec.strategy, spec.intensity, spec.period_s) == (Strategy.ONE_FOR_ONE, 3, 5)


def test_words_of_a_configuration_file_are_taken_for_what_they_name() -> None:
    assert make_child(restart="transient").restart is Restart.TRANSIENT
    assert make_supervisor(strategy="rest_for_one").strategy is Strategy.REST_FOR_ONE


@pytest.mark.parametrize("target", ["m:f", "a.b.c:main", "_x.y1:_z", "módulo:función"])
def test_a_target_is_a_module_and_a_function(target: str) -> None:
    assert ChildSpec("a", target).target == target


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": ""}, "invalid_id"),
        *[
            ({"target": target}, "invalid_target")
            for target in ["", "m", "m:", ":f", "m.f", "m:f:g", "m:f()", "1m:f", "a..b:f", "m: f"]
        ],
        ({"restart": "sometimes"}, "invalid_restart"),
        ({"shutdown_s": -1}, "invalid_shutdown_s"),
        ({"shutdown_s": float("inf")}, "invalid_shutdown_s"),
        ({"shutdown_s": float("nan")}, "invalid_shutdown_s"),
        ({"start_timeout_s": 0}, "invalid_start_timeout_s"),
        ({"start_timeout_s": float("inf")}, "invalid_start_timeout_s"),
        ({"liveness_interval_s": 0}, "invalid_liveness_interval_s"),
        ({"args": {"x": object()}}, "invalid_args"),
        ({"args": {"x": 2**70}}, "invalid_args"),
        ({"args": {"x": {1, 2}}}, "invalid_args"),
        ({"args": {"x": bytes(33 << 20)}}, "invalid_args"),
        ({"env": {"x": object()}}, "invalid_env"),
        ({"env": {"x": 1}}, "invalid_env"),
        ({"env": {"a=b": "c"}}, "invalid_env"),
        ({"env": {"a": "nul\0"}}, "invalid_env"),
    ],
)
def test_a_child_that_makes_no_sense_is_refused_with_a_reason(
    fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        make_child(**fields)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(f"child {fields.get('id', 'a') or '?'}: ")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": ""}, "invalid_id"),
        ({"strategy": "all_for_one"}, "invalid_strategy"),
        ({"intensity": -1}, "invalid_intensity"),
        ({"period_s": 0}, "invalid_period"),
        ({"period_s": float("inf")}, "invalid_period"),
        ({"children": (ChildSpec("a", "m:f"), ChildSpec("a", "m:g"))}, "duplicate_child"),
    ],
)
def test_a_supervisor_that_makes_no_sense_is_refused_with_a_reason(
    fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        make_supervisor(**fields)
    assert caught.value.reason == reason


def test_the_message_says_where_and_what_is_right() -> None:
    with pytest.raises(InvalidSpec, match="must be one of permanent, transient, temporary"):
        make_child(restart="never")


def test_a_spec_crosses_processes() -> None:
    spec = SupervisorSpec("top", children=(ChildSpec("a", "m:f", {"x": 1}),))
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301 - our own
