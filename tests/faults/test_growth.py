"""The soak finds a leak of 50 kB, or of one descriptor, in each tenth of its strikes."""

from __future__ import annotations

import os
import random

import pytest
from faults.growth import Sample, not_flat, sample_of, summary_of


def life(
    mb_per_strike: float = 0.0, descriptors_per_strike: float = 0.0, minutes: float = 4.0
) -> list[Sample]:
    """A process that grows to 60 MB in its first seconds, and then so much more in each strike.

    Its memory wavers by 1 MB.
    """
    chance = random.Random(1)  # noqa: S311 - no secret
    samples: list[Sample] = []
    for second in range(int(minutes * 60)):
        strikes = 5 * second
        pss_mb = min(60.0, 20.0 + 4.0 * second) + mb_per_strike * strikes + chance.uniform(0, 1)
        samples.append(Sample(second, pss_mb, 30 + int(descriptors_per_strike * strikes), 8))
    return samples


def test_a_process_that_does_not_grow_is_flat() -> None:
    assert not_flat(life()) == []
    assert summary_of(life())["minutes"] == pytest.approx(3.65, abs=0.05)


@pytest.mark.parametrize(
    ("leaks", "name"),
    [
        (life(mb_per_strike=0.05 / 10), "pss_mb"),
        (life(descriptors_per_strike=1 / 10), "descriptors"),
    ],
)
def test_a_leak_in_each_tenth_strike_is_found(leaks: list[Sample], name: str) -> None:
    (fault,) = not_flat(leaks)
    assert fault.startswith(f"{name} grew by")


def test_a_short_life_tells_nothing() -> None:
    assert not_flat(life(mb_per_strike=1.0, minutes=2.0)) == []
    assert summary_of(life(minutes=0.2)) == {}


def test_what_a_process_uses_is_what_the_kernel_says() -> None:
    sample = sample_of(os.getpid(), 3.0)
    assert sample.at_s == 3.0
    assert sample.pss_mb > 1
    assert sample.descriptors > 2
    assert sample.threads >= 1
