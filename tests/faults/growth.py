"""Whether processes grow while all around them falls: samples, and a line through them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_WARM_UP_S = 20.0
_LEAST_MINUTES = 2.0
# One descriptor, or 50 kB, leaked in each tenth of the 300 strikes of a minute is over these.
_MAX_PER_MINUTE = {"pss_mb": 1.0, "descriptors": 5.0}


@dataclass
class Sample:
    """What a process used, so many seconds after it was first looked at."""

    at_s: float
    pss_mb: float
    descriptors: int
    threads: int


def sample_of(pid: int, at_s: float) -> Sample:
    """What that process uses now.

    Raises:
        OSError: it is gone.
    """
    proc = Path(f"/proc/{pid}")
    rollup = (proc / "smaps_rollup").read_text(encoding="ascii")
    pss_kb = next(int(row.split()[1]) for row in rollup.splitlines() if row[:4] == "Pss:")
    descriptors, threads = (len(list((proc / part).iterdir())) for part in ("fd", "task"))
    return Sample(at_s, pss_kb / 1024, descriptors, threads)


def summary_of(samples: list[Sample]) -> dict[str, float]:
    """First, last and growth per minute, from the warm-up on; nothing of a shorter life."""
    samples = [sample for sample in samples if sample.at_s >= _WARM_UP_S]
    if len(samples) < 2:
        return {}
    found: dict[str, float] = {"minutes": round((samples[-1].at_s - samples[0].at_s) / 60, 2)}
    for name in ("pss_mb", "descriptors", "threads"):
        found[f"{name}_first"] = round(float(getattr(samples[0], name)), 1)
        found[f"{name}_last"] = round(float(getattr(samples[-1], name)), 1)
        found[f"{name}_per_minute"] = round(_slope(samples, name), 2)
    return found


def not_flat(samples: list[Sample]) -> list[str]:
    """What grew in a life that was long enough to tell."""
    found = summary_of(samples)
    if found.get("minutes", 0.0) < _LEAST_MINUTES:
        return []
    return [
        f"{name} grew by {found[f'{name}_per_minute']} a minute"
        for name, limit in _MAX_PER_MINUTE.items()
        if found[f"{name}_per_minute"] > limit
    ]


def _slope(samples: list[Sample], name: str) -> float:
    """By how much it grows in a minute, by least squares."""
    ages = [sample.at_s / 60 for sample in samples]
    values = [float(getattr(sample, name)) for sample in samples]
    middle_x, middle_y = sum(ages) / len(ages), sum(values) / len(values)
    spread = sum((x - middle_x) ** 2 for x in ages)
    pairs = zip(ages, values, strict=True)
    return sum((x - middle_x) * (y - middle_y) for x, y in pairs) / spread if spread else 0.0
