"""The task of circumstances, in the layout of Frappe: nothing asked for is known; all ways run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import context, data
from benchmarks.report.page import render


@pytest.fixture(scope="module")
def uses(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """2,000 uses of 40 apps by 50 people, half of the apps in the morning, as the file has them."""
    rng = np.random.default_rng(0)
    n = 2000
    morning = rng.random(n) < 0.5
    user = rng.integers(50, size=n)
    # Each has five apps for the morning, and five for the night.
    item = (user * 3 + rng.integers(5, size=n)) % 20 + 20 * ~morning
    words = {name: rng.choice(["a", "b"], n) for name in context.CIRCUMSTANCES}
    columns = {"user": user, "item": item, "cnt": rng.integers(1, 99, n), **words}
    columns |= {"daytime": np.where(morning, "morning", "night"), "city": rng.integers(9, size=n)}
    path = tmp_path_factory.mktemp("frappe") / "frappe.csv"
    pl.DataFrame(columns).write_csv(path, separator="\t")
    return data.frappe(path)


def test_nothing_that_is_asked_for_is_known(uses: pl.DataFrame) -> None:
    validation, test = (context.make_task(uses, 3, part) for part in ("validation", "test"))
    assert (validation.known.n_events, test.known.n_events) == (1600, 1800)
    assert (len(validation.asked), len(test.asked)) == (200, 200)
    assert validation.digest != test.digest
    for task in (validation, test):
        queries, truth = task.asked.queries, task.asked.truth
        assert task.known.histories.times.max() < queries.as_of.min()
        assert (truth.times >= queries.as_of).all()
        assert queries.context is not None
        # Each in the circumstances of its own use: what is used in the morning is.
        apps = np.array(task.known.items.ids(truth.items))
        assert ((apps < 20) == (queries.context["daytime"] == "morning").to_numpy()).all()
        blind = context.without_circumstances(task)
        assert blind.known.context is None and blind.asked.queries.context is None
    # The validation part is known to the test.
    assert set(validation.asked.truth.times) <= set(test.known.histories.times)
    assert 0.9 < context.repeats(test) <= 1


def test_all_ways_are_measured_and_written(
    uses: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "MODEL", "als(factors=8)")
    monkeypatch.setattr(context, "BEFORE", {"columns": "daytime", "least": 100, "own": 2})
    monkeypatch.setattr(context, "BEHIND", {"columns": "daytime", "prior": 1.0})
    monkeypatch.setattr(context, "MOMENTS", 300)
    found = context.measure(uses, "test", ["lightgbm"], seeds=1)
    values = {way: each["ndcg@10"] for way, each in found["runs"][0]["ways"].items()}
    # Half of the apps are of the circumstances.
    for way, base in (
        ("pre-filtering", "none"),
        ("post-filtering", "none"),
        ("lightgbm, with circumstances", "lightgbm, without circumstances"),
    ):
        assert values[way] > values[base] + 0.05, way
    about = {"dataset": "frappe", "date": "", "machine": "", "threads": 2}
    page = render({("context", "frappe"): {**about, **found}})
    assert "| post-filtering | " in page
    assert "| lightgbm, without circumstances |" in page


def test_the_file_is_read_as_it_is(tmp_path: Path) -> None:
    columns = "user\titem\tcnt\tdaytime\tweekday\tisweekend\thomework\tcost\tweather\tcountry\tcity"
    row = "0\t7\t3\tmorning\tsunday\tweekend\tunknown\tfree\tsunny\tUnited States\t0"
    (tmp_path / "frappe.csv").write_text(f"{columns}\n{row}\n")
    assert data.frappe(tmp_path / "frappe.csv")["city"].to_list() == ["0"]
