"""Charts as SVG texts: plain shapes whose colours are those of the page around them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Protocol

__all__ = ["Linear", "Log", "Named", "Plot", "Scale", "bars"]

Point = tuple[Any, float]

_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 40


class Scale(Protocol):
    """Where values lie on an axis."""

    def place(self, value: Any) -> float:
        """From 0, the beginning of the axis, to 1, its end."""

    def ticks(self) -> list[tuple[Any, str]]:
        """Values to be marked, with their texts."""


@dataclass(frozen=True)
class Linear:
    """Equal steps, from `low` to `high`."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Linear:
        """The scale on which these values fill the axis."""
        known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(known), max(known)
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
        return cls(low - margin, high + margin)

    def place(self, value: Any) -> float:
        return float((value - self.low) / (self.high - self.low))

    def ticks(self) -> list[tuple[Any, str]]:
        step = _nice((self.high - self.low) / 6)
        digits = max(0, -math.floor(math.log10(step)))
        first = math.ceil(self.low / step)
        values = [n * step for n in range(first, math.floor(self.high / step) + 1)]
        return [(value, f"{value:.{digits}f}") for value in values]


@dataclass(frozen=True)
class Log:
    """Equal factors, from `low` to `high`, both above 0; marked at `marks`, or at round numbers."""

    low: float
    high: float
    marks: tuple[float, ...] = ()

    def place(self, value: Any) -> float:
        if self.low == self.high:
            return 0.5
        return math.log(value / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[tuple[Any, str]]:
        if self.marks:
            return [(mark, f"{mark:g}") for mark in self.marks]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in ((1,), (1, 3), (1, 2, 5)):
            found = [digit * 10.0**decade for decade in decades for digit in digits]
            within = [value for value in found if self.low <= value <= self.high]
            if len(within) >= 3:
                break
        return [(value, f"{value:g}") for value in within]


@dataclass(frozen=True)
class Named:
    """One place for each value."""

    values: Sequence[Any]

    def place(self, value: Any) -> float:
        return (list(self.values).index(value) + 0.5) / len(self.values)

    def ticks(self) -> list[tuple[Any, str]]:
        return [(value, "none" if value is None else str(value)) for value in self.values]


@dataclass
class Plot:
    """Points and lines between two axes; call the methods, then `svg`.

    Attributes:
        x, y: the scales.
        x_label, y_label: what the axes are.
        width, height: in pixels of a page that is wide enough.
    """

    x: Scale
    y: Scale
    x_label: str
    y_label: str
    width: int = 860
    height: int = 260
    _shapes: list[str] = field(default_factory=list)

    def _at(self, point: Point) -> tuple[float, float]:
        inner_width, inner_height = self.width - _LEFT - _RIGHT, self.height - _TOP - _BOTTOM
        return (
            _LEFT + inner_width * self.x.place(point[0]),
            _TOP + inner_height * (1 - self.y.place(point[1])),
        )

    def line(self, points: Sequence[Point], style: str) -> None:
        """A line through points."""
        path = " ".join("{:.1f},{:.1f}".format(*self._at(point)) for point in points)
        self._shapes.append(f'<polyline class="line {style}" points="{path}"/>')

    def band(self, lows: Sequence[Point], highs: Sequence[Point], style: str) -> None:
        """The area between two lines."""
        around = [*lows, *reversed(highs)]
        path = " ".join("{:.1f},{:.1f}".format(*self._at(point)) for point in around)
        self._shapes.append(f'<polygon class="band {style}" points="{path}"/>')

    def dot(self, point: Point, style: str, says: str, radius: float = 4) -> None:
        """A point; `says` is shown when the pointer rests on it."""
        x, y = self._at(point)
        self._shapes.append(
            f'<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}">'
            f"<title>{escape(says)}</title></circle>"
        )

    def upright(self, x: Any, says: str) -> None:
        """A line from bottom to top at a value of x, with a text at its upper end."""
        at, _ = self._at((x, 0.0))
        near_end = at > 0.75 * self.width
        self._shapes.append(
            f'<line class="upright" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" '
            f'y2="{self.height - _BOTTOM}"/>'
            f'<text class="note" x="{at + (-6 if near_end else 6):.1f}" y="{_TOP + 12}" '
            f'text-anchor="{"end" if near_end else "start"}">{escape(says)}</text>'
        )

    def svg(self, says: str) -> str:
        """The picture as HTML; `says` describes it for those who do not see it."""
        left, right = _LEFT, self.width - _RIGHT
        top, bottom = _TOP, self.height - _BOTTOM
        parts = [
            f'<div class="scroll{" wide" if self.width > 400 else ""}">'
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" '
            f'style="max-width:{self.width}px" aria-label="{escape(says)}">'
        ]
        for value, text in self.y.ticks():
            y = top + (bottom - top) * (1 - self.y.place(value))
            parts.append(
                f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">'
                f"{escape(text)}</text>"
            )
        for value, text in self.x.ticks():
            x = left + (right - left) * self.x.place(value)
            parts.append(
                f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
                f'<text class="tick" x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">'
                f"{escape(text)}</text>"
            )
        parts.append(f'<line class="mark" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        parts += self._shapes
        middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
        parts.append(
            f'<text class="label" x="{middle_x:.1f}" y="{self.height - 6}" text-anchor="middle">'
            f"{escape(self.x_label)}</text>"
            f'<text class="label" transform="translate(13 {middle_y:.1f}) rotate(-90)" '
            f'text-anchor="middle">{escape(self.y_label)}</text></svg></div>'
        )
        return "".join(parts)


def bars(shares: Sequence[tuple[str, float]], says: str, width: int = 860) -> str:
    """Horizontal bars of shares from 0 to 1, each with its name and percentage."""
    row, names = 28, 170
    height = row * len(shares) + 8
    longest = max((share for _, share in shares), default=1.0) or 1.0
    room = width - names - 64
    parts = [
        f'<div class="scroll wide"><svg viewBox="0 0 {width} {height}" role="img" '
        f'style="max-width:{width}px" '
        f'aria-label="{escape(says)}">'
    ]
    for number, (name, share) in enumerate(shares):
        y, length = 4 + row * number, max(1.0, room * share / longest)
        parts.append(
            f'<text class="name" x="{names - 10}" y="{y + 17}" text-anchor="end">{escape(name)}'
            f'</text><rect class="bar" x="{names}" y="{y + 3}" width="{length:.1f}" '
            f'height="{row - 8}" rx="3"/><text class="tick" x="{names + length + 8:.1f}" '
            f'y="{y + 17}">{share:.0%}</text>'
        )
    return "".join([*parts, "</svg></div>"])


def _nice(step: float) -> float:
    """The next round number: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= step * 0.999)
