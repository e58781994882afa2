"""Traces, by the real SDK, and by OTLP to a real receiver."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import tastemap as tm
from tastemap.online import Operating, create_app

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where the spans of apps made now are kept."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("tastemap.online.tracing.by_otlp", lambda: provider)
    return exporter


@pytest.fixture
def http(kept: InMemorySpanExporter, small: Path, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(small, tmp_path / "s", operating=Operating(traces=True))) as http:
        kept.clear()
        yield http


def below(spans: tuple[ReadableSpan, ...], span: ReadableSpan) -> list[ReadableSpan]:
    return [
        one
        for one in spans
        if one.parent is not None and one.parent.span_id == span.context.span_id
    ]


def test_a_span_a_request_with_one_for_each_stage(
    http: TestClient, kept: InMemorySpanExporter
) -> None:
    http.get("/users/u1/recommendations", headers={"traceparent": PARENT})
    spans = kept.get_finished_spans()
    request = next(span for span in spans if span.kind is SpanKind.SERVER)
    assert request.name == "GET /users/{user:id}/recommendations"
    assert dict(request.attributes or {}) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "http.route": "/users/{user:id}/recommendations",
        "http.response.status_code": 200,
    }
    assert f"{request.context.trace_id:032x}" == PARENT.split("-")[1]
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == PARENT.split("-")[2]
    (batch,) = below(spans, request)
    assert batch.name == "answers"
    stages = below(spans, batch)
    assert {stage.name for stage in stages} == {"itemknn", "reasons"}
    for inner, outer in [(batch, request), *((stage, batch) for stage in stages)]:
        assert outer.start_time <= inner.start_time  # type: ignore[operator]
        assert inner.start_time < inner.end_time <= outer.end_time  # type: ignore[operator]
    # No id of anybody is in a span.
    assert not any(re.search(r"\bu1\b", span.to_json()) for span in spans)


def test_each_request_of_a_batch_has_its_own_stages(
    http: TestClient, kept: InMemorySpanExporter
) -> None:
    threads = [
        threading.Thread(target=http.get, args=(f"/users/u{n}/recommendations",)) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans = kept.get_finished_spans()
    requests = [span for span in spans if span.kind is SpanKind.SERVER]
    assert len(requests) == len({span.context.trace_id for span in requests}) == 8
    for request in requests:
        (batch,) = below(spans, request)
        assert {stage.name for stage in below(spans, batch)} == {"itemknn", "reasons"}


def test_a_stage_that_fails_is_marked(
    http: TestClient, kept: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(tm.ItemKNN, "answer", broken)
    assert http.get("/users/u1/recommendations").status_code == 200
    spans = {span.name: span for span in kept.get_finished_spans()}
    assert spans["itemknn"].status.status_code is StatusCode.ERROR
    assert dict(spans["itemknn"].attributes or {})["tastemap.stage.outcome"] == "error"
    # Metrics see the stages as before.
    assert 'tastemap_stage_failures_total{outcome="error",stage="itemknn"} 1.0' in (
        http.get("/metrics").text
    )


def test_who_looks_whether_it_is_well_leaves_no_trace(
    http: TestClient, kept: InMemorySpanExporter
) -> None:
    for path in ("/health", "/ready", "/metrics", "/docs"):
        http.get(path)
    assert kept.get_finished_spans() == ()
    http.get("/items/nothing/similar")
    (span,) = (one for one in kept.get_finished_spans() if one.kind is SpanKind.SERVER)
    assert dict(span.attributes or {})["http.response.status_code"] == 404


def test_spans_arrive_by_otlp(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[ExportTraceServiceRequest] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            got.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    receiver = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    try:
        monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
        assert not Operating.of().traces
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.server_port}"
        )
        operating = Operating.of()
        assert operating.traces
        with TestClient(create_app(small, tmp_path / "state", operating=operating)) as http:
            http.post("/recommendations", json={"history": ["i1"]})
    finally:
        receiver.shutdown()
        thread.join()
        receiver.server_close()
    spans = [
        span
        for request in got
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    names = {attribute.key: attribute.value.string_value
             for request in got
             for resource in request.resource_spans
             for attribute in resource.resource.attributes}  # fmt: skip
    assert {"POST /recommendations", "answers", "itemknn"} <= {span.name for span in spans}
    assert (names["service.name"], names["service.version"]) == ("tastemap", tm.__version__)
