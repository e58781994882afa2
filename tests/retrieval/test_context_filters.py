"""Circumstances before and behind a model, on uses whose circumstances decide what is used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.data.tombstones import without_users
from tastemap.errors import ParameterError
from tastemap.retrieval.parts.contextual import Contextual

HOURS = ("morning", "evening")
PLACES = ("home", "work")


@pytest.fixture(scope="module")
def uses() -> tm.Dataset:
    """60 users of two tastes. Each uses 4 of 5 apps of their taste in the morning and 4 of 5 others
    in the evening, wherever they are; app 20 is used at any hour. Clouds say nothing, and not all
    places are known."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(60):
        for hour, first in zip(HOURS, (0, 10), strict=True):
            for app in [*rng.choice(5, 4, replace=False) + first + 5 * (user % 2), 20]:
                cloud, place = (
                    int(rng.integers(1000)),
                    rng.choice([*PLACES, None], p=[0.5, 0.4, 0.1]),
                )
                rows.append((f"u{user}", f"a{app}", hour, place, cloud, len(rows)))
    columns = ["user", "item", "hour", "place", "cloud", "time"]
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    return tm.Dataset.from_frame(frame, context=["hour", "place", "cloud"])


def asked(data: tm.Dataset, **circumstances: object) -> Queries:
    """Everybody, in these circumstances."""
    queries = data.queries()
    row = data.context_of(circumstances)
    return replace(queries, context=pl.concat([row] * len(queries)))


def best(model: Contextual, queries: Queries, k: int = 5) -> np.ndarray:
    """The numbers of the best apps, [B, k]."""
    found = model.answer(queries, k, exclude_seen=False).padded(k)
    return np.array([[int(each[1:]) for each in model.items.ids(row)] for row in found])


@pytest.fixture(scope="module", params=["before", "behind"])
def fitted(request: pytest.FixtureRequest, uses: tm.Dataset) -> Contextual:
    if request.param == "before":
        return tm.ContextPreFilter(model="als(factors=8)", columns="hour", least=100).fit(uses)
    return tm.ContextPostFilter(model="als(factors=8)", columns="hour", prior=1).fit(uses)


def test_circumstances_decide(fitted: Contextual, uses: tm.Dataset) -> None:
    own = 5 * (np.arange(60) % 2)[:, None]
    for hour, first in zip(HOURS, (0, 10), strict=True):
        apps = best(fitted, asked(uses, hour=hour))
        of_taste = (apps >= first + own) & (apps < first + own + 5)
        assert of_taste[apps != 20].mean() > 0.98


def test_without_known_circumstances_the_model_answers(
    fitted: Contextual, uses: tm.Dataset
) -> None:
    alone = tm.ALS(factors=8).fit(uses)
    for queries in (uses.queries(), asked(uses), asked(uses, hour="noon"), asked(uses, cloud=3)):
        np.testing.assert_array_equal(fitted.score(queries), alone.score(queries))


def test_saved_loaded_and_asked_through_a_pipeline(
    fitted: Contextual, uses: tm.Dataset, tmp_path: Path
) -> None:
    tm.Pipeline([fitted]).save(tmp_path / "p")
    loaded = tm.load(tmp_path / "p").retrievers[0]
    for hour in HOURS:
        np.testing.assert_array_equal(
            loaded.score(asked(uses, hour=hour)), fitted.score(asked(uses, hour=hour))
        )


def test_columns_are_named_or_all(uses: tm.Dataset) -> None:
    for cls in (tm.ContextPreFilter, tm.ContextPostFilter):
        with pytest.raises(ParameterError, match="no context column 'our'; did you mean 'hour'"):
            cls(columns="hour, our").fit(uses)
        with pytest.raises(ParameterError, match="must be one model"):
            cls(model="als + ease")
        with pytest.raises(ParameterError, match="no model 'alz'"):
            cls(model="alz")
    both = tm.ContextPreFilter(model="als(factors=4)", columns="place, hour", least=50).fit(uses)
    assert set(both.circumstances) == {(place, hour) for place in PLACES for hour in HOURS}
    # Numbers of many values are told apart by their quintiles, of which none has enough.
    everything = tm.ContextPreFilter(model="als(factors=4)", least=100).fit(uses)
    assert everything.circumstances == []


def test_the_parts_of_histories_are_of_the_circumstances(uses: tm.Dataset) -> None:
    model = tm.ContextPreFilter(model="popularity", columns="hour", least=100).fit(uses)
    known = uses.queries(np.array([3]))
    new = Histories.from_lists([uses.items.rows(["a1", "a15"])], times=[[1e9, 1e9]])
    queries = replace(known, histories=known.histories.append(new))
    place = model.circumstances.index(("morning",))
    parts = model._parts_of_histories(queries, np.array([place]))
    # What is newer than the data counts everywhere.
    found = uses.items.ids(parts.items)
    assert found[-2:] == ["a1", "a15"]
    assert len(found) == 7 and all(app == "a20" or int(app[1:]) < 10 for app in found[:-2])
    stranger = replace(queries, users=np.zeros(1, np.int32))
    assert model._parts_of_histories(stranger, np.array([place])).n_events == 12
    # Too few of one's own, and the whole history is asked about by the model of everything.
    few = tm.ContextPreFilter(model="als(factors=4)", columns="hour", least=100, own=6).fit(uses)
    alone = tm.ALS(factors=4).fit(uses)
    queries = asked(uses, hour="morning")
    np.testing.assert_array_equal(few.score(queries), alone.score(queries))


def test_shares_are_drawn_to_the_usual_ones(uses: tm.Dataset) -> None:
    model = tm.ContextPostFilter(model="popularity", columns="hour", prior=3).fit(uses)
    counts = uses.item_counts
    of_morning = np.bincount(
        uses.histories.items[(uses.context["hour"] == "morning").to_numpy()], minlength=len(counts)
    )
    expected = counts * (of_morning / 0.5 + 3) / (counts + 3)
    found = model.score(asked(uses, hour="morning"))[0]
    np.testing.assert_allclose(found[1:], expected[1:], rtol=1e-6)


def test_who_is_forgotten_is_counted_no_more(uses: tm.Dataset, tmp_path: Path) -> None:
    model = tm.ContextPostFilter(model="popularity", columns="hour").fit(uses)
    less = without_users(uses, np.arange(2, 61, dtype=np.int32))
    restored = type(model).restored(less, model.hyperparameter_values(), model.tensors())
    scores = restored.score(asked(uses, hour="morning"))
    assert not np.array_equal(scores, model.score(asked(uses, hour="morning")))
    kept = tm.ContextPreFilter(model="als(factors=4)", columns="hour", least=100).fit(uses)
    restored = type(kept).restored(less, kept.hyperparameter_values(), kept.tensors())
    assert restored.circumstances == kept.circumstances
