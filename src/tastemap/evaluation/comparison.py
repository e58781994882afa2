"""Reports of several models side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tastemap.errors import ParameterError
from tastemap.evaluation.report import Report, as_text, shown
from tastemap.metrics import Metric, bootstrap_interval

__all__ = ["Comparison", "compare"]

# These are not means of values per user, so a mean of differences per user is not their difference.
_NO_MEANS = {"rmse", "mae", "popularity_bias"}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Reports on the same queries, made by `compare`.

    Attributes:
        reports: in the order given, with different names.
    """

    reports: tuple[Report, ...]

    @property
    def metrics(self) -> list[str]:
        """The metrics of all reports, in order of first appearance."""
        return list(dict.fromkeys(name for report in self.reports for name in report.metrics))

    def to_frame(self) -> pl.DataFrame:
        """A row for each model: model, a column for each metric (null where it lacks), seconds."""
        rows = [
            {"model": r.model, **{name: r.metrics.get(name) for name in self.metrics},
             "seconds": r.seconds}
            for r in self.reports
        ]  # fmt: skip
        schema = {"model": pl.String, **dict.fromkeys([*self.metrics, "seconds"], pl.Float64)}
        return pl.DataFrame(rows, schema=schema)

    def differences(self, baseline: str | None = None) -> pl.DataFrame:
        """By how much each model differs from a baseline, user by user.

        The two models' values of a user go together, so an interval that leaves out 0 speaks for a
        real difference even where the two models' own intervals overlap.

        Args:
            baseline: name of the model to compare with; the first by default.

        Returns:
            A frame: model, metric, difference, low, high, for metrics that are means over users.

        Raises:
            ParameterError: there is no model of that name.
        """
        by_name = {report.model: report for report in self.reports}
        first = self.reports[0].model if baseline is None else baseline
        if first not in by_name:
            raise ParameterError(f"no report of {first!r}; there are: {', '.join(by_name)}")
        base = by_name[first]
        rows: list[dict[str, Any]] = []
        for report in self.reports:
            if report is base:
                continue
            names = [
                name
                for name in base.metrics
                if name in report.per_user.columns
                and name in base.per_user.columns
                and Metric.parse(name).name not in _NO_MEANS
            ]
            gaps = (_values(report, names) - _values(base, names)).reshape(-1, len(names))
            low, high = bootstrap_interval(gaps, confidence=report.confidence)
            for column, name in enumerate(names):
                gap = gaps[:, column]
                some = gap[~np.isnan(gap)]
                rows.append(
                    {"model": report.model, "metric": name,
                     "difference": some.mean() if len(some) else None,
                     "low": low[column], "high": high[column]}
                )  # fmt: skip
        numbers = dict.fromkeys(["difference", "low", "high"], pl.Float64)
        return pl.DataFrame(rows, schema={"model": pl.String, "metric": pl.String, **numbers})

    def __rich__(self) -> RenderableType:
        first = self.reports[0]
        title = f"{first.part}: {first.n_users:,} users, {first.n_items:,} items"
        table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
        table.add_column("metric", no_wrap=True)
        for report in self.reports:
            table.add_column(report.model, justify="right")
        for name in self.metrics:
            values = [report.metrics.get(name, np.nan) for report in self.reports]
            best = _best(name, values)
            cells = [Text(shown(x), style="bold green" if x == best else "") for x in values]
            table.add_row(name, *cells)
        seconds = [f"{report.seconds:.2f}" for report in self.reports]
        table.add_row("seconds", *seconds, style="dim")
        note = f"  {first.split} Split {first.fingerprint}"
        return Group(table, Text(note, style="dim"))

    def __str__(self) -> str:
        return as_text(self)


def compare(reports: Iterable[Report]) -> Comparison:
    """Reports of several models, side by side.

    Raises:
        ParameterError: there is no report, or they are not on the same queries and rules, or two
            have one name.
    """
    listed = tuple(reports)
    if not listed:
        raise ParameterError("compare: give at least one report")
    first = listed[0]
    for report in listed:
        for what, mine, theirs in (
            ("part", report.part, first.part),
            ("split", report.fingerprint, first.fingerprint),
            ("number of users", report.n_users, first.n_users),
            ("exclude_seen", report.exclude_seen, first.exclude_seen),
            ("min_value", report.min_value, first.min_value),
        ):
            if mine != theirs:
                raise ParameterError(
                    f"compare: {report.model!r} and {first.model!r} were not evaluated alike: "
                    f"{what} {mine} and {theirs}"
                )
    names = [report.model for report in listed]
    for name in names:
        if names.count(name) > 1:
            raise ParameterError(
                f"compare: two reports are of {name!r}; evaluate with name= to tell them apart"
            )
    return Comparison(listed)


def _best(name: str, values: list[float]) -> float | None:
    better = Metric.parse(name).info.better
    found = [value for value in values if not np.isnan(value)]
    if better is None or len(found) < 2:
        return None
    return max(found) if better == "higher" else min(found)


def _values(report: Report, names: list[str]) -> Any:
    return report.per_user.select(names).to_numpy().astype(np.float64)
