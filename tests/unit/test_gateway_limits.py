"""The copy of the API's buckets: when a request may go, so that the API has no reason to refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.actors.gateway.limits import Cost, Estimate, RateLimits
from understudy.actors.gateway.rate_headers import Window, read_retry_after, read_windows

FREE = Cost()


def test_without_a_known_limit_everything_goes_at_once() -> None:
    limits = RateLimits({})
    assert all(limits.wait_s(0.0, FREE) == 0 for _ in range(1000) if limits.take(0.0, FREE))


def test_an_answer_teaches_the_limit_and_the_next_waits_for_its_share_of_a_minute() -> None:
    limits = RateLimits({})
    limits.learn(0.0, limits.take(0.0, FREE), {"requests": Window(60, 1)})
    assert limits.wait_s(0.0, FREE) == 0
    limits.take(0.0, FREE)
    assert limits.wait_s(0.0, FREE) == pytest.approx(1.0)
    assert limits.wait_s(0.4, FREE) == pytest.approx(0.6)
    assert limits.wait_s(1.0, FREE) == 0


def test_what_left_after_the_answered_request_is_taken_off_what_the_answer_says_is_left() -> None:
    limits = RateLimits({})
    first, _, _ = (limits.take(0.0, FREE) for _ in range(3))
    limits.learn(0.0, first, {"requests": Window(60, 2)})
    # Two are still on their way: the API has not counted them, and nothing is left after them.
    assert limits.wait_s(0.0, FREE) == pytest.approx(1.0)


def test_a_refused_request_gives_back_what_it_took() -> None:
    limits = RateLimits({"requests": 1})
    permit = limits.take(0.0, FREE)
    assert limits.wait_s(0.0, FREE) > 0
    limits.give_back(0.0, permit)
    assert limits.wait_s(0.0, FREE) == 0
    limits.give_back(0.0, permit)
    limits.take(0.0, FREE)
    assert limits.wait_s(0.0, FREE) > 0, "twice given back, once taken"


def test_tokens_have_buckets_of_their_own_and_the_true_number_corrects_the_guess() -> None:
    limits = RateLimits({})
    permit = limits.take(0.0, Cost(100, 10))
    limits.learn(0.0, permit, {"input-tokens": Window(6000, 600), "output-tokens": Window(600, 9)})
    assert limits.wait_s(0.0, Cost(600, 9)) == 0
    assert limits.wait_s(0.0, Cost(700, 0)) == pytest.approx(1.0)
    assert limits.wait_s(0.0, Cost(0, 19)) == pytest.approx(1.0)
    limits.correct(0.0, permit, Cost(200, 10))
    assert limits.wait_s(0.0, Cost(600, 9)) == pytest.approx(1.0)


def test_a_request_larger_than_a_bucket_goes_when_the_bucket_is_full() -> None:
    limits = RateLimits({"tokens": 100})
    assert limits.wait_s(0.0, Cost(5000, 0)) == 0
    limits.take(0.0, Cost(50, 0))
    assert limits.wait_s(0.0, Cost(5000, 0)) == pytest.approx(30.0)


def test_a_pause_holds_for_everybody_and_a_shorter_one_does_not_end_it() -> None:
    limits = RateLimits({})
    limits.pause(5.0)
    limits.pause(2.0)
    assert limits.wait_s(1.0, FREE) == 4.0
    assert limits.wait_s(5.0, FREE) == 0


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60), st.integers(1, 50), st.integers(0, 50))
def test_never_more_pass_than_the_limit_allows(
    gaps: list[float], limit: int, remaining: int
) -> None:
    limits = RateLimits({})
    limits.learn(0.0, limits.take(0.0, FREE), {"requests": Window(limit, min(limit, remaining))})
    now, passed = 0.0, 0
    for gap in gaps:
        now += gap
        if limits.wait_s(now, FREE) == 0:
            limits.take(now, FREE)
            passed += 1
    assert passed <= min(limit, remaining) + now * limit / 60 + 1e-3


def test_the_guess_follows_what_was_measured() -> None:
    estimate = Estimate()
    for _ in range(200):
        estimate.learn(1000, Cost(100, 50))
    guess = estimate.cost(2000)
    assert guess.input_tokens == pytest.approx(200, rel=0.05)
    assert guess.output_tokens == pytest.approx(50, rel=0.05)


# -- the headers ------------------------------------------------------------------------------


def test_the_windows_of_an_answer_are_read_and_what_is_malformed_left_out() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-tokens-limit": "many",
        "anthropic-ratelimit-tokens-remaining": "3",
        "anthropic-ratelimit-input-tokens-limit": "10",
        "anthropic-ratelimit-input-tokens-remaining": "nan",
        "anthropic-ratelimit-output-tokens-limit": "0",
        "anthropic-ratelimit-output-tokens-remaining": "0",
    }
    assert read_windows(headers) == {"requests": Window(50, 49)}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({"anthropic-ratelimit-unified-reset": "70"}, 60.0),
        ({"retry-after": "99999999"}, 604800.0),
    ],
)
def test_when_to_try_again_is_read_in_every_form(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert read_retry_after(headers, wall_s=10.0) == seconds


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms",
       "anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining",
       "anthropic-ratelimit-unified-reset"]), st.text(max_size=30)))  # fmt: skip
def test_no_header_of_the_api_breaks_the_gateway(headers: dict[str, str]) -> None:
    read_windows(headers)
    wait_s = read_retry_after(headers, wall_s=0.0)
    assert wait_s is None or 0 <= wait_s <= 604800
