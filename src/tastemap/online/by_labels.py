"""Metrics of the client of Prometheus by their labels, remembered."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar

from prometheus_client.metrics import MetricWrapperBase

__all__ = ["by_labels"]

M = TypeVar("M", bound=MetricWrapperBase)


def by_labels(metric: M) -> Callable[..., M]:
    """Gives what `metric.labels` gives. Each request comes by here, and to look a metric up costs
    the client more than to count."""
    return cache(metric.labels)
