"""Reports as one SVG picture: bars with ranges, and growth curves. Scales are logarithmic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from bench.stats import Spread, figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.model import Outcome, Report

_WIDTH = 860
_LEFT = 150
_RIGHT = 90
_ROW = 18
_HEAD = 34
_CURVE = 220
_OURS = "#2563a8"
_OTHERS = ("#9aa5b1", "#c58b3b", "#6a9f58", "#8a6fb0")
_STYLE = "text{font:12px sans-serif;fill:#222}.t{font-weight:bold}.v{font-size:11px}"


@dataclass(frozen=True)
class Scale:
    """Values to pixels, by their logarithm."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: list[float], start: float, end: float) -> Scale:
        """From the power of ten under the least value to the largest."""
        positive = [value for value in values if value > 0] or [1.0]
        low = 10 ** math.floor(math.log10(min(positive)) - 0.01)
        return cls(low, max(*positive, low * 10), start, end)

    def __call__(self, value: float) -> float:
        """Where a value is; what is under the scale is at its start."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 1)


def svg(report: Report) -> str:
    """The picture."""
    body: list[str] = []
    y = 10.0
    for outcome in report.outcomes:
        if not outcome.question.curve:
            body += _bars(outcome, y)
            y += _HEAD + _ROW * len(_measured(outcome)) + 8
    for points in _curves(report.outcomes):
        body += _lines(points, y)
        y += _HEAD + _CURVE + 40
    size = f'width="{_WIDTH}" height="{y:.0f}" viewBox="0 0 {_WIDTH} {y:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{_STYLE}</style>'
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([head, background, *body, "</svg>"]) + "\n"


def _measured(outcome: Outcome) -> dict[str, Spread]:
    return {
        name: Spread.of(values) for name in outcome.contenders if (values := outcome.values(name))
    }


def _bars(outcome: Outcome, top: float) -> Iterator[str]:
    """A bar for each contender's median, a line over its range."""
    question = outcome.question
    better = "more is better" if question.more_is_better else "less is better"
    yield _text(10, top + 14, f"{question.key}: {question.title} ({question.unit}; {better})", "t")
    found = _measured(outcome)
    ends = [value for spread in found.values() for value in (spread.low, spread.high)]
    scale = Scale.over(ends, _LEFT, _WIDTH - _RIGHT)
    for row, (name, spread) in enumerate(found.items()):
        y = top + _HEAD - 10 + row * _ROW
        color = _OURS if name.startswith("understudy") else _OTHERS[0]
        yield _text(10, y + 12, name)
        width = max(scale(spread.mid) - _LEFT, 1)
        yield f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="13" fill="{color}"/>'
        yield _line(scale(spread.low), y + 6.5, scale(spread.high), y + 6.5, "#222")
        for end in (spread.low, spread.high):
            yield _line(scale(end), y + 3, scale(end), y + 10, "#222")
        yield _text(scale(spread.high) + 6, y + 11, figure(spread.mid), "v")


def _curves(outcomes: list[Outcome]) -> Iterator[list[Outcome]]:
    for name in dict.fromkeys(o.question.curve for o in outcomes if o.question.curve):
        points = [outcome for outcome in outcomes if outcome.question.curve == name]
        if any(_measured(point) for point in points):
            yield points


def _lines(points: list[Outcome], top: float) -> Iterator[str]:
    """A line for each contender through its medians, an upright line over each range."""
    question = points[0].question
    yield _text(10, top + 14, f"{question.curve}: {question.title} ({question.unit})", "t")
    measured = [(point.question.x, _measured(point)) for point in points]
    x = Scale.over([at for at, _ in measured], _LEFT, _WIDTH - _RIGHT)
    ends = [v for _, found in measured for s in found.values() for v in (s.low, s.high)]
    y = Scale.over(ends, top + _HEAD + _CURVE, top + _HEAD)
    for at, _ in measured:
        yield _text(x(at) - 8, top + _HEAD + _CURVE + 16, figure(at), "v")
    for value in (y.low, y.high):
        yield _text(_LEFT - 70, y(value) + 4, figure(value), "v")
    for number, name in enumerate(points[0].contenders):
        color = _OURS if name.startswith("understudy") else _OTHERS[number % len(_OTHERS)]
        line = [(x(at), found[name]) for at, found in measured if name in found]
        path = " ".join(f"{left},{y(spread.mid)}" for left, spread in line)
        yield f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>'
        for left, spread in line:
            yield _line(left, y(spread.low), left, y(spread.high), color)
        if line:
            yield _text(line[-1][0] + 6, y(line[-1][1].mid) + 4, name, "v")


def _line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'
