"""What the service counts, for Prometheus."""

from __future__ import annotations

import os
import time
from collections import Counter as Tally
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Receive, Scope, Send

from tastemap.online.by_labels import by_labels
from tastemap.online.engine import Engine
from tastemap.online.newcomer_metrics import NewcomerMetrics
from tastemap.online.noted import Noted
from tastemap.online.questions import Found
from tastemap.online.rule_metrics import RuleMetrics

__all__ = ["Measured", "Metrics"]

_METHODS = {"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Metrics:
    """What one app counts, in a registry of its own, so that apps do not share it.

    Where several workers answer (PROMETHEUS_MULTIPROC_DIR names a folder that they share) counters
    and histograms are sums over all of them, also those that have died, and so are time and memory
    of the processes. What `_Watched` reads from the engine is each worker's own; all follow one
    log.
    """

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self._requests = by_labels(
            Counter(
                "tastemap_requests",
                "Requests answered.",
                ["method", "route", "status"],
                registry=self.registry,
            )
        )
        self._seconds = by_labels(
            Histogram(
                "tastemap_request_seconds",
                "From the arrival of a request to the end of its answer.",
                ["route"],
                buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
                registry=self.registry,
            )
        )
        self._recommended = by_labels(
            Counter(
                "tastemap_recommended_items",
                "Items in answers, by the source that found them.",
                ["source"],
                registry=self.registry,
            )
        )
        self._answers = by_labels(
            Counter(
                "tastemap_answers",
                "Answers, by what they went by, and whether a stage had failed.",
                ["link", "degraded"],
                registry=self.registry,
            )
        )
        self._unknown = Counter(
            "tastemap_unknown_history_items",
            "Items of histories in requests that answers were made without, as nobody knows them.",
            registry=self.registry,
        )
        self._stages = by_labels(
            Histogram(
                "tastemap_stage_seconds",
                "How long each stage of a batch of answers took.",
                ["stage"],
                buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
                registry=self.registry,
            )
        )
        self.stage_failures = Counter(
            "tastemap_stage_failures",
            "Stages that answers were given without: error, late, or open (not asked).",
            ["stage", "outcome"],
            registry=self.registry,
        )
        self.events = Counter(
            "tastemap_events",
            "Events acknowledged: accepted, or duplicate.",
            ["result"],
            registry=self.registry,
        )
        self.cache = Counter(
            "tastemap_cache",
            "Questions looked up among the answers that are remembered: hit, or miss; and the "
            "failures of what remembers them.",
            ["result"],
            registry=self.registry,
        )
        self.batch = Histogram(
            "tastemap_batch_questions",
            "Questions answered together.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self.registry,
        )
        self._shown = self.registry
        if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            self._shown = CollectorRegistry()
            MultiProcessCollector(self._shown, folder)  # type: ignore[no-untyped-call]
            self._shown.register(_Processes(Path(folder)))
        else:
            ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self._shown)
        self._shown.register(_Watched(engine))
        self._shown.register(NewcomerMetrics(lambda: engine.serving.newcomers))
        self._shown.register(RuleMetrics(lambda: engine.serving.pipeline.policy))

    def watch(self, collector: Collector) -> None:
        """Shows what a collector reads when somebody asks, too."""
        self._shown.register(collector)

    def stage(self, stage: str, seconds: float, outcome: str) -> None:
        """Counts a stage that was run; see `Guard.observe`."""
        if outcome != "ok":
            self.stage_failures.labels(stage, outcome).inc()
        if outcome != "open":
            self._stages(stage).observe(seconds)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request that was answered."""
        self._requests(method, route, str(status)).inc()
        self._seconds(route).observe(seconds)

    def answered(self, found: Found) -> None:
        """Counts an answer and its items."""
        self._answers(found.link, "true" if found.degraded else "false").inc()
        if found.unknown:
            self._unknown.inc(len(found.unknown))
        for source, n in Tally([one.source for one in found.items]).items():
            self._recommended(source).inc(n)

    def text(self) -> bytes:
        """All of it in the text format of Prometheus."""
        return generate_latest(self._shown)


class _Watched(Collector):
    """What is read from the engine when somebody asks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        engine = self._engine
        yield GaugeMetricFamily(
            "tastemap_live_users",
            "Users with events later than the release.",
            engine.serving.live.n_users,
        )
        updates = engine.serving.item_updates
        yield GaugeMetricFamily(
            "tastemap_updated_items",
            "Items whose vectors have followed events since the release.",
            sum(each.updated for each in updates),
        )
        yield GaugeMetricFamily(
            "tastemap_item_drift",
            "How far the vector of an item has gone at most, as a share of its length.",
            max((each.largest for each in updates), default=0.0),
        )
        yield GaugeMetricFamily(
            "tastemap_log_offset", "The newest event of the log.", engine.events.last_offset
        )
        yield GaugeMetricFamily(
            "tastemap_release_problem",
            "1 where the newest release was refused.",
            engine.problem is not None,
        )


class _Processes(Collector):
    """Time, memory and files of all workers together; the start of the oldest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        together: dict[str, list[Metric]] = {}
        for file in self._folder.glob("counter_*.db"):
            pid = file.stem.removeprefix("counter_")
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                together.setdefault(metric.name, []).append(metric)
        for name, metrics in together.items():
            values = [sample.value for metric in metrics for sample in metric.samples]
            first = metrics[0]
            family = CounterMetricFamily if first.type == "counter" else GaugeMetricFamily
            value = min(values) if name == "process_start_time_seconds" else sum(values)
            yield family(name, first.documentation, value)


class Measured:
    """ASGI middleware that counts and times requests by route, not by path: paths hold ids."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        noted = Noted(send)

        try:
            await self.app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.request(method, route, noted.status, time.perf_counter() - began)
