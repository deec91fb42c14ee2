"""The scripted model's rate limit and bad weather, with the time passed in."""

from __future__ import annotations

import pytest

from understudy.fakeapi import FakeApiError
from understudy.fakeapi.quota import Gauge, Quota, Storm
from understudy.fakeapi.script import Scenarios


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def gauge(quota: Quota | None = None, storm: Storm | None = None) -> tuple[Gauge, Clock]:
    clock = Clock()
    made = Gauge(clock, clock)
    made.set(quota, storm)
    return made, clock


def test_what_is_over_the_limit_is_refused_until_enough_has_flowed_in() -> None:
    made, clock = gauge(Quota(requests_per_minute=60, burst=0.05))
    assert [made.admit(1) is None for _ in range(4)] == [True, True, True, False]
    refusal = made.admit(1)
    assert refusal is not None
    assert (refusal.status, refusal.headers["retry-after"]) == (429, "1")
    assert refusal.headers["anthropic-ratelimit-requests-remaining"] == "0"
    clock.now = 1.0
    assert made.admit(1) is None


def test_tokens_out_are_counted_after_the_answer_and_told_with_the_next() -> None:
    made, clock = gauge(Quota(output_tokens_per_minute=60))
    assert made.admit(1) is None
    made.spend(90)
    assert made.head()["anthropic-ratelimit-output-tokens-remaining"] == "0"
    assert made.admit(1) is not None
    clock.now = 31.0
    assert made.admit(1) is None


def test_a_limit_may_be_kept_secret() -> None:
    made, _ = gauge(Quota(requests_per_minute=1, headers=False))
    made.admit(1)
    refusal = made.admit(1)
    assert refusal is not None
    assert set(refusal.headers) == {"retry-after"}
    assert made.head() == {}


def test_a_storm_has_an_end() -> None:
    made, clock = gauge(storm=Storm(seconds=5, status=503, retry_after=2))
    refusal = made.admit(1)
    assert refusal is not None
    assert (refusal.status, refusal.headers) == (503, {"retry-after": "2"})
    clock.now = 5.0
    assert made.admit(1) is None


@pytest.mark.parametrize("table", [{"limits": {"per_hour": 3}}, {"storm": {"status": 529}}])
def test_a_limit_or_a_storm_that_is_not_understood_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(FakeApiError, match="scenarios"):
        Scenarios(table)
