"""What an evaluation found, to read, to print and to keep."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tastemap.errors import ParameterError
from tastemap.metrics import Metric

__all__ = ["Report", "as_text", "shown"]


@dataclass(frozen=True, eq=False)
class Report:
    """The metrics of one model on one held-out part.

    Attributes:
        model: its name.
        part: "test", "validation" or "truth" (of a frame).
        metrics: name to value, as "ndcg@10"; NaN where no user has one.
        intervals: name to the ends of the bootstrap interval over users; None for coverage and
            Gini, which drawing users with replacement would distort.
        confidence: of the intervals.
        per_user: a frame with a row for each query: user (id; null for a stranger), history (events
            known), relevant (items to be found), and a column for each metric that users have.
        segments: a frame: segment, definition, users, and the same metrics. Segments of items count
            only their own items as relevant; metrics that do not look at the truth are null there.
        n_users: queries that were judged.
        n_items: size of the catalogue.
        split: how the data were split, in words.
        fingerprint: of the split; figures of two reports compare only where it is the same.
        exclude_seen: whether items of the history were left out; None where lists came ready-made.
        min_value: true events of a lower value were not taken as relevant; None where all were.
        seconds: wall time of scoring and judging.
    """

    model: str
    part: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float] | None]
    confidence: float
    per_user: pl.DataFrame
    segments: pl.DataFrame
    n_users: int
    n_items: int
    split: str
    fingerprint: str
    exclude_seen: bool | None
    min_value: float | None
    seconds: float

    def __getitem__(self, metric: str | Metric) -> float:
        """The value of a metric such as "ndcg@10".

        Raises:
            ParameterError: it was not evaluated.
        """
        name = str(Metric.parse(metric))
        if name not in self.metrics:
            raise ParameterError(f"{name} was not evaluated; there are: {', '.join(self.metrics)}")
        return self.metrics[name]

    def to_frame(self) -> pl.DataFrame:
        """Columns model, metric, value, low, high; the last two are null without an interval."""
        ends = [self.intervals[name] or (None, None) for name in self.metrics]
        return pl.DataFrame(
            {
                "model": [self.model] * len(self.metrics),
                "metric": list(self.metrics),
                "value": list(self.metrics.values()),
                "low": [low for low, _ in ends],
                "high": [high for _, high in ends],
            },
            schema_overrides={"low": pl.Float64, "high": pl.Float64},
        )

    def to_dict(self) -> dict[str, Any]:
        """All but the values per user, as plain numbers and texts; None for NaN."""
        return {
            "model": self.model,
            "part": self.part,
            "metrics": {name: _plain(value) for name, value in self.metrics.items()},
            "intervals": {
                name: None if ends is None else [_plain(end) for end in ends]
                for name, ends in self.intervals.items()
            },
            "confidence": self.confidence,
            "segments": [
                {key: _plain(value) for key, value in row.items()}
                for row in self.segments.to_dicts()
            ],
            "n_users": self.n_users,
            "n_items": self.n_items,
            "split": self.split,
            "fingerprint": self.fingerprint,
            "exclude_seen": self.exclude_seen,
            "min_value": self.min_value,
            "seconds": round(self.seconds, 3),
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """`to_dict` as JSON, also written to a file where a path is given."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    def __rich__(self) -> RenderableType:
        table = Table(
            title=f"{self.model} on {self.part}: {self.n_users:,} users, {self.n_items:,} items",
            box=box.SIMPLE_HEAD,
            title_justify="left",
        )
        table.add_column("metric", no_wrap=True)
        table.add_column("value", justify="right", style="bold")
        table.add_column(
            f"{self.confidence:.0%} interval", justify="right", style="dim", no_wrap=True
        )
        # A segment of nobody says nothing, and the one in the middle little.
        segments = [
            row
            for row in self.segments.to_dicts()
            if row["users"] and row["segment"] != "regular users"
        ]
        for segment in segments:
            table.add_column(str(segment["segment"]), justify="right")
        for name, value in self.metrics.items():
            ends = self.intervals[name]
            table.add_row(
                name,
                shown(value),
                "" if ends is None else f"{shown(ends[0])} – {shown(ends[1])}",
                *(shown(segment.get(name)) for segment in segments),
            )
        notes = [
            f"{row['segment']}: {row['definition']} ({row['users']:,} users)" for row in segments
        ]
        seen = {True: "seen items left out; ", False: "seen items may come back; ", None: ""}
        liked = "" if self.min_value is None else f"relevant from value {self.min_value:g} on; "
        notes.append(self.split)
        notes.append(
            f"{seen[self.exclude_seen]}{liked}split {self.fingerprint}; {self.seconds:.2f} s"
        )
        return Group(table, *(Text(f"  {note}", style="dim") for note in notes))

    def __str__(self) -> str:
        return as_text(self)


def shown(value: float | None) -> str:
    """A metric's value for people: four digits behind the point, fewer for large numbers."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def as_text(renderable: Any, width: int = 120) -> str:
    """What rich would print, as plain text."""
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines())


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
