# ruff: noqa: S311 - chance for tests, not secrets

from __future__ import annotations

import random

import pytest

from understudy.supervision import Backoff, InvalidSpec


def test_the_delay_grows_by_its_factor_up_to_the_cap() -> None:
    backoff = Backoff(min_s=3, max_s=30, factor=2, jitter=0)
    delays = [backoff.delay_s(failures, random.Random(0)) for failures in range(6)]
    assert delays == [3, 6, 12, 24, 30, 30]


def test_jitter_comes_on_top_of_the_cap_and_is_never_more_than_its_share() -> None:
    rng = random.Random(0)
    backoff = Backoff(min_s=1, max_s=10, jitter=0.2)
    delays = [backoff.delay_s(50, rng) for _ in range(1000)]
    assert 10 <= min(delays) < 10.1
    assert 11.9 < max(delays) <= 12


def test_the_same_chance_gives_the_same_delay() -> None:
    backoff = Backoff()
    first = [backoff.delay_s(n, random.Random(5)) for n in range(9)]
    assert first == [backoff.delay_s(n, random.Random(5)) for n in range(9)]


@pytest.mark.parametrize("factor", [1.0, 1.000001, 2.0, 1e300])
def test_no_number_of_failures_is_too_many(factor: float) -> None:
    delay_s = Backoff(min_s=1, max_s=60, factor=factor, jitter=0).delay_s(10**9, random.Random(0))
    assert 1 <= delay_s <= 60


def test_failures_are_forgotten_after_the_middle_of_its_limits_or_as_told() -> None:
    assert Backoff(min_s=2, max_s=30).calm_s == 16
    assert Backoff(reset_after_s=7).calm_s == 7


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"min_s": -1}, "min_s"),
        ({"min_s": float("nan")}, "min_s"),
        ({"min_s": 5, "max_s": 4}, "max_s"),
        ({"max_s": float("inf")}, "max_s"),
        ({"factor": 0.5}, "factor"),
        ({"jitter": -0.1}, "jitter"),
        ({"reset_after_s": -1}, "reset_after_s"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(
    fields: dict[str, float], field: str
) -> None:
    with pytest.raises(InvalidSpec, match=f"backoff: {field}") as caught:
        Backoff(**fields)
    assert caught.value.reason == "invalid_backoff"


def test_jitter_is_a_share_of_seconds_that_spreads_children() -> None:
    chance = random.Random(3)
    backoff = Backoff(min_s=2, max_s=120, jitter=0.2)
    delays_s = [backoff.delay_s(20, chance) for _ in range(100)]
    assert max(delays_s) <= 144
    assert max(delays_s) - min(delays_s) > 10
