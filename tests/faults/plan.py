"""What a trial is to do, and what its processes note while they do it, in files."""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .points import POINTS, Point

VARIABLE = "UNDERSTUDY_FAULT_PLAN"
_MAX_HITS = 3
_MAX_DELAY_S = 0.25


@dataclass(frozen=True)
class Plan:
    """The points of a trial, in their order; with seed 0 each at its first passing and at once.

    With another seed some fire at a later passing, or a moment after it.

    Attributes:
        home: the folder of the trial, which marks its processes.
        light: agents work on nothing, without containers.
    """

    home: str
    numbers: tuple[int, ...]
    seed: int = 0
    light: bool = False

    def save(self) -> Path:
        """Write it into the home; the file's path."""
        path = Path(self.home) / "plan.json"
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    @staticmethod
    def load(path: str) -> Plan:
        """Read what `save` has written."""
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
        return Plan(fields["home"], tuple(fields["numbers"]), fields["seed"], fields["light"])

    def point(self, index: int) -> Point:
        """The point of that place in the order."""
        return POINTS[self.numbers[index]]

    def wanted_hit(self, index: int) -> int:
        """At which passing of the point it fires, from 1."""
        return 1 if self.seed == 0 else self._chance(index).randint(1, _MAX_HITS)

    def delay_s(self, index: int) -> float:
        """How long after the passing it fires."""
        chance = self._chance(index)
        chance.random()
        return 0.0 if self.seed == 0 or chance.random() < 0.5 else chance.uniform(0, _MAX_DELAY_S)

    def armed(self) -> int | None:
        """The place of the first point that has not fired, or None when all have."""
        for index in range(len(self.numbers)):
            if not self._stamp(index).exists():
                return index
        return None

    def pass_by(self, index: int) -> bool:
        """Count a passing of the point; whether it fires now, which is so once."""
        hits = Path(self.home) / f"hits-{index}"
        descriptor = os.open(hits, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, b".")
            count = os.lseek(descriptor, 0, os.SEEK_CUR)
        finally:
            os.close(descriptor)
        return count >= self.wanted_hit(index) and self._claim(index)

    def struck(self, index: int) -> list[dict[str, Any]]:
        """The journal's line of that point's kill, if it came to it."""
        return [line for line in self.journal("fired") if line["index"] == index]

    def arm_again(self, index: int) -> None:
        """Have the point fire after all."""
        self._stamp(index).unlink()

    def note(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - plain data
        """Add a line to the trial's journal, in one piece."""
        line = json.dumps({"kind": kind, "at": time.monotonic(), **fields}) + "\n"
        path = Path(self.home) / "journal"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def journal(self, kind: str) -> list[dict[str, Any]]:
        """The journal's lines of that kind."""
        return self.ordered(kind)

    def ordered(self, *kinds: str) -> list[dict[str, Any]]:
        """The journal's lines of these kinds, in the order in which they were written."""
        path = Path(self.home) / "journal"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [line for line in map(json.loads, lines) if line["kind"] in kinds]

    def _claim(self, index: int) -> bool:
        try:
            os.close(os.open(self._stamp(index), os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        return True

    def _stamp(self, index: int) -> Path:
        return Path(self.home) / f"fired-{index}"

    def _chance(self, index: int) -> random.Random:
        return random.Random(f"{self.seed}/{index}/{self.numbers[index]}")  # noqa: S311 - no secret
