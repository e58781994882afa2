from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.data.queries import Queries
from tastemap.errors import DataError, NotFittedError, ParameterError


@pytest.fixture(scope="module")
def joined(liked_movies: tm.Dataset) -> tm.Pipeline:
    return tm.Pipeline([tm.ItemKNN(), tm.EASE()]).fit(liked_movies)


def test_one_retriever_keeps_its_order_and_scores(liked_movies: tm.Dataset) -> None:
    knn = tm.ItemKNN().fit(liked_movies)
    alone = tm.Pipeline([knn]).recommend(["1", "13", "42"], k=20)
    assert alone.drop("source").equals(knn.recommend(["1", "13", "42"], k=20))
    assert set(alone["source"]) == {"itemknn"}


def test_one_that_has_learned_nothing_says_so(liked_movies: tm.Dataset) -> None:
    queries = liked_movies.queries(np.arange(1, 3))
    with pytest.raises(NotFittedError):
        tm.Pipeline([tm.ItemKNN()]).answer(queries, 10)


def test_several_are_joined_by_reciprocal_rank(joined: tm.Pipeline) -> None:
    users = ["1", "13", "42"]
    lists = [
        retriever.recommend(users, k=200).rows_by_key(["user"]) for retriever in joined.retrievers
    ]
    found = joined.recommend(users, k=10)
    for user in users:
        expected: dict[str, float] = {}
        for by_user in lists:
            for item, rank, _ in by_user[user]:
                expected[item] = expected.get(item, 0.0) + 1 / (60 + rank)
        mine = found.filter(pl.col("user") == user)
        best = sorted(expected.values(), reverse=True)[:10]
        np.testing.assert_allclose(mine["score"].to_numpy(), best, rtol=1e-5)
        for item, score in mine.select("item", "score").iter_rows():
            assert score == pytest.approx(expected[item], rel=1e-5)
    assert set(found["source"]) == {"itemknn", "ease"}


def test_a_stranger_gets_what_is_popular(joined: tm.Pipeline, liked_movies: tm.Dataset) -> None:
    found = joined.recommend(["no such user"], k=5)
    order = np.argsort(-liked_movies.item_counts, kind="stable")[:5]
    assert found["item"].to_list() == liked_movies.items.ids(order)
    assert set(found["source"]) == {"popularity"}


def test_a_profile_narrows_what_is_popular(joined: tm.Pipeline, liked_movies: tm.Dataset) -> None:
    profile = pl.DataFrame({"gender": ["F", None, "Q"]})
    queries = Queries.of(tm.Histories.empty(3), profile=profile)
    answers = joined.answer(queries, 10)
    sources = answers.source_series().to_list()
    assert sources == ["popularity:gender=F"] * 10 + ["popularity"] * 20
    women = liked_movies.user_table.filter(pl.col("gender") == "F")["user"]  # type: ignore[union-attr]
    chosen = liked_movies.histories.to_csr(len(liked_movies.items))
    rows = liked_movies.users.rows(women.to_list())
    by_women = np.asarray(chosen[rows[rows > 0]].sum(axis=0)).ravel()
    top = np.argsort(-by_women, kind="stable")[:30]
    assert set(answers.items[:10].tolist()) <= set(top.tolist())


def test_places_left_empty_are_filled(joined: tm.Pipeline, liked_movies: tm.Dataset) -> None:
    # A history of one rarely chosen film has few neighbours; the answer is full all the same.
    rare = liked_movies.items.ids([int(np.argmin(liked_movies.item_counts[1:])) + 1])
    alone = tm.ShortHistories(prior=0)
    pipeline = tm.Pipeline([tm.ItemKNN(neighbors=2)], short_histories=alone).fit(liked_movies)
    row = liked_movies.items.rows(rare)
    answers = pipeline.answer(Queries.of(tm.Histories.from_lists([row])), 100)
    assert answers.counts.tolist() == [100]
    assert len(set(answers.items.tolist())) == 100
    assert row[0] not in answers.items
    sources = answers.source_series().to_list()
    assert sources[0] == "itemknn"
    assert sources[2:] == ["popularity"] * 98


def test_among_holds_for_the_fallback_too(joined: tm.Pipeline) -> None:
    among = ["50", "100", "181"]
    found = joined.recommend(["1", "stranger"], k=10, among=among, exclude_seen=False)
    assert set(found["item"]) == set(among)
    assert found.height == 6


def test_the_batch_changes_nothing(joined: tm.Pipeline, liked_movies: tm.Dataset) -> None:
    queries = liked_movies.queries(np.arange(30))
    together = joined.answer(queries, 10)
    for row, tile in queries.tiles(1):
        alone = joined.answer(tile, 10)
        place = slice(together.offsets[row], together.offsets[row + 1])
        assert alone.items.tolist() == together.items[place].tolist()


def test_saved_and_loaded_it_answers_alike(joined: tm.Pipeline, tmp_path: Path) -> None:
    joined.save(tmp_path / "p")
    loaded = tm.load(tmp_path / "p")
    users = [*joined.users.ids(np.arange(1, 50)), "stranger"]
    assert loaded.recommend(users, k=10).equals(joined.recommend(users, k=10))
    assert loaded.data.item_table.equals(joined.data.item_table)


def test_reasons_are_items_of_the_history(joined: tm.Pipeline, liked_movies: tm.Dataset) -> None:
    queries = liked_movies.queries(np.array([5, 0]))
    answers = joined.answer(queries, 10)
    reasons = joined.because(queries, answers)
    assert set(reasons[:10].tolist()) <= set(queries.histories.items_of(0).tolist())
    assert (reasons[10:] == 0).all()


def test_misfits_are_refused(liked_movies: tm.Dataset, movies: tm.Dataset) -> None:
    with pytest.raises(ParameterError, match="different names"):
        tm.Pipeline([])
    with pytest.raises(ParameterError, match="different names"):
        tm.Pipeline([tm.EASE(), tm.EASE()])
    for wrong in (tm.EASE(), [tm.EASE], [tm.FM()], "ease"):
        with pytest.raises(ParameterError, match="retrievers must be a list of models"):
            tm.Pipeline(wrong)  # type: ignore[arg-type]
    for wrong_ranker in (tm.FM, tm.EASE()):
        with pytest.raises(ParameterError, match="ranker must be a ranker"):
            tm.Pipeline([tm.EASE()], ranker=wrong_ranker)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="same data set"):
        tm.Pipeline([tm.ItemKNN().fit(movies), tm.Popularity().fit(liked_movies)])


def test_the_names_and_values_of_columns_may_be_anything() -> None:
    n = 60
    odd = [["None", "x=y", None][user % 3] for user in range(n)]
    data = tm.Dataset.from_frame(
        pl.DataFrame({"user": range(n), "item": [f"i{user % 3}" for user in range(n)]}),
        users=pl.DataFrame({"user": range(n), "a=b": odd}),
    )
    pipeline = tm.Pipeline([tm.Popularity()]).fit(data)
    profile = pl.DataFrame({"a=b": ["None", "x=y", None, "z"]})
    found = pipeline._fallback.choose(Queries.of(tm.Histories.empty(4), profile=profile))
    names = [pipeline._fallback.names[group] for group in found]
    assert names == ["popularity:a=b=None", "popularity:a=b=x=y", "popularity", "popularity"]


@pytest.mark.parametrize("model", [tm.Popularity(), tm.Pipeline([tm.Popularity()])])
def test_what_is_fitted_on_something_else_says_what_to_give(
    model: tm.Popularity | tm.Pipeline, liked_movies: tm.Dataset
) -> None:
    for wrong in (liked_movies.to_frame(), "events.csv", None):
        with pytest.raises(ParameterError, match=r"give a tm.Dataset, not a .*from_frame"):
            model.fit(wrong)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"validation=split\.validation, not a Dataset"):
        model.fit(liked_movies, validation=liked_movies)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="must be said by column"):
        model.fit(liked_movies).recommend(users=[1], context="evening")  # type: ignore[arg-type]
