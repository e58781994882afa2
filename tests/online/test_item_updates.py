"""Item vectors follow those who take them: the closed form, the bound, and when all begins anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

import tastemap as tm
from tastemap.errors import ParameterError
from tastemap.online import create_app
from tastemap.online.engine import Engine
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event, ItemChange
from tastemap.online.following import Following
from tastemap.online.item_updates import updatable
from tastemap.online.questions import Ask, Found
from tastemap.online.serving import Serving
from tastemap.retrieval.als import ALS
from tastemap.retrieval.parts.item_fold_in import ItemFoldIn, bounded, encoded

N = 24
UNSEEN = N + 1


def world(model: ALS) -> tm.Pipeline:
    """Users like odd items or even ones; item i25 is known and has no events."""
    rng = np.random.default_rng(1)
    rows = [
        (f"u{user}", f"i{item}", float(rng.integers(1, 4)))
        for user in range(50)
        for item in rng.choice(np.arange(1 + user % 2, N + 1, 2), 6, replace=False)
    ]
    rows.append(("u0", f"i{UNSEEN}", 1.0))
    events = pl.DataFrame(rows, schema=["user", "item", "value"], orient="row")
    items = pl.DataFrame(
        {
            "item": [f"i{i}" for i in range(1, UNSEEN + 1)],
            "genres": ["Odd" if i % 2 else "Even" for i in range(1, UNSEEN + 1)],
        }
    )
    data = tm.Dataset.from_frame(events, items=items)
    unseen = data.items.rows([f"i{UNSEEN}"])
    return tm.Pipeline([model]).fit(data.with_events(data.histories.items != unseen))


@pytest.fixture(scope="module")
def pipeline() -> tm.Pipeline:
    return world(tm.ALS(factors=6, iterations=4))


@pytest.fixture(scope="module")
def path(pipeline: tm.Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.save(tmp_path_factory.mktemp("items") / "release")


def serving_of(path: Path, drift: float) -> Serving:
    pipeline = tm.load(path)
    assert isinstance(pipeline, tm.Pipeline)
    following = Following(0.5, item_drift=drift)
    return Serving(pipeline, "r", lambda user: user.encode(), following=following)


def take(user: str, item: str, n: int = 0) -> Event:
    return Event(user, item, "event", 2e9 + n, 1.0)


def by_strangers(item: str, parity: int, n: int = 12) -> list[Event]:
    """Strangers who took three odd items (1) or even ones (0), and then this one."""
    liked = [f"i{i}" for i in (2 - parity, 4 - parity, 6 - parity)]
    return [take(f"s{user}", each, user) for user in range(n) for each in (*liked, item)]


def served(serving: Serving) -> NDArray[np.float32]:
    """Where the items are found, by row; the released place where there is no index."""
    (model,) = serving.pipeline.retrievers
    assert isinstance(model, ALS)
    vectors = model.item_vectors().copy()
    index = serving.pipeline.indices.get(model.name)
    if index is not None:
        rows = np.arange(1, len(vectors))
        vectors[rows] = index._vectors(index._held.of(rows))
    return vectors


def released(serving: Serving) -> NDArray[np.float32]:
    (model,) = serving.pipeline.retrievers
    assert isinstance(model, ALS)
    return model.item_vectors()


def lay(serving: Serving, events: Sequence[Event]) -> None:
    serving.add(events)
    serving.refresh()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("item", ["nobody's", "i3", f"i{UNSEEN}"])
def test_the_closed_form_is_the_ridge_regression_of_all_who_took_it(
    weighted: bool, item: str
) -> None:
    model = tm.ALS(factors=5, iterations=2, use_values=weighted)
    data = world(model).data
    row = int(data.items.rows([item])[0])
    queries = data.queries(np.arange(1, len(data.users), dtype=np.int32))
    x = encoded(model, queries).astype(np.float64)
    c = model.observed(queries.histories).toarray()[:, row] if row else np.zeros(len(x))
    later = np.array([4, 9, 9, 30])
    more = model.confidences(np.array([1.0, 3.0, 2.0, 2.0], np.float32))

    def solved(
        weights: NDArray[np.float64], rows: NDArray[np.int64], n: int
    ) -> NDArray[np.float64]:
        a = model.unobserved_weight * x.T @ x
        b = np.zeros(5)
        for weight, place in zip(weights, rows, strict=True):
            a += weight * np.outer(x[place], x[place])
            b += weight * x[place]
        pairs = n + model.unobserved_weight * len(x)
        a += model.regularization * pairs**model.frequency_exponent * np.eye(5)
        return np.linalg.solve(a, b)

    everybody, n = np.arange(len(x)), int((c > 0).sum())
    before = solved(c, everybody, n)
    expected = solved(np.append(c, more), np.append(everybody, later), n + 4)
    fold_in = ItemFoldIn(model)
    found = fold_in.vector(
        row, before.astype(np.float32), x[later].astype(np.float32), more.astype(np.float32)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert np.abs(expected - before).max() > 1e-3
    # Nobody took it later: nothing changes.
    none = fold_in.vector(row, found, np.empty((0, 5), np.float32), np.empty(0, np.float32))
    np.testing.assert_allclose(none, found, rtol=1e-6)


def test_a_sample_of_the_users_stands_for_all(pipeline: tm.Pipeline) -> None:
    (model,) = updatable(pipeline)
    x = encoded(model, pipeline.data.queries(np.array([1, 2], np.int32)))
    before, c = model.item_vectors()[3], np.ones(2, np.float32)
    whole = ItemFoldIn(model).vector(3, before, x, c)
    parts = [ItemFoldIn(model, users=25, seed=seed).vector(3, before, x, c) for seed in range(20)]
    assert 0 < np.linalg.norm(np.mean(parts, axis=0) - whole) < 0.3 * np.linalg.norm(whole - before)


_VECTORS = arrays.arrays(np.float32, 4, elements=st.floats(-1e3, 1e3, width=32))


@given(_VECTORS, _VECTORS, st.floats(0, 1e4))
def test_no_way_is_longer_than_its_bound(
    before: NDArray[np.float32], after: NDArray[np.float32], most: float
) -> None:
    found = bounded(after, before, most)
    gone, wanted = (np.linalg.norm(each.astype(np.float64) - before) for each in (found, after))
    # What float32 cannot say is beside the matter.
    slack = 1e-6 * (1 + np.abs(before).max() + np.abs(after).max())
    assert gone <= most + slack
    if wanted <= most:
        assert (found == after).all()
    else:
        assert gone >= most - slack


_EVENTS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, UNSEEN)), max_size=60)


@settings(max_examples=25)
@given(_EVENTS, st.sampled_from([0.01, 0.2, 1.0]))
def test_whatever_happens_no_item_goes_further(
    path: Path, taken: list[tuple[int, int]], drift: float
) -> None:
    serving = serving_of(path, drift)
    lay(serving, [take(f"u{user}", f"i{item}", n) for n, (user, item) in enumerate(taken)])
    before, after = released(serving), served(serving)
    lengths = np.linalg.norm(before, axis=1)
    gone = np.linalg.norm(after - before, axis=1)
    known = lengths > 0
    assert (gone[known] <= drift * lengths[known] * 1.0001).all()
    assert (gone[~known] <= np.median(lengths[known]) * 1.0001).all()
    moved = gone > 0
    rows = serving.pipeline.items.rows([f"i{item}" for _, item in taken])
    assert not np.delete(moved, rows).any()
    (updates,) = serving.item_updates
    assert updates.largest <= drift * 1.0001
    assert updates.updated >= moved.sum()


def test_without_room_nothing_changes(path: Path) -> None:
    serving = serving_of(path, 0.0)
    lay(serving, by_strangers("i1", 0))
    assert serving.item_updates == [] and serving.pipeline.indices == {}
    with pytest.raises(ParameterError, match="drift"):
        Following(item_drift=1.5)


def test_an_item_goes_to_those_who_take_it(path: Path) -> None:
    still, moving = serving_of(path, 0.0), serving_of(path, 0.5)
    # Odd in the release; now those take it who like even ones.
    events = by_strangers("i1", 0)
    lay(still, events)
    lay(moving, events)

    def scores(serving: Serving) -> dict[str, float]:
        # Enough of a history, so that no popularity is joined.
        history = tuple(f"i{i}" for i in range(2, 2 * 8, 2)) * 3
        (found,) = serving.answer([Ask(UNSEEN, history=history)])
        assert isinstance(found, Found)
        return {one.card.item: one.score for one in found.items}

    before, after = scores(still), scores(moving)
    assert after["i1"] > before["i1"] + 0.05
    # An exact index puts a vector where the old one stood.
    assert len(moving.pipeline.indices["als"]._held.rows) == UNSEEN
    (model,) = moving.pipeline.retrievers
    assert isinstance(model, ALS)
    np.testing.assert_array_equal(model.item_vectors(), released(still))
    # Those of others, and what nobody took, stay: the vectors of those who ask do.
    for item in ("i3", "i16", "i24"):
        assert after[item] == pytest.approx(before[item], abs=1e-6)


def test_however_the_log_is_read_the_vectors_are_the_same(path: Path) -> None:
    rng = np.random.default_rng(3)
    events = [
        take(f"u{rng.integers(60)}", f"i{rng.integers(1, UNSEEN + 1)}", n) for n in range(150)
    ]
    found = []
    for size in (1, 7, 150):
        serving = serving_of(path, 0.3)
        for start in range(0, len(events), size):
            serving.add(events[start : start + size])
            if start % 3 == 0:
                serving.refresh()
        serving.refresh()
        found.append(served(serving))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert np.abs(found[0] - released(serving)).max() > 0


def test_who_takes_an_item_again_says_nothing_new(path: Path) -> None:
    once, often, had = (serving_of(path, 1.0) for _ in range(3))
    lay(once, [take("s", "i2"), take("s", "i1", 1)])
    lay(often, [take("s", "i2"), *(take("s", "i1", n) for n in range(1, 9))])
    np.testing.assert_array_equal(served(once), served(often))
    row = had.pipeline.histories.items_of(1)[0]
    lay(had, [take("u0", str(had.pipeline.items.ids([row])[0]))])
    assert (served(had) == released(had)).all()


def test_an_item_without_events_gets_a_vector_once_it_has_some(path: Path) -> None:
    serving = serving_of(path, 0.1)
    row = int(serving.pipeline.items.rows([f"i{UNSEEN}"])[0])
    assert not released(serving)[row].any()
    lay(serving, by_strangers(f"i{UNSEEN}", 0))
    queries = serving.pipeline.data.queries(np.arange(1, 51, dtype=np.int32))
    (model,) = serving.pipeline.retrievers
    assert isinstance(model, ALS)
    scores = model.encode_queries(queries) @ served(serving)[row]
    assert scores[1::2].mean() > scores[::2].mean() + 0.02


def test_new_items_go_to_those_who_take_them_too(path: Path) -> None:
    serving = serving_of(path, 0.5)
    serving.newcomers.change([ItemChange(item, {"genres": "Odd"}) for item in ("new", "other")])
    serving.refresh()
    shelf = serving.newcomers.shelf
    assert shelf is not None and shelf.vectors is not None
    content = shelf.vectors.copy()
    lay(serving, by_strangers("new", 0))
    shelf = serving.newcomers.shelf
    assert shelf is not None and shelf.vectors is not None
    gone = np.linalg.norm(shelf.vectors - content, axis=1)
    assert 0.01 < gone[0] <= 0.5001 * np.linalg.norm(content[0])
    assert gone[1] == 0
    # Another item makes the shelf anew; what is known of the first stays.
    serving.newcomers.change([ItemChange("third", {"genres": "Even"})])
    serving.refresh()
    again = serving.newcomers.shelf
    assert again is not None and again.vectors is not None and len(again) == 3
    np.testing.assert_allclose(again.vectors[0], shelf.vectors[0], atol=1e-6)
    assert serving.item_updates[0].updated == 4


def test_an_index_that_was_made_is_the_exact_one(pipeline: tm.Pipeline) -> None:
    queries = pipeline.data.queries(np.array([1, 5, 8], np.int32))
    expected = pipeline.answer(queries, 10)
    other = tm.Pipeline(pipeline.retrievers)
    (model,) = updatable(other)
    assert other.searched(model) is other.searched(model)
    found = other.answer(queries, 10)
    assert found.padded(10).tolist() == expected.padded(10).tolist()
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


def test_vectors_go_into_an_approximate_index(pipeline: tm.Pipeline) -> None:
    pytest.importorskip("faiss")
    from tastemap.index.hnsw import HNSWIndex

    other = tm.Pipeline(pipeline.retrievers, index=lambda n: HNSWIndex())
    serving = Serving(
        other, "r", lambda user: user.encode(), following=Following(0.0, item_drift=0.5)
    )
    index = other.indices["als"]
    before = served(serving)
    lay(serving, by_strangers("i1", 0))
    assert index is other.indices["als"] and len(index) == UNSEEN
    row = int(other.items.rows(["i1"])[0])
    assert (served(serving)[row] != before[row]).any()
    # So often and no more, since each time leaves a tombstone.
    assert index._held_positions() < UNSEEN + 10


def test_a_swap_begins_anew_and_metrics_say_how_far_it_went(
    pipeline: tm.Pipeline, tmp_path: Path
) -> None:
    store = tm.ReleaseStore(tmp_path / "store")
    store.publish(pipeline)
    log = EventLog(tmp_path / "state")
    engine = Engine(tmp_path / "store", log, following=Following(0.0, item_drift=0.2))
    engine.record([by_strangers("i1", 0)])
    engine.refresh()
    (updates,) = engine.serving.item_updates
    assert updates.updated == 4 and 0.05 < updates.largest <= 0.2001
    moved = served(engine.serving)
    # A process that begins now reads the same from the log.
    other = Engine(tmp_path / "store", log, following=Following(0.0, item_drift=0.2))
    np.testing.assert_array_equal(served(other.serving), moved)
    # A release that has learned from it knows better.
    store.publish(pipeline, about={"event_log_offset": log.last_offset})
    engine.follow()
    assert engine.serving.item_updates[0].updated == 0
    np.testing.assert_array_equal(served(engine.serving), released(engine.serving))
    log.close()
    app = create_app(pipeline.save(tmp_path / "alone"), tmp_path / "alone-state", poll_seconds=9)
    with TestClient(app) as http:
        assert "tastemap_updated_items 0.0" in http.get("/metrics").text
        assert "tastemap_item_drift 0.0" in http.get("/metrics").text
