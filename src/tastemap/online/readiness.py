"""Whether the service should be sent requests now, and how old what it knows is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from fastapi import APIRouter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, Field

from tastemap.online.engine import Engine
from tastemap.online.refusals import Refusal

__all__ = ["Readiness", "Ready", "Watched", "readiness"]

# More than a page of a file, so that a full disk is noticed.
_PROBE = b"\0" * 65536
_LOOK_SECONDS = 1.0


class Ready(BaseModel):
    """The service can answer and record."""

    status: Literal["ready"] = "ready"
    release: str = Field(description="the version of the release that answers")


class Readiness:
    """What keeps a service from being ready. It looks once a second at most.

    Args:
        engine: with its release loaded.
        state: the folder of the event log.
    """

    def __init__(self, engine: Engine, state: Path) -> None:
        self._engine = engine
        self._state = state
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._problem: str | None = None

    def problem(self) -> str | None:
        """Why requests had better go elsewhere, None where they may come."""
        with self._lock:
            if time.monotonic() - self._looked >= _LOOK_SECONDS:
                self._problem = self._no_retriever() or self._not_writable()
                self._looked = time.monotonic()
            return self._problem

    def _no_retriever(self) -> str | None:
        # After its pause a breaker needs a request for a probe, so that then is ready again.
        resting = self._engine.guard.resting()
        names = [retriever.name for retriever in self._engine.serving.pipeline.retrievers]
        if resting.issuperset(names):
            return f"all retrievers keep failing: {', '.join(names)}"
        return None

    def _not_writable(self) -> str | None:
        probe = self._state / f".ready-{os.getpid()}"
        try:
            try:
                probe.write_bytes(_PROBE)
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            return f"the event log cannot be written: {error.strerror}"
        return None


def readiness(ready: Readiness, engine: Engine) -> APIRouter:
    """The route that load balancers ask."""
    router = APIRouter(tags=["operation"])

    @router.get("/ready")
    def is_ready() -> Ready:
        """Whether this process should be sent requests: its release is loaded, the event log can
        be written, and not all retrievers keep failing. `/health` says more, and answers 200 as
        long as the process lives."""
        problem = ready.problem()
        if problem is not None:
            raise Refusal(503, ["service"], problem, "not_ready")
        return Ready(release=engine.serving.version)

    return router


class Watched(Collector):
    """What is read from the engine when somebody asks; each worker's own."""

    def __init__(
        self, engine: Engine, ready: Readiness, missing_workers: Callable[[], int]
    ) -> None:
        self._engine = engine
        self._ready = ready
        self._missing = missing_workers

    def collect(self) -> Iterator[Metric]:
        serving, now = self._engine.serving, time.time()
        yield _gauge("tastemap_ready", "1 where /ready says so.", self._ready.problem() is None)
        yield _gauge(
            "tastemap_missing_workers",
            "Workers that are down; they are started again.",
            self._missing(),
        )
        release = GaugeMetricFamily(
            "tastemap_release_info", "The release that answers.", labels=["version", "model"]
        )
        release.add_metric([serving.version, serving.pipeline.name], 1)
        yield release
        yield _gauge(
            "tastemap_release_age_seconds", "Since the release was made.", now - serving.made
        )
        if serving.newest is not None:
            yield _gauge(
                "tastemap_newest_event_age_seconds",
                "Since the newest event that answers look at.",
                max(0.0, now - serving.newest),
            )
        drift = GaugeMetricFamily(
            "tastemap_drift",
            "Population stability index of the newest scores, and of the popularity of the items "
            "in the histories asked about, against those right after the release was loaded.",
            labels=["of"],
        )
        for name, index in serving.drifts.indices().items():
            if index is not None:
                drift.add_metric([name], index)
        yield drift
        breakers = GaugeMetricFamily(
            "tastemap_breaker_open", "1 where a stage is left alone.", labels=["stage"]
        )
        for stage, state in self._engine.guard.states().items():
            breakers.add_metric([stage], float(state == "open"))
        yield breakers


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value)
