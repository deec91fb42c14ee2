"""What the benches say of their numbers."""

from __future__ import annotations

import pytest
from bench.model import Outcome, Question, Run
from bench.rounds import plan
from bench.stats import Spread, figure
from bench.verdict import verdicts

_RATE = Question("W1", "tell", "per_s", "messages/s", more_is_better=True, subject="us")
_TIME = Question("W3", "ask", "us", "us", more_is_better=False, subject="us")


def _row(us: float, them: float, metric: str = "per_s", noise: float = 0.0) -> dict[str, Run]:
    return {
        "us": Run({metric: us}, others_during=noise),
        "them": Run({metric: them}),
    }


def test_a_spread_is_least_middle_and_largest() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(1.0, 2.5, 10.0)


def test_there_is_no_spread_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        Spread.of([])


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.00"), (0.41667, "0.417"), (2.5, "2.50"), (43.21, "43.2"), (9999.0, "9999"),
     (28_503.0, "28.5k"), (1_404_000.0, "1.40M")],
)  # fmt: skip
def test_figures_have_three_places_that_count(value: float, shown: str) -> None:
    assert figure(value) == shown


def test_a_ratio_is_taken_within_a_round_and_not_of_the_medians() -> None:
    outcome = Outcome(_RATE, [_row(10, 1), _row(20, 10), _row(40, 10)])
    assert outcome.ratios("them") == [10.0, 2.0, 4.0]


def test_a_ratio_over_one_means_better_also_where_less_is_better() -> None:
    assert Outcome(_TIME, [_row(10, 20, "us")]).ratios("them") == [2.0]


def test_a_round_in_which_one_failed_gives_no_ratio() -> None:
    failed = {"us": Run({"per_s": 5.0}), "them": Run(error="died")}
    outcome = Outcome(_RATE, [failed, _row(6, 3)])
    assert outcome.ratios("them") == [2.0]
    assert outcome.failures() == {"them": ["died"]}


def test_noisy_rounds_are_counted_and_can_be_left_out() -> None:
    outcome = Outcome(_RATE, [_row(4, 2, noise=0.5), _row(6, 2)])
    assert outcome.noisy_rounds(0.1) == 1
    assert outcome.values("us", quiet=0.1) == [6.0]
    assert outcome.ratios("them", quiet=0.1) == [3.0]


def test_every_contender_is_once_in_every_round_and_the_seed_decides_the_order() -> None:
    names = ["a", "b", "c", "d", "e"]
    rounds = plan(names, 20, "1")
    assert all(sorted(order) == names for order in rounds)
    assert len({tuple(order) for order in rounds}) > 1
    assert rounds == plan(names, 20, "1")
    assert rounds != plan(names, 20, "2")


def test_the_median_ratio_decides_whether_a_goal_is_reached() -> None:
    question = Question(
        "W1", "tell", "per_s", "", more_is_better=True, subject="us", goals={"them": 3.0, "x": 1.0}
    )
    reached, unknown = verdicts(Outcome(question, [_row(2, 1), _row(3, 1), _row(9, 1)]))
    assert (reached.reached, reached.found) == (True, "3.00")
    assert (unknown.reached, unknown.found) == (None, "not measured")


def test_limits_hold_for_the_subject_and_may_be_of_another_value() -> None:
    question = Question(
        "W6", "new", "ms", "ms", more_is_better=False, subject="us", limits={"ms": 12, "uss_mb": 8}
    )
    rows = [{"us": Run({"ms": 11.0, "uss_mb": 9.0})}]
    assert [one.reached for one in verdicts(Outcome(question, rows))] == [True, False]


def test_a_difference_may_be_limited() -> None:
    question = Question(
        "cold", "", "s", "s", more_is_better=False, subject="us", most_more={"them": 0.5}
    )
    rows = [{"us": Run({"s": 1.2}), "them": Run({"s": 0.6})}]
    assert [one.reached for one in verdicts(Outcome(question, rows))] == [False]
