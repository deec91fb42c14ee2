"""Each numbered point once; `make faults` plays each with more seeds, in a home of its own."""

from __future__ import annotations

import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.points import POINTS, table
from faults.trial import run

LIGHT = [number for number, point in POINTS.items() if not point.needs_container]
HEAVY = [number for number, point in POINTS.items() if point.needs_container]


def test_there_are_forty_points_or_more_and_each_is_a_function_that_exists() -> None:
    assert len(POINTS) >= 40
    for point in POINTS.values():
        module, _, path = point.target.partition(":")
        found = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        assert callable(found), point


def test_the_readme_shows_the_points() -> None:
    text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    assert table() in text, "put in what `python -m tests.faults --list` prints"


@pytest.mark.podman
@pytest.mark.timeout(600)  # a minute on a machine of its own
def test_a_kill_at_any_point_loses_nothing_doubles_nothing_and_leaves_nothing(image: str) -> None:
    del image
    with ThreadPoolExecutor(2) as both:  # each waits most of its time
        # `python -m tests.faults` measures the guard; two trials at once take each other's time.
        light = both.submit(run, LIGHT, 0, light=True, env=os.environ, guard_s=6.0)
        heavy = both.submit(run, HEAVY, 0, light=False, env=os.environ, guard_s=6.0)
    for outcome in (light.result(), heavy.result()):
        assert not outcome.faults, outcome.report()
