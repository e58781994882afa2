"""The service obeys: requests say what rules ask for, stand-in answers obey too, effects show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

import tastemap as tm
from tastemap.online import create_app
from tastemap.online.questions import Ask
from tastemap.online.serving import Serving

RULES = """
[rules.age]
kind = "age"
column = "least"
user = "context.age"

[rules.near]
kind = "geography"
radius_km = 100

[rules.stock]
kind = "availability"

[rules.germany]
kind = "deny"
items = ["i1"]
when = { "context.country" = "DE" }

[rules.first]
kind = "pin"
item = "i5"
"""


@pytest.fixture(scope="module")
def pipeline() -> tm.Pipeline:
    rng = np.random.default_rng(0)
    n = 30
    users, items = rng.integers(0, 40, 600), np.minimum(rng.geometric(0.1, 600), n)
    events = pl.DataFrame({"user": [f"u{u}" for u in users], "item": [f"i{i}" for i in items]})
    table = pl.DataFrame(
        {
            "item": [f"i{i}" for i in range(1, n + 1)],
            "least": [18 if i % 3 == 0 else 0 for i in range(1, n + 1)],
            "latitude": [52.5 if i % 2 == 0 else None for i in range(1, n + 1)],
            "longitude": [13.4 if i % 2 == 0 else None for i in range(1, n + 1)],
        }
    )
    data = tm.Dataset.from_frame(events.unique(maintain_order=True), items=table)
    return tm.Pipeline([tm.ItemKNN()], rules=tm.Rules.from_toml(RULES)).fit(data)


@pytest.fixture
def http(pipeline: tm.Pipeline, tmp_path: Path) -> Iterator[TestClient]:
    pipeline.save(tmp_path / "release")
    with TestClient(create_app(tmp_path / "release", tmp_path / "state")) as http:
        yield http


def shown(http: TestClient, **request: Any) -> set[int]:
    response = http.post("/recommendations", json={"k": 30, **request})
    assert response.status_code == 200, response.text
    return {int(item["item"][1:]) for item in response.json()["items"]}


def test_a_request_says_what_rules_ask_for(http: TestClient) -> None:
    adults = {n for n in range(1, 31) if n % 3 == 0}
    placed = {n for n in range(1, 31) if n % 2 == 0}
    everything = shown(http, context={"age": 18.0})
    assert everything >= adults
    assert shown(http) == shown(http, context={"age": 17}) == everything - adults
    paris = {"age": 40, "latitude": 48.9, "longitude": 2.4}
    assert shown(http, context=paris) == everything - placed
    assert shown(http, context={**paris, "latitude": 52.6, "longitude": 13.3}) == everything
    assert shown(http, context={"country": "DE"}) == everything - adults - {1}
    assert not adults & shown(http, user="u1")
    for context in ({"age": "old"}, {"latitude": "north"}, {"where": 1}):
        refused = http.post("/recommendations", json={"context": context})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["body", "context", next(iter(context))]


def test_pins_have_a_source_and_a_reason(http: TestClient) -> None:
    first = http.post("/recommendations", json={"history": ["i1"]}).json()["items"][0]
    assert (first["item"], first["source"], first["reason"]) == ("i5", "pinned", "Featured")
    items = http.post("/recommendations", json={"history": ["i5"]}).json()["items"]
    assert "i5" not in [item["item"] for item in items]


def test_effects_are_metrics(http: TestClient) -> None:
    def count(name: str) -> float:
        line = next(
            line
            for line in http.get("/metrics").text.splitlines()
            if line.startswith(f'tastemap_rule_{name}_total{{kind="age",rule="age"}}')
            or line.startswith(f'tastemap_rule_{name}_total{{rule="age",kind="age"}}')
        )
        return float(line.rpartition(" ")[2])

    before = count("answers"), count("items")
    shown(http, context={"age": 5})
    shown(http, context={"age": 50})
    assert (count("answers") - before[0], count("items") - before[1]) == (1, 10)


def test_stand_ins_show_what_may_be_shown_to_anybody(pipeline: tm.Pipeline) -> None:
    serving = Serving(pipeline, "1", str.encode)
    assert pipeline.policy is not None

    def popular() -> set[int]:
        return {int(one.card.item[1:]) for one in serving.popular(Ask(30)).items}

    usual = popular()
    assert usual
    assert not usual & {1, *range(3, 31, 3)}
    like = {int(item[1:]) for item in pipeline.similar(["i2"], k=30)["similar"]}
    assert not like & {1, *range(3, 31, 3)}
    gone = min(usual)
    pipeline.policy.set_available(pipeline.items.rows([f"i{gone}"]), False)
    assert popular() == usual - {gone}
    pipeline.policy.set_available(pipeline.items.rows([f"i{gone}"]), True)
    assert popular() == usual
