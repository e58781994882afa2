"""Readiness, freshness, drift, and what the answers are good for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

import tastemap as tm
from tastemap.errors import ParameterError
from tastemap.online import create_app, readiness
from tastemap.online.breaker import Breaker
from tastemap.online.drift import Drift


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness looks at each question."""
    monkeypatch.setattr(readiness, "_LOOK_SECONDS", 0)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def http(small: Path, state: Path) -> Iterator[TestClient]:
    with TestClient(create_app(small, state)) as http:
        yield http


def metrics(http: TestClient) -> dict[tuple[str, ...], float]:
    """Values by name and labels in order of their names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(http.get("/metrics").text)
        for sample in family.samples
    }


def test_ready(http: TestClient) -> None:
    answer = http.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "release": http.get("/health").json()["release"]}
    assert metrics(http)["tastemap_ready",] == 1


def test_not_ready_where_the_log_cannot_be_written(http: TestClient, state: Path) -> None:
    away = state.rename(state.with_name("away"))
    refused = http.get("/ready")
    assert refused.status_code == 503
    assert "No such file" in refused.json()["detail"][0]["msg"]
    assert metrics(http)["tastemap_ready",] == 0
    assert http.get("/health").status_code == 200
    away.rename(state)
    assert http.get("/ready").status_code == 200
    assert not list(state.glob(".ready-*"))


def test_not_ready_while_all_retrievers_rest_and_ready_for_their_probe(
    small: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(small, state)
    with TestClient(app) as http:

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("broken")

        with monkeypatch.context() as patch:
            patch.setattr(tm.ItemKNN, "answer", broken)
            now = 1000.0
            slow = partial(Breaker, clock=lambda: now)
            patch.setattr("tastemap.online.guard.Breaker", slow)
            for _ in range(8):
                answer = http.get("/users/u1/recommendations")
                assert answer.status_code == 200
                assert "itemknn" in answer.json()["degraded"]
            refused = http.get("/ready")
            assert refused.status_code == 503
            assert "itemknn" in refused.json()["detail"][0]["msg"]
            assert metrics(http)["tastemap_breaker_open", "itemknn"] == 1
            # After the pause a request has to come for the breaker to close.
            now += 6
            assert http.get("/ready").status_code == 200


def test_ages(http: TestClient) -> None:
    made = metrics(http)
    assert 0 <= made["tastemap_release_age_seconds",] < 3600
    assert made["tastemap_newest_event_age_seconds",] > 86_400
    now = time.time()
    http.post("/events", json={"user": "u1", "item": "i1", "time": now - 50})
    assert metrics(http)["tastemap_newest_event_age_seconds",] == pytest.approx(50, abs=20)
    http.post("/events", json={"user": "u1", "item": "i2", "time": now - 500})
    assert metrics(http)["tastemap_newest_event_age_seconds",] == pytest.approx(50, abs=20)


def test_drift_is_seen_and_its_absence_too() -> None:
    rng = np.random.default_rng(0)
    drift = Drift(values=2000)
    for _ in range(30):
        drift.add(rng.normal(size=100).astype(np.float32))
    assert drift.index() is None, "one window has not gone by"
    for _ in range(30):
        drift.add(rng.normal(size=100))
    assert drift.index() < 0.05  # type: ignore[operator]
    for _ in range(40):
        drift.add(rng.normal(1, 1, size=100))
    assert drift.index() > 0.5  # type: ignore[operator]
    for _ in range(40):
        drift.add(rng.normal(size=100))
    assert drift.index() < 0.05  # type: ignore[operator]


def test_drift_of_few_values_and_of_none() -> None:
    drift = Drift(values=100)
    drift.add(np.empty(0, np.float32))
    drift.add(np.array([np.nan, np.inf]))
    drift.add(np.full(250, 7.0))
    drift.add(np.full(100, 7.0))
    assert drift.index() == pytest.approx(0, abs=1e-3)
    with pytest.raises(ParameterError, match="bins"):
        Drift(values=10)


def test_drift_of_a_service_begins_with_its_release(http: TestClient) -> None:
    assert not any(name[0] == "tastemap_drift" for name in metrics(http))
    ask = {"requests": [{"user": f"u{n}", "k": 20} for n in range(40)]}
    for _ in range(45):
        http.post("/recommendations/batch", json=ask)
    found = metrics(http)
    assert found["tastemap_drift", "inputs"] == pytest.approx(0, abs=0.01)
    assert found["tastemap_drift", "scores"] == pytest.approx(0, abs=0.01)


def test_impressions_and_clicks_by_source_and_place(http: TestClient) -> None:
    before = metrics(http)
    answer = http.get("/users/u1/recommendations?k=8").json()
    shown = [item["item"] for item in answer["items"]]
    sources = [item["source"] for item in answer["items"]]
    more = http.get(f"/users/u1/recommendations?k=5&after={answer['token']}").json()
    events = [
        {"user": "u1", "item": shown[0], "token": answer["token"], "id": "1"},
        {"user": "u1", "item": shown[3], "token": answer["token"]},
        {"user": "u1", "item": more["items"][4]["item"], "token": more["token"]},
        {"user": "u1", "item": shown[1], "token": answer["token"], "kind": "impression"},
        {"user": "u1", "item": shown[1], "token": "forged"},
        {"user": "u1", "item": shown[1], "token": answer["token"][:-2] + "AA"},
        {"user": "u1", "item": "i1" if "i1" not in shown else "i2", "token": more["token"]},
        {"user": "u1", "item": shown[2]},
    ]
    assert http.post("/events", json=events).json()["accepted"] == len(events)
    # Sent once more it is no second click.
    assert http.post("/events", json=events[0]).json() == {"accepted": 0, "duplicates": 1}
    found = metrics(http)

    def grown(*name: str) -> float:
        return found.get(name, 0) - before.get(name, 0)

    shown_at = {
        place: sum(
            grown("tastemap_impressions_total", place, source)
            for source in {*sources, *(item["source"] for item in more["items"])}
        )
        for place in ("1-3", "4-10", "later")
    }
    assert shown_at == {"1-3": 3, "4-10": 7, "later": 3}
    assert grown("tastemap_clicks_total", "1-3", sources[0]) == 1
    assert grown("tastemap_clicks_total", "4-10", sources[3]) == 1
    assert grown("tastemap_clicks_total", "later", more["items"][4]["source"]) == 1
    told = {
        what: grown("tastemap_event_tokens_total", what)
        for what in ("shown", "not_shown", "bad", "none")
    }
    assert told == {"shown": 4, "not_shown": 1, "bad": 2, "none": 1}
