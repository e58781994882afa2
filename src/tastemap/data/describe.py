"""What a data set looks like at a glance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tastemap.data.dataset import Dataset

__all__ = ["Description", "describe"]

_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
_BARS = 10


@dataclass(frozen=True)
class Description:
    """Figures of a data set.

    Attributes:
        density: the share of (user, item) pairs that have an event.
        first, last: the first and last event's time (ISO 8601, UTC), or None without times.
        values: (from, to, events) of each value, or of ten equal ranges where there are many.
        kinds: events of each kind.
        history_lengths: events a user, at some quantiles ("50%" is the median).
        item_gini: Gini coefficient of the items' counts: 0 where all are equal, near 1 where few
            items have nearly all events.
        head_share: the share of events on the most popular tenth of the items.
    """

    title: str
    events: int
    users: int
    items: int
    density: float
    first: str | None
    last: str | None
    values: tuple[tuple[float, float, int], ...]
    kinds: dict[str, int]
    history_lengths: dict[str, float]
    item_gini: float
    head_share: float
    item_attributes: tuple[str, ...]
    user_attributes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values, for JSON."""
        return asdict(self)

    def __rich__(self) -> RenderableType:
        facts = Table(
            title=Text(self.title) if self.title else None, show_header=False, title_justify="left"
        )
        facts.add_column(style="bold")
        facts.add_column()
        for label, text in (
            ("events", f"{self.events:,}"),
            ("users", f"{self.users:,}"),
            ("items", f"{self.items:,}"),
            ("density", f"{self.density:.3%}"),
            ("time", f"{self.first} to {self.last}" if self.first else "none"),
            ("kinds", ", ".join(f"{kind} {count:,}" for kind, count in self.kinds.items())),
            ("popularity", f"the top tenth of items has {self.head_share:.0%} of the events "
                           f"(Gini {self.item_gini:.2f})"),
            ("item attributes", ", ".join(self.item_attributes) or "none"),
            ("user attributes", ", ".join(self.user_attributes) or "none"),
        ):  # fmt: skip
            facts.add_row(label, Text(text))
        lengths = Table(title="Events a user", title_justify="left")
        for quantile in self.history_lengths:
            lengths.add_column(quantile, justify="right")
        lengths.add_row(*(f"{length:,.0f}" for length in self.history_lengths.values()))
        values = Table(title="Values", title_justify="left")
        values.add_column("value", justify="right")
        values.add_column("events", justify="right")
        values.add_column("")
        most = max(count for _, _, count in self.values)
        for low, high, count in self.values:
            label = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            values.add_row(label, f"{count:,}", "█" * round(30 * count / most))
        return Group(facts, lengths, values)


def describe(dataset: Dataset, title: str = "") -> Description:
    """The figures of a data set; `title` heads the table that rich prints."""
    histories = dataset.histories
    counts = histories.counts[1:]
    by_item = dataset.item_counts[1:]
    pairs = _distinct_pairs(dataset)
    lengths = np.quantile(counts, _QUANTILES)
    by_kind = np.bincount(histories.kinds, minlength=len(dataset.kind_names))
    times = histories.times
    return Description(
        title=title,
        events=dataset.n_events,
        users=dataset.n_users,
        items=dataset.n_items,
        density=pairs / (dataset.n_users * dataset.n_items),
        first=_iso(times.min()) if dataset.has_times else None,
        last=_iso(times.max()) if dataset.has_times else None,
        values=_histogram(histories.values),
        kinds=dict(zip(dataset.kind_names, by_kind.tolist(), strict=True)),
        history_lengths={
            f"{quantile:.0%}": float(length)
            for quantile, length in zip(_QUANTILES, lengths, strict=True)
        },
        item_gini=_gini(by_item),
        head_share=_head_share(by_item),
        item_attributes=_attributes(dataset.item_table),
        user_attributes=_attributes(dataset.user_table),
    )


def _distinct_pairs(dataset: Dataset) -> int:
    pairs = dataset.histories.rows_of_events().astype(np.int64) * len(dataset.items)
    pairs += dataset.histories.items
    pairs.sort()
    return int((np.diff(pairs) != 0).sum()) + 1


def _attributes(table: Any) -> tuple[str, ...]:
    return () if table is None else tuple(table.columns[1:])


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).isoformat(timespec="seconds")


def _histogram(values: NDArray[np.float32]) -> tuple[tuple[float, float, int], ...]:
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= 2 * _BARS:
        return tuple(
            (float(value), float(value), int(count))
            for value, count in zip(distinct, counts, strict=True)
        )
    numbers, edges = np.histogram(values, bins=_BARS)
    return tuple(
        (float(low), float(high), int(count))
        for low, high, count in zip(edges[:-1], edges[1:], numbers, strict=True)
    )


def _gini(counts: NDArray[np.int64]) -> float:
    ordered = np.sort(counts).astype(np.float64)
    n = len(ordered)
    rank = np.arange(1, n + 1)
    return float((2 * rank - n - 1) @ ordered / (n * ordered.sum()))


def _head_share(counts: NDArray[np.int64]) -> float:
    head = max(1, round(len(counts) / 10))
    return float(np.sort(counts)[-head:].sum() / counts.sum())
