"""Our supervisor and Erlang/OTP's own play the same scenarios, and must do the same.

`OTP_SEED` and `OTP_SCENARIOS` in the environment choose other scenarios, or more of them.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from differential.otp_terms import term
from differential.scenarios import scenario

from understudy.supervision.scenario import parse
from understudy.supervision.simulate import play

if TYPE_CHECKING:
    from collections.abc import Iterable

    from understudy.supervision.scenario import Scenario

FIRST = int(os.environ.get("OTP_SEED", "1"))
COUNT = int(os.environ.get("OTP_SCENARIOS", "500"))
PLAYER = Path(__file__).with_name("otp_player.escript")
LIMIT_S = 60 + COUNT / 10
# The first test waits for all that OTP plays, what came late once more.
pytestmark = [pytest.mark.otp, pytest.mark.timeout(2 * LIMIT_S)]

Event = dict[str, Any]


def otp_plays(seeds: Iterable[int], folder: Path) -> dict[int, list[Event]]:
    """What OTP's supervisor does, by seed; without those for which the machine was too slow."""
    source, target = folder / "scenarios", folder / "traces"
    source.write_text("".join(f"{term(seed, scenario(seed))}\n" for seed in seeds), "utf-8")
    subprocess.run(["escript", PLAYER, source, target], check=True, timeout=LIMIT_S)
    traces: dict[int, list[Event]] = defaultdict(list)
    late: set[int] = set()
    for line in target.read_text("utf-8").splitlines():
        seed, _, event = line.partition(" ")
        if event == "late":
            late.add(int(seed))
        else:
            traces[int(seed)].append(json.loads(event))
    return {seed: trace for seed, trace in traces.items() if seed not in late}


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Event]]:
    """OTP's traces of all scenarios; one that came late is played again."""
    seeds = range(FIRST, FIRST + COUNT)
    found: dict[int, list[Event]] = {}
    for _ in range(4):
        missing = [seed for seed in seeds if seed not in found]
        if missing:
            found |= otp_plays(missing, tmp_path_factory.mktemp("otp"))
    return found


def in_one_order(trace: Iterable[Event], *, is_dynamic: bool) -> list[Event]:
    """OTP stops dynamic children all at once and lists them in no order: neighbours are sorted."""
    groups = itertools.groupby(trace, key=lambda event: event["event"])
    ordered: list[Event] = []
    for kind, group in groups:
        sorts = is_dynamic and kind in ("stop", "child")
        ordered += sorted(group, key=lambda event: event["child"]) if sorts else group
    return ordered


def difference(seed: int, played: Scenario, trace: list[Event]) -> str | None:
    is_dynamic = played.supervisor.strategy == "dynamic"
    ours = in_one_order(play(played), is_dynamic=is_dynamic)
    theirs = in_one_order(trace, is_dynamic=is_dynamic)
    if ours == theirs:
        return None
    pairs = itertools.zip_longest(ours, theirs)
    number, (our, their) = next((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    written = json.dumps(scenario(seed))
    return f"seed {seed}, event {number}: ours {our}, OTP's {their}; of {written}"


def test_our_supervisor_does_what_otps_does(traces: dict[int, list[Event]]) -> None:
    assert len(traces) == COUNT, "the machine was too slow for the seconds of some scenarios"
    found = [difference(seed, parse(scenario(seed)), traces[seed]) for seed in sorted(traces)]
    differences = [text for text in found if text]
    assert not differences, f"{len(differences)} differences:\n" + "\n".join(differences[:5])


def test_the_overlapping_mode_does_so_too_when_things_happen_one_by_one(
    traces: dict[int, list[Event]],
) -> None:
    differences: list[str] = []
    for seed, trace in sorted(traces.items()):
        written = scenario(seed)
        if any("together" in step or step.get("wait", 0) % 1 for step in written["steps"]):
            continue  # it counts fractions of seconds, too
        exact = parse(written)
        overlapping = replace(exact, supervisor=replace(exact.supervisor, exact=False))
        if text := difference(seed, overlapping, trace):
            differences.append(text)
    assert not differences, f"{len(differences)} differences:\n" + "\n".join(differences[:5])


@pytest.mark.parametrize("word", ["restarting", "already_present", "start_failed", "not_found"])
def test_the_scenarios_come_to_every_answer(traces: dict[int, list[Event]], word: str) -> None:
    assert any(event.get("result") == word for trace in traces.values() for event in trace)
