"""User2Vec: attributes as numbers, and places for items and people who are new."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval.parts.attributes import Attributes
from tastemap.retrieval.user2vec import User2Vec

TABLE = pl.DataFrame(
    {
        "title": ["A", "B", "C", "D"],
        "genres": [["x", "y"], ["y"], None, ["x", "rare"]],
        "kind": ["film", "film", "show", "show"],
        "year": [1990, 2000, None, 2010],
        "released": [date(2000, 1, 1), date(2000, 1, 3), None, None],
    }
)


def test_attributes_become_numbers() -> None:
    attributes = Attributes(TABLE)
    assert attributes.names == [
        "genres=?", "genres=x", "genres=y", "kind=?", "kind=film", "kind=show", "year", "released",
    ]  # fmt: skip
    scaled = np.sqrt(1.5)
    expected = [
        [0, 0.5, 0.5, 0, 1, 0, -scaled, -1],
        [0, 0, 1, 0, 1, 0, 0, 1],
        [0, 0, 0, 0, 0, 1, 0, 0],
        [0.5, 0.5, 0, 0, 0, 1, scaled, 0],
    ]
    np.testing.assert_allclose(attributes.encode(TABLE, 4).toarray(), expected, atol=1e-6)


def test_unseen_categories_missing_columns_and_no_table() -> None:
    attributes = Attributes(TABLE)
    row = pl.DataFrame({"kind": ["opera"], "year": [2000], "colour": ["red"]})
    expected = [[0, 0, 0, 1, 0, 0, 0, 0]]
    np.testing.assert_allclose(attributes.encode(row, 1).toarray(), expected, atol=1e-6)
    assert attributes.encode(None, 3).shape == (3, 8)
    assert attributes.encode(None, 3).nnz == 0
    assert len(Attributes(None)) == 0
    assert Attributes(None).encode(TABLE, 4).shape == (4, 0)


def test_texts_are_read_as_their_words() -> None:
    titles = ["The Star", "Star Trek II", "Trek of the lost", None, "Alone"]
    attributes = Attributes(pl.DataFrame({"title": titles}))
    assert attributes.names == ["title=?", "title=star", "title=the", "title=trek"]
    row = pl.DataFrame({"title": ["the TREK, again"]})
    expected = [[1 / 3, 0, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(attributes.encode(row, 1).toarray(), expected, atol=1e-6)


def tastes() -> tm.Dataset:
    """Two tastes: students choose comedies, the retired dramas."""
    rng = np.random.default_rng(0)
    events = [
        (f"u{taste}-{user}", f"i{taste}-{item}")
        for taste in range(2)
        for user in range(12)
        for item in rng.permutation(12)[:7]
    ]
    items = pl.DataFrame(
        {
            "item": [f"i{taste}-{item}" for taste in range(2) for item in range(12)],
            "genre": ["comedy"] * 12 + ["drama"] * 12,
        }
    )
    users = pl.DataFrame(
        {
            "user": [f"u{taste}-{user}" for taste in range(2) for user in range(12)],
            "job": ["student"] * 12 + ["retired"] * 12,
            "age": [20 + user for user in range(12)] + [60 + user for user in range(12)],
        }
    )
    frame = pl.DataFrame(events, schema=["user", "item"], orient="row")
    return tm.Dataset.from_frame(frame, items=items, users=users)


@pytest.fixture(scope="module")
def model() -> User2Vec:
    return User2Vec(factors=8, epochs=40, batch_size=8, learning_rate=0.01).fit(tastes())


def taste_of(model: User2Vec) -> np.ndarray:
    """0 or 1 for each item row past the unknown."""
    return np.array([int(id_[1]) for id_ in model.items.ids(np.arange(1, len(model.items)))])


def test_a_new_item_lies_near_its_kind(model: User2Vec) -> None:
    new = model.encode_items(pl.DataFrame({"genre": ["comedy", "drama"]}))
    np.testing.assert_allclose(np.linalg.norm(new, axis=1), 1, atol=1e-5)
    nearness, taste = new @ model.item_vectors()[1:].T, taste_of(model)
    for kind in range(2):
        assert nearness[kind, taste == kind].mean() > nearness[kind, taste != kind].mean() + 0.3
    # And so it is found by those who like its kind.
    users = model.encode_queries(model.data.queries(model.users.rows(["u0-3", "u1-3"])))
    assert (np.argmax(users @ new.T, axis=1) == [0, 1]).all()


def test_a_profile_places_a_stranger_without_history(model: User2Vec) -> None:
    taste = taste_of(model)
    for kind, profile in enumerate([{"job": "student"}, {"job": "retired", "age": 66}]):
        stranger = Queries.of(Histories.empty(1), profile=model.data.profile_of(profile))
        assert model.knows(stranger).all()
        scores = model.score(stranger)[0, 1:]
        best = np.argsort(-scores)[:8]
        assert (taste[best] == kind).all()


def test_who_says_nothing_gets_what_is_popular(model: User2Vec) -> None:
    nobody = Queries.of(Histories.empty(1), profile=model.data.profile_of({}))
    assert not model.knows(nobody).any()
    assert not model.knows(Queries.of(Histories.empty(1))).any()


def test_places_are_the_same_after_loading(model: User2Vec, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    loaded = tm.load(tmp_path / "model")
    assert isinstance(loaded, User2Vec)
    new = pl.DataFrame({"genre": ["drama", "opera", None]})
    np.testing.assert_array_equal(loaded.encode_items(new), model.encode_items(new))
    stranger = Queries.of(Histories.empty(1), profile=model.data.profile_of({"age": 30}))
    np.testing.assert_array_equal(loaded.score(stranger), model.score(stranger))


def test_without_tables_it_learns_from_histories_alone(liked_movies: tm.Dataset) -> None:
    data = replace(liked_movies, item_table=None, user_table=None)
    model = User2Vec(factors=8, epochs=1, user_ids=False).fit(data)
    assert not model.user_embeddings.any()
    assert model.item_attribute_embeddings.shape == (0, 8)
    vectors = model.encode_queries(Queries.of(data.histories.take(np.arange(1, 20))))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_numbers_with_knots_are_piecewise_linear() -> None:
    table = pl.DataFrame({"age": [10.0, 20.0, 40.0, None]})
    attributes = Attributes(table, knots=3)
    assert attributes.names == ["age≈10", "age≈20", "age≈40"]
    asked = pl.DataFrame({"age": [10.0, 25.0, 40.0, None, 5.0, 99.0]})
    expected = [[1, 0, 0], [0, 0.75, 0.25], [0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]]
    np.testing.assert_allclose(attributes.encode(asked, 6).toarray(), expected, atol=1e-6)
