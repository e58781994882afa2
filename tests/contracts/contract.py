"""What every first-stage model promises. A model's test class names its `Model` and its band."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.data.splits import RandomPerUser, Split
from tastemap.errors import DataError, NotFittedError, ParameterError
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.table import model_class
from tastemap.training.run import Run

GROUPS, USERS_EACH, ITEMS_EACH, CHOSEN = 4, 5, 10, 8


def twenty_users(others: int = 0) -> Dataset:
    """20 users of 4 tastes; each gave a 5 to 8 of the 10 items of their taste, and a 1 to `others`
    items of each other taste."""
    rng = np.random.default_rng(7)
    rows = [
        (f"u{group}-{user}", f"i{taste}-{item}", 1_600_000_000 + step, rating)
        for group in range(GROUPS)
        for user in range(USERS_EACH)
        for taste, chosen, rating in [
            (group, CHOSEN, 5.0),
            *((taste, others, 1.0) for taste in range(GROUPS) if others and taste != group),
        ]
        for step, item in enumerate(rng.permutation(ITEMS_EACH)[:chosen])
    ]
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp", "rating"], orient="row")
    return Dataset.from_frame(frame)


class ModelContract:
    """The suite. `settings` keep the fits small; the band is for the class defaults."""

    model: ClassVar[str]
    settings: ClassVar[dict[str, Any]] = {}
    small_settings: ClassVar[dict[str, Any]] = {}
    personal: ClassVar[bool] = True
    ndcg_band: ClassVar[tuple[float, float]]

    @classmethod
    def make(cls, **more: Any) -> Retriever:
        return model_class(cls.model)(**{**cls.settings, **more})

    @classmethod
    def small(cls, **more: Any) -> Retriever:
        return cls.make(**{**cls.small_settings, **more})

    @pytest.fixture(scope="class")
    @classmethod
    def split(cls, liked_movies: Dataset) -> Split:
        return RandomPerUser(test=0.2, seed=0).split(liked_movies)

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, split: Split) -> Retriever:
        return cls.make().fit(split.train)

    @classmethod
    def twenty_users(cls) -> Dataset:
        return twenty_users()

    @pytest.fixture(scope="class")
    @classmethod
    def by_heart(cls) -> Retriever:
        return cls.small().fit(cls.twenty_users())

    def test_is_in_the_table_under_its_name(self) -> None:
        cls = model_class(self.model)
        assert cls.name == self.model
        assert cls.paper

    def test_learns_twenty_users_by_heart(self, by_heart: Retriever) -> None:
        users = by_heart.users.ids(np.arange(1, 21))
        # All ten items of one's taste come first: the eight that were chosen, and the other two.
        found = by_heart.recommend(users, k=ITEMS_EACH, exclude_seen=False)
        same = found["user"].str.slice(1, 1) == found["item"].str.slice(1, 1)
        expected = 0.95 if self.personal else 1 / GROUPS
        assert same.mean() == pytest.approx(expected, abs=0.051)

    def test_lies_in_its_band(self, fitted: Retriever, split: Split) -> None:
        low, high = self.ndcg_band
        ndcg = tm.evaluate(fitted, split, metrics=["ndcg@10"])["ndcg@10"]
        assert low <= ndcg <= high

    def test_saved_and_loaded_it_answers_alike(
        self, fitted: Retriever, split: Split, tmp_path: Path
    ) -> None:
        fitted.save(tmp_path / "model")
        loaded = tm.load(tmp_path / "model")
        assert type(loaded) is type(fitted)
        assert loaded.hyperparameter_values() == fitted.hyperparameter_values()
        users = fitted.users.ids(np.arange(1, 101))
        assert loaded.recommend(users, k=20).equals(fitted.recommend(users, k=20))

    def test_batch_size_changes_nothing(self, fitted: Retriever, split: Split) -> None:
        queries = split.test.queries.slice(0, 40)
        together = fitted.score(queries)
        alone = np.concatenate([fitted.score(tile) for _, tile in queries.tiles(1)])
        assert together.shape == (40, len(fitted.items))
        assert together.dtype == np.float32
        scale = np.abs(together[:, 1:]).max()
        np.testing.assert_allclose(alone[:, 1:], together[:, 1:], atol=2e-5 * scale)

    def test_scores_of_some_items_are_columns_of_all(self, fitted: Retriever, split: Split) -> None:
        queries = split.test.queries.slice(0, 10)
        some = np.array([5, 3, 17], np.int32)
        everything = fitted.score(queries)
        assert np.isfinite(everything[:, 1:]).all()
        scale = np.abs(everything[:, 1:]).max()
        np.testing.assert_allclose(
            fitted.score(queries, some), everything[:, some], atol=2e-5 * scale
        )

    def test_what_is_excluded_never_comes_back(self, fitted: Retriever, split: Split) -> None:
        queries = split.test.queries
        answers = fitted.answer(queries, 50)
        rows = np.repeat(np.arange(len(answers)), answers.counts)
        recommended = set(zip(rows.tolist(), answers.items.tolist(), strict=True))
        h = queries.histories
        seen = set(zip(h.rows_of_events().tolist(), h.items.tolist(), strict=True))
        assert not recommended & seen
        assert len(recommended) == len(answers.items)
        assert answers.items.min() >= 1

    def test_only_what_is_allowed_comes_out(self, fitted: Retriever) -> None:
        among = fitted.items.ids([2, 4, 8, 16])
        frame = fitted.recommend(fitted.users.ids([1, 2, 3]), k=10, among=among, exclude_seen=False)
        assert set(frame["item"]) == set(among)
        assert frame.height == 12
        assert frame["rank"].to_list() == [1, 2, 3, 4] * 3

    def test_a_stranger_gets_an_answer(self, fitted: Retriever) -> None:
        frame = fitted.recommend(["nobody has this id"], k=10)
        popular = fitted.items.ids(np.lexsort((np.arange(len(fitted.items)), -fitted.popularity)))
        if self.personal:
            assert frame["item"].to_list() == popular[:10]
        assert frame.height == 10
        assert fitted.recommend(histories=[[]], k=10)["item"].to_list() == frame["item"].to_list()

    def test_a_strangers_history_counts(self, by_heart: Retriever) -> None:
        frame = by_heart.recommend(histories=[["i1-0", "i1-1", "i1-2"], ["i3-5"]], k=5)
        assert frame["user"].to_list() == [0] * 5 + [1] * 5
        if self.personal:
            groups = frame["item"].str.slice(1, 1).to_list()
            assert groups[:5] == ["1"] * 5
            assert groups[5:].count("3") >= 4

    def test_one_event_changes_the_answer(self, by_heart: Retriever) -> None:
        row = by_heart.users.rows(["u0-0"])
        before = by_heart.data.queries(row)
        liked = by_heart.items.rows(["i2-0", "i2-1", "i2-2", "i2-3"])
        more = Histories.from_lists([liked], times=[[2e9] * 4], values=by_heart.data.liking_value)
        after = Queries.of(before.histories.append(more), users=row)
        old, new = (by_heart.answer(q, 10).items.tolist() for q in (before, after))
        assert (old != new) or not self.personal
        if self.personal:
            gained = by_heart.score(after)[0, 1:] - by_heart.score(before)[0, 1:]
            group = np.array([id_[1] for id_ in by_heart.items.ids(np.arange(1, 41))])
            assert gained[group == "2"].mean() > gained[group == "3"].mean()

    def test_unknown_items_of_a_history_do_not_matter(self, fitted: Retriever) -> None:
        known = Histories.from_lists([[3, 9, 27]])
        mixed = Histories.from_lists([[0, 3, 0, 9, 27]])
        np.testing.assert_array_equal(
            fitted.score(Queries.of(mixed))[:, 1:], fitted.score(Queries.of(known))[:, 1:]
        )

    def test_a_seed_gives_the_same_run(self) -> None:
        data = self.twenty_users()
        # The first passes say as much about it as all of them.
        passes = {"epochs", "pretraining_epochs"} & set(model_class(self.model).hyperparameters())
        few = dict.fromkeys(passes, 3)
        first, second = self.small(**few).fit(data), self.small(**few).fit(data)
        # A GPU adds up in any order.
        tolerance = 0.0 if Run().torch_device() == "cpu" else 1e-3
        for name, learned in first.tensors().items():
            np.testing.assert_allclose(
                learned, second.tensors()[name], tolerance, tolerance, err_msg=name
            )
        if "seed" in first.hyperparameters():
            other = self.small(seed=12345, **few).fit(data).tensors()
            assert any((learned != other[name]).any() for name, learned in first.tensors().items())

    def test_similar_items_share_a_taste(self, by_heart: Retriever) -> None:
        frame = by_heart.similar(["i0-3", "i2-7"], k=5)
        assert frame.columns == ["item", "similar", "rank", "score"]
        assert (frame["item"] != frame["similar"]).all()
        if self.personal:
            same = frame["item"].str.slice(1, 1) == frame["similar"].str.slice(1, 1)
            assert same.mean() >= 0.9

    def test_reasons_come_from_the_history(self, by_heart: Retriever) -> None:
        queries = by_heart.data.queries(np.array([1, 20]))
        answers = by_heart.answer(queries, 2)
        reasons = by_heart.because(queries, answers)
        rows = np.repeat(np.arange(2), answers.counts)
        for row, reason in zip(rows, reasons, strict=True):
            if self.personal:
                assert reason in queries.histories.items_of(row)
            else:
                assert reason == 0

    def test_bad_arguments_are_named(self, by_heart: Retriever) -> None:
        with pytest.raises(ParameterError, match="no_such_field"):
            self.make(no_such_field=1)
        for name, declared in type(by_heart).hyperparameters().items():
            with pytest.raises(ParameterError, match=name):
                self.make(**{name: object()})
            if declared.ge is not None:
                with pytest.raises(ParameterError, match=name):
                    self.make(**{name: declared.ge - 1})
        with pytest.raises(ParameterError, match="k must be"):
            by_heart.recommend(["u0-0"], k=0)
        with pytest.raises(ParameterError, match="list of ids"):
            by_heart.recommend("u0-0")
        with pytest.raises(NotFittedError, match="fit"):
            self.make().recommend(["u0-0"])
        with pytest.raises(DataError, match="no events"):
            data = self.twenty_users()
            self.make().fit(data.with_events(np.zeros(data.n_events, bool)))


class RatingContract(ModelContract):
    """The suite for models that predict ratings, and order items by them.

    Such a model learns nothing of taste where everybody gave a 5 to whatever they rated: predicting
    5 for every pair has no error. So here the twenty users also gave a 1 to three items of each
    other taste, and then the order of the predicted ratings shows the taste. Nor does the order of
    predicted ratings make good lists (what was rated at all is not asked), so that the band is
    that of the RMSE.
    """

    rmse_band: ClassVar[tuple[float, float]]

    @classmethod
    def twenty_users(cls) -> Dataset:
        return twenty_users(others=3)

    @pytest.fixture(scope="class")
    @classmethod
    def split(cls, movies: Dataset) -> Split:
        return RandomPerUser(test=0.1, seed=1).split(movies)

    def test_lies_in_its_band(self, fitted: Retriever, split: Split) -> None:
        low, high = self.rmse_band
        assert low <= rating_error(fitted, split.test) <= high

    def test_rates_pairs_within_the_scale(self, by_heart: Retriever) -> None:
        users = ["u0-0", "u0-0", "u3-1", "nobody"]
        ratings = by_heart.predict(users, ["i0-0", "i1-1", "i3-2", "i2-2"])
        assert ratings.dtype == np.float64
        assert ((ratings >= 1) & (ratings <= 5)).all()
        assert ratings[0] - ratings[1] > 2
        assert ratings[2] > 4

    def test_ratings_do_not_depend_on_the_other_pairs(
        self, fitted: Retriever, split: Split
    ) -> None:
        queries, truth = split.test.queries.slice(0, 20), split.test.truth.slice(0, 20)
        rows, times = truth.rows_of_events(), truth.times
        together = fitted.predict_pairs(queries, rows, truth.items, times)
        alone = [
            fitted.predict_pairs(
                queries.slice(row, row + 1),
                np.zeros(1, np.int64),
                truth.items[event : event + 1],
                times[event : event + 1],
            )
            for event, row in enumerate(rows)
        ]
        np.testing.assert_allclose(np.concatenate(alone), together, atol=1e-4)


def rating_error(model: Retriever, holdout: Holdout) -> float:
    """The RMSE of the ratings predicted for a holdout."""
    truth = holdout.truth
    predicted = model.predict_pairs(
        holdout.queries, truth.rows_of_events(), truth.items, truth.times
    )
    return tm.metrics.rmse(predicted, truth.values)
