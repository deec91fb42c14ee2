from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from understudy.supervision import (
    AutoShutdown,
    Backoff,
    Budget,
    ChildSpec,
    Restart,
    Strategy,
    SupervisorSpec,
)
from understudy.supervision.spec_file import load_spec
from understudy.supervision.yaml_file import InvalidFile

if TYPE_CHECKING:
    from pathlib import Path

ALL = """
id: fleet
strategy: rest_for_one
intensity: 5
period: 30
auto_shutdown: any_significant
uncounted_kinds: [rate_limited]
permanent_kinds: [auth]
backoff: {min: 1, max: 9}
children:
  - id: container
    start: some.where:container
    shutdown: infinity
  - id: agent
    start: some.where:agent
    args: {size: 3}
    restart: transient
    significant: true
    shutdown: brutal
    start_timeout: 5
    liveness_interval: 2
    budget: {unit: usd, limit: 5, meter: gateway, warn_at: 0.5, start_cost: 1}
    backoff: {min: 2}
    env: {A: b}
    log_path: agent.log
"""


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "spec.yaml"
    file.write_text(text, "utf-8")
    return str(file)


def test_a_file_says_all_that_a_spec_can(tmp_path: Path) -> None:
    container = ChildSpec(
        "container", "some.where:container", shutdown_s=None, backoff=Backoff(1, 9)
    )
    agent = ChildSpec(
        "agent",
        "some.where:agent",
        {"size": 3},
        Restart.TRANSIENT,
        shutdown_s=0,
        start_timeout_s=5,
        backoff=Backoff(2),
        liveness_interval_s=2,
        env={"A": "b"},
        log_path="agent.log",
        significant=True,
        budget=Budget("usd", 5, "gateway", 0.5, 1),
    )
    assert load_spec(write(tmp_path, ALL), meters=["gateway"]) == SupervisorSpec(
        "fleet",
        Strategy.REST_FOR_ONE,
        5,
        30,
        (container, agent),
        AutoShutdown.ANY_SIGNIFICANT,
        uncounted_kinds=frozenset({"rate_limited"}),
        permanent_kinds=frozenset({"auth"}),
    )


A = "children:\n  - {id: a, start: 'm:f'}\n"
BAD = [
    ("strategy: all\nchildren: []\n", 1, "invalid_strategy", "one_for_one, one_for_all"),
    ("stratgy: one_for_all\n", 1, "unknown_key", "did you mean strategy?"),
    (f"{A}  - id: a\n    start: m:f\n", 3, "duplicate_child", "more than one is named a"),
    (
        "children:\n  - id: a\n    start: m:f\n    significant: true\n",
        4,
        "bad_combination",
        "a permanent child never ends for good",
    ),
    (
        "children:\n  - {id: a, start: 'm:f', restart: temporary,\n     significant: true}\n",
        3,
        "bad_combination",
        "auto_shutdown of the supervisor: is never",
    ),
    (f"exact: true\nbackoff: true\n{A}", 4, "bad_combination", "OTP has no backoff"),
    (f"uncounted_kinds: [x]\n{A}", 3, "bad_combination", "give it a backoff"),
    (f"uncounted_kinds:\n  - x\n  - 3\n{A}", 3, "invalid_kind", "must be a word"),
    (
        "children:\n- id: a\n  start: m:f\n  start_timeout: 0\n",
        4,
        "invalid_start_timeout_s",
        "must be more than 0 seconds",
    ),
    (
        "children:\n- id: a\n  start: m:f\n  start_timeout: .inf\n",
        4,
        "invalid_number",
        "and finite",
    ),
    (
        "children:\n- id: a\n  start: m:f\n  budget: {unit: usd,\n    limit: 5}\n",
        4,
        "no_meter",
        "nobody measures what is spent",
    ),
    (
        "children:\n- id: a\n  start: m:f\n  budget:\n    {unit: usd, limit: 5,\n    meter: x}\n",
        6,
        "no_meter",
        "there is no meter x; known are gateway",
    ),
    ("children:\n- id: a\n", 2, "missing_key", "needs start"),
    ("children:\n- id: a\n  start: m.f\n", 3, "invalid_target", "package.module:function"),
    ("children:\n- id: a\n  start: [x]\n", 3, "invalid_start", "must be a text"),
    ("children:\n- id: a\n  start: m:f\n  shutdown: soon\n", 4, "invalid_number", "number"),
    ("children:\n- id: a\n  start: m:f\n  shutdwn: 3\n", 4, "unknown_key", "mean shutdown?"),
    ("exact: 1\n", 1, "invalid_exact", "must be true or false"),
    ("intensity: 1\nintensity: 2\n", 2, "duplicate_key", "is there twice"),
    ("a: [", 1, "not_yaml", "this is not YAML"),
    ("", None, "not_a_mapping", "must be a mapping with id, strategy"),
]


@pytest.mark.parametrize(("text", "line", "reason", "detail"), BAD)
def test_what_cannot_work_is_refused_with_its_reason_and_line(
    tmp_path: Path, text: str, line: int | None, reason: str, detail: str
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(InvalidFile) as caught:
        load_spec(file, meters=["gateway"])
    error = caught.value
    assert (error.line, error.reason) == (line, reason)
    assert detail in error.detail
    assert str(error).startswith(file if line is None else f"{file}:{line}: ")
    assert str(error).endswith(f"({reason})")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="the file cannot be read: No such file"):
        load_spec(str(tmp_path / "nothing.yaml"))
