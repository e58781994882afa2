"""Traces by OpenTelemetry: a span for each request, with one for each stage of its answer.

The stages run for a batch of questions at once, on a thread that knows no requests; what each
stage took is noted there, and told as spans below every request of the batch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

import tastemap
from tastemap.errors import MissingExtraError
from tastemap.online.access import is_open
from tastemap.online.batching import Batcher
from tastemap.online.guard import Guard
from tastemap.online.noted import Noted
from tastemap.online.questions import Found, Question

try:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    raise MissingExtraError("traces need OpenTelemetry: pip install 'tastemap[otel]'") from None

__all__ = ["Traced", "TracedBatcher", "by_otlp"]


def by_otlp() -> TracerProvider:
    """What sends spans by OTLP over HTTP, as the usual variables say (OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER …)."""
    named = {"service.version": tastemap.__version__}
    if "OTEL_SERVICE_NAME" not in os.environ:
        named["service.name"] = "tastemap"
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def tracer_of(provider: TracerProvider) -> trace.Tracer:
    """The tracer of this package."""
    return provider.get_tracer("tastemap", tastemap.__version__)


class Traced:
    """ASGI middleware that makes a span a request, below the caller's where it names one by
    `traceparent`. It is named by the route; paths hold ids."""

    def __init__(self, app: ASGIApp, provider: TracerProvider) -> None:
        self.app = app
        self._tracer = tracer_of(provider)
        self._callers = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope["path"]) or scope["path"] == "/metrics":
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        with self._tracer.start_as_current_span(
            scope["method"],
            context=self._callers.extract(headers),
            kind=trace.SpanKind.SERVER,
            attributes={"http.request.method": scope["method"], "url.scheme": scope["scheme"]},
        ) as span:
            noted = Noted(send)

            try:
                await self.app(scope, receive, noted)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    span.update_name(f"{scope['method']} {route}")
                    span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", noted.status)
                if noted.status >= 500:
                    span.set_status(trace.StatusCode.ERROR)


@dataclass(frozen=True, slots=True)
class _Stage:
    """A stage that was run; times in Unix nanoseconds."""

    name: str
    began: int
    ended: int
    outcome: str


class TracedBatcher(Batcher[Question, Found]):
    """A batcher that tells below each question's span what its batch and the stages took.

    Args:
        guard: what runs the stages; whoever observes it goes on observing it.
        provider: where the spans go.
    """

    def __init__(
        self,
        name: str,
        answer: Callable[[list[Question]], list[Found | Exception]],
        *,
        limit: int,
        pace: float,
        guard: Guard,
        provider: TracerProvider,
    ) -> None:
        super().__init__(name, self._traced, limit=limit, pace=pace)
        self._name = name
        self._inner = answer
        self._tracer = tracer_of(provider)
        self._spans: dict[int, trace.Span] = {}
        self._stages: list[_Stage] = []
        self._observe, guard.observe = guard.observe, self._note

    async def ask(self, question: Question) -> Found:
        span = trace.get_current_span()
        if not span.is_recording():
            return await super().ask(question)
        # By identity, since equal questions may wait; this one lives until it is answered.
        self._spans[id(question)] = span
        try:
            return await super().ask(question)
        finally:
            del self._spans[id(question)]

    def _note(self, stage: str, seconds: float, outcome: str) -> None:
        ended = time.time_ns()
        self._stages.append(_Stage(stage, ended - int(seconds * 1e9), ended, outcome))
        self._observe(stage, seconds, outcome)

    def _traced(self, questions: list[Question]) -> list[Found | Exception]:
        self._stages, began = [], time.time_ns()
        try:
            return self._inner(questions)
        finally:
            ended = time.time_ns()
            for question in questions:
                span = self._spans.get(id(question))
                if span is not None:
                    self._tell(span, len(questions), began, ended)

    def _tell(self, above: trace.Span, n: int, began: int, ended: int) -> None:
        batch = self._tracer.start_span(
            self._name,
            trace.set_span_in_context(above),
            attributes={"tastemap.batch.questions": n},
            start_time=began,
        )
        for stage in self._stages:
            span = self._tracer.start_span(
                stage.name,
                trace.set_span_in_context(batch),
                attributes={"tastemap.stage.outcome": stage.outcome},
                start_time=stage.began,
            )
            if stage.outcome != "ok":
                span.set_status(trace.StatusCode.ERROR, stage.outcome)
            span.end(stage.ended)
        batch.end(ended)
