"""Scenarios by chance, for our supervisor and OTP's to play."""

# ruff: noqa: S311 - chance for tests, guards nothing

from __future__ import annotations

import random
from typing import Any

REASONS = ("crash", "crash", "crash", "killed", "normal", "shutdown")
STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one", "dynamic")


def scenario(seed: int) -> dict[str, Any]:
    """The scenario of that number, as its file would hold it; always the same."""
    return _Writer(random.Random(seed)).scenario()


class _Writer:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._strategy = rng.choice(STRATEGIES)
        self._is_dynamic = self._strategy == "dynamic"
        self._auto_shutdown = rng.choice(("never", "never", "any_significant", "all_significant"))
        self._period = rng.choice((1, 1, 2))
        self._ids = [f"c{number}" for number in range(rng.randint(1, 5))]
        self._added = 0
        self._waits = rng.randint(0, 2)
        self._template = self._child("any")

    def scenario(self) -> dict[str, Any]:
        rng = self._rng
        children = [] if self._is_dynamic else [self._child(name) for name in self._ids]
        steps = [{"start": self._child(name)} for name in self._ids] if self._is_dynamic else []
        steps += [self._step() for _ in range(rng.randint(1, 12))]
        supervisor = {
            "strategy": self._strategy,
            "intensity": rng.choice((0, 1, 2, 3, 5, 50)),
            "period": self._period,
            "auto_shutdown": self._auto_shutdown,
            "children": children,
        }
        return {"supervisor": supervisor, "steps": steps}

    def _child(self, name: str) -> dict[str, Any]:
        if self._is_dynamic and name != "any":
            return {**self._template, "id": name}
        restart = self._rng.choice(("permanent", "transient", "temporary"))
        may = self._auto_shutdown != "never" and restart != "permanent"
        return {"id": name, "restart": restart, "significant": may and self._rng.random() < 0.5}

    def _step(self) -> dict[str, Any]:
        rng = self._rng
        if self._waits and rng.random() < 0.15:
            self._waits -= 1
            # Halves: OTP counts in whole seconds, and half of one must be told from all of it.
            return {"wait": rng.randint(1, 2 * (self._period + 1)) / 2}
        if not self._is_dynamic and rng.random() < 0.25:
            return {"together": self._crowd()}
        return self._event()

    def _crowd(self) -> list[dict[str, Any]]:
        rng = self._rng
        events = [self._event() for _ in range(rng.randint(2, 5))]
        if rng.random() < 0.5:
            # A restart that fails, and what gets in before it is tried again.
            name = rng.choice(self._ids)
            events.insert(0, {"exit": rng.choice(self._ids), "reason": "crash"})
            events.insert(0, {"fail_start": name, "times": rng.randint(1, 3)})
        return events

    def _event(self) -> dict[str, Any]:
        rng = self._rng
        # Now and then somebody unknown.
        name = rng.choice([*self._ids, *self._ids, "nobody"])
        kinds = ["exit"] * 5 + ["fail_start"] * 2 + ["terminate", "start"]
        if not self._is_dynamic:
            kinds += ["restart", "restart", "delete", "terminate"]
        match rng.choice(kinds):
            case "exit":
                return {"exit": name, "reason": rng.choice(REASONS)}
            case "fail_start":
                return {"fail_start": name, "times": rng.choice((1, 1, 2, 3, 6))}
            case "start":
                return {"start": self._child(self._start_id())}
            case kind:
                return {kind: name}

    def _start_id(self) -> str:
        # OTP's dynamic children have no names: there, nobody is ever present already.
        if not self._is_dynamic and self._rng.random() < 0.6:
            return self._rng.choice(self._ids)
        self._added += 1
        self._ids.append(f"d{self._added}")
        return self._ids[-1]
