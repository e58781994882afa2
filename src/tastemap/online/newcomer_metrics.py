"""New items as metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tastemap.online.newcomers import Newcomers

__all__ = ["NewcomerMetrics"]


class NewcomerMetrics(Collector):
    """What is read of new items when somebody asks.

    Args:
        newcomers: gives those of the release at work.
    """

    def __init__(self, newcomers: Callable[[], Newcomers]) -> None:
        self._newcomers = newcomers

    def collect(self) -> Iterator[Metric]:
        newcomers = self._newcomers()
        shelf = newcomers.shelf
        ready = 0 if shelf is None or shelf.problem is not None else len(shelf)
        yield GaugeMetricFamily(
            "tastemap_new_items", "Items that the release does not hold.", len(newcomers)
        )
        yield GaugeMetricFamily(
            "tastemap_new_items_ready", "Those of them that may be in answers.", ready
        )
        yield GaugeMetricFamily(
            "tastemap_new_items_problem",
            "1 where no new item is shown, as a rule cannot be checked for them.",
            shelf is not None and shelf.problem is not None,
        )
