"""Evaluation of models: figures by hand, tiles, strangers, segments, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from tastemap import metrics as m
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.data.splits import GlobalTime, LeaveOneOut, RandomPerUser, Split
from tastemap.errors import NotFittedError, ParameterError
from tastemap.evaluation import evaluate
from tastemap.pipeline.pipeline import Pipeline
from tastemap.pipeline.short_histories import ShortHistories
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.item_knn import ItemKNN
from tastemap.retrieval.popularity import Popularity
from tastemap.training.run import Run

ALL = [
    "hit_rate@5", "precision@5", "recall@5", "ndcg@5", "ndcg@10", "map@5", "mrr@5", "auc",
    "serendipity@5", "coverage@5", "gini@5", "novelty@5", "arp@5", "popularity_bias@5",
    "intra_list_diversity@5",
]  # fmt: skip


class Fixed(Retriever):
    """Scores that are told: row u of `table` is for user row u; ratings likewise."""

    name = "fixed"
    paper = "none"
    table: NDArray[np.float32]

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        pass

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        scores = self.table[queries.users]
        return scores if items is None else scores[:, items]

    def predict_pairs(
        self,
        queries: Queries,
        query_rows: NDArray[Any],
        items: NDArray[np.int32],
        times: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        return self.table[queries.users[query_rows], items].astype(np.float64)


def log(n_users: int = 60, n_items: int = 40, seed: int = 0) -> Dataset:
    """Users who like some items more than others, with ratings and a table of genres."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, n_items + 1)
    rows = [
        rng.choice(n_items, rng.integers(6, 20), replace=False, p=weights / weights.sum())
        for _ in range(n_users)
    ]
    users = np.repeat(np.arange(n_users), [len(row) for row in rows])
    items = np.concatenate(rows)
    genres = [["drama"] if i % 3 else ["comedy", "war"] for i in range(n_items)]
    return Dataset.from_frame(
        pl.DataFrame(
            {
                "user": [f"u{u}" for u in users],
                "item": [f"i{i}" for i in items],
                "timestamp": rng.permutation(len(users)).astype(float),
                "rating": rng.integers(1, 6, len(users)).astype(float),
            }
        ),
        items=pl.DataFrame({"item": [f"i{i}" for i in range(n_items)], "genres": genres}),
    )


@pytest.fixture(scope="module")
def split() -> Split:
    return RandomPerUser(test=0.3, validation=0.1, seed=1).split(log())


@pytest.fixture(scope="module")
def fixed(split: Split) -> Fixed:
    model = Fixed().fit(split.train)
    shape = (len(split.train.users), len(split.train.items))
    # Whole numbers, so that there are ties and no arithmetic depends on the batch.
    model.table = np.random.default_rng(2).integers(0, 25, shape).astype(np.float32)
    return model


def by_hand(model: Fixed, split: Split, k: int) -> list[list[int]]:
    """Each test user's best k unseen items; of equal scores the lower row."""
    lists = []
    for row, user in enumerate(split.test.queries.users):
        seen = set(split.test.queries.histories.items_of(row).tolist())
        scores = model.table[user]
        candidates = [i for i in range(1, len(scores)) if i not in seen]
        lists.append(sorted(candidates, key=lambda i: (-scores[i], i))[:k])
    return lists


def test_figures_are_those_of_the_lists_made_by_hand(split: Split, fixed: Fixed) -> None:
    truth = split.test.truth
    lists = np.array(by_hand(fixed, split, 10), np.int32)
    hits, n_relevant = m.judge(lists, truth.offsets, truth.items)
    names = ["ndcg@10", "recall@10", "map@10", "mrr@10", "hit_rate@10", "precision@10", "ndcg@3"]
    report = evaluate(fixed, split, names)
    for name in names:
        metric = m.Metric.parse(name)
        values = getattr(m, metric.name)(hits, n_relevant, metric.k)
        assert report.per_user[name].to_list() == values.tolist()
        assert report[name] == pytest.approx(values.mean(), abs=1e-12), name


def test_auc_agrees_with_scikit_learn(split: Split, fixed: Fixed) -> None:
    truth, queries = split.test.truth, split.test.queries
    expected = []
    for row, user in enumerate(queries.users):
        unseen = np.setdiff1d(np.arange(1, fixed.table.shape[1]), queries.histories.items_of(row))
        labels = np.isin(unseen, truth.items_of(row))
        expected.append(roc_auc_score(labels, fixed.table[user, unseen]))
    assert evaluate(fixed, split, "auc")["auc"] == pytest.approx(np.mean(expected), abs=1e-12)


def test_catalogue_and_lists_agree_with_the_metrics_on_arrays(split: Split, fixed: Fixed) -> None:
    lists = np.array(by_hand(fixed, split, 5), np.int32)
    train = split.train.histories
    users_of = np.bincount(train.items, minlength=len(split.train.items))
    counts = m.exposure(lists, split.train.n_items, 5)
    h = split.test.queries.histories
    shown = m.arp(lists, users_of, 5)
    report = evaluate(fixed, split, ALL)
    assert report["coverage@5"] == m.coverage(counts)
    assert report["gini@5"] == m.gini(counts)
    assert report["arp@5"] == pytest.approx(shown.mean())
    n_users = int((train.counts > 0).sum())
    assert report["novelty@5"] == pytest.approx(m.novelty(lists, users_of, n_users, 5).mean())
    before = m.profile_popularity(h.offsets, h.items, users_of)
    assert report["popularity_bias@5"] == pytest.approx(m.popularity_bias(shown, before))
    genres = np.array(
        [[0, 0]]
        + [
            [0, 1] if int(str(item)[1:]) % 3 else [1, 0]
            for item in split.train.items.ids(range(1, len(split.train.items)))
        ]
    )
    expected = m.intra_list_diversity(lists, genres, 5).mean()
    assert report["intra_list_diversity@5"] == pytest.approx(expected)
    vectors = np.random.default_rng(0).standard_normal((len(split.train.items), 3))
    found = evaluate(fixed, split, "intra_list_diversity@5", item_features=vectors)
    expected = m.intra_list_diversity(lists, vectors, 5).mean()
    assert found["intra_list_diversity@5"] == pytest.approx(expected)


def test_serendipity_is_what_popularity_does_not_find(split: Split, fixed: Fixed) -> None:
    popular = evaluate(Popularity().fit(split.train), split, ["serendipity@5", "precision@5"])
    assert popular["serendipity@5"] == 0.0 and popular["precision@5"] > 0
    found = evaluate(fixed, split, ["serendipity@5", "precision@5"])
    assert 0 < found["serendipity@5"] < found["precision@5"]


def test_a_model_that_knows_the_future_is_perfect(split: Split, fixed: Fixed) -> None:
    oracle = Fixed().fit(split.train)
    oracle.table = np.zeros_like(fixed.table)
    for row, user in enumerate(split.test.queries.users):
        oracle.table[user, split.test.truth.items_of(row)] = 1
    report = evaluate(oracle, split, ["ndcg@50", "recall@50", "map@50", "mrr@50", "auc"])
    assert list(report.metrics.values()) == pytest.approx([1.0] * 5)
    assert report.intervals["ndcg@50"] == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize("tile_size", [1, 7, 59])
@pytest.mark.parametrize("make", [lambda fixed: fixed, lambda fixed: Pipeline([fixed])])
def test_the_size_of_tiles_changes_nothing(
    split: Split, fixed: Fixed, make: Callable[[Fixed], Any], tile_size: int
) -> None:
    model = make(fixed)
    names = ALL if model is fixed else [name for name in ALL if name != "auc"]
    whole, tiled = evaluate(model, split, names), evaluate(model, split, names, tile_size=tile_size)
    assert tiled.metrics == whole.metrics
    assert tiled.intervals == whole.intervals
    assert tiled.per_user.equals(whole.per_user)
    numbers = [name for name in whole.segments.columns if "@" in name]
    for name in numbers:
        np.testing.assert_allclose(
            tiled.segments[name].to_numpy(), whole.segments[name].to_numpy(), rtol=1e-12
        )


def test_a_pipeline_is_judged_as_the_model_in_it(split: Split, fixed: Fixed) -> None:
    names = [name for name in ALL if name != "auc"]
    # What is popular must not join in.
    pipeline = Pipeline([fixed], short_histories=ShortHistories(prior=0))
    assert evaluate(pipeline, split, names).metrics == evaluate(fixed, split, names).metrics


def test_real_models_beat_popularity_on_real_films(liked_movies: Dataset) -> None:
    split = RandomPerUser(test=0.2, seed=0).split(liked_movies)
    popular = evaluate(Popularity().fit(split.train), split, ALL)
    knn = evaluate(ItemKNN().fit(split.train), split, ALL)
    for name in ("ndcg@10", "auc", "coverage@5", "novelty@5", "serendipity@5"):
        assert knn[name] > popular[name], name
    low, high = knn.intervals["ndcg@10"] or (0, 0)
    assert popular["ndcg@10"] < low < knn["ndcg@10"] < high


def test_seen_items_come_back_when_allowed(split: Split) -> None:
    # Scoring just what was seen finds nothing new, unless repetitions are allowed.
    again = Fixed().fit(split.train)
    again.table = split.test.queries.histories.to_csr(len(split.train.items)).toarray()
    again.table = np.vstack([np.zeros_like(again.table[:1]), again.table])[
        np.searchsorted(split.test.queries.users, np.arange(len(split.train.users))) + 1
    ]
    queries = split.test.queries
    holdout = Holdout(queries, queries.histories)
    names = ["recall@30", "precision@1", "auc"]
    assert list(evaluate(again, holdout, names).metrics.values()) == [0.0, 0.0, 0.0]
    allowed = evaluate(again, holdout, names, exclude_seen=False)
    assert list(allowed.metrics.values()) == [1.0, 1.0, 1.0]
    assert allowed.exclude_seen is False


def test_strangers_are_answered_by_popularity_as_in_recommend(split: Split) -> None:
    n = len(split.test)
    strangers = Holdout(Queries.of(Histories.empty(n)), split.test.truth)
    knn, popular = ItemKNN().fit(split.train), Popularity().fit(split.train)
    names = ["ndcg@5", "auc", "coverage@5"]
    report = evaluate(knn, strangers, names)
    assert report.metrics == evaluate(popular, strangers, names).metrics
    assert report["ndcg@5"] > 0
    assert report.per_user["user"].null_count() == n


def test_rating_errors(split: Split, fixed: Fixed) -> None:
    truth, users = split.test.truth, split.test.queries.users
    predicted = fixed.table[users[truth.rows_of_events()], truth.items]
    report = evaluate(fixed, split, ["rmse", "mae", "ndcg@5"])
    assert report["rmse"] == pytest.approx(m.rmse(predicted, truth.values))
    assert report["mae"] == pytest.approx(m.mae(predicted, truth.values))
    first = slice(0, truth.offsets[1])
    assert report.per_user["rmse"][0] == pytest.approx(
        m.rmse(predicted[first], truth.values[first])
    )
    low, high = report.intervals["rmse"] or (0, 0)
    assert low < report["rmse"] < high
    # A threshold on relevance leaves ratings alone.
    liked = evaluate(fixed, split, ["rmse", "ndcg@5"], min_value=4)
    assert liked["rmse"] == report["rmse"] and liked["ndcg@5"] != report["ndcg@5"]


def test_min_value_is_filtering_the_truth(split: Split, fixed: Fixed) -> None:
    truth = split.test.truth
    filtered = Holdout(split.test.queries, truth.select(truth.values >= 4))
    names = ["ndcg@5", "recall@5", "auc"]
    assert (
        evaluate(fixed, split, names, min_value=4).metrics
        == pytest.approx(evaluate(fixed, filtered, names).metrics)
    )  # fmt: skip


def test_segments(split: Split, fixed: Fixed) -> None:
    report = evaluate(fixed, split, ["recall@10", "novelty@10", "rmse"])
    rows = {row["segment"]: row for row in report.segments.to_dicts()}
    by_users = ["new users", "regular users", "heavy users"]
    users = [rows[name]["users"] for name in by_users]
    assert sum(users) == report.n_users == len(split.test)
    weighted = np.average([rows[name]["recall@10"] or 0 for name in by_users], weights=users)
    assert weighted == pytest.approx(report["recall@10"])
    lengths = report.per_user["history"]
    new = report.per_user.filter(lengths <= lengths.quantile(0.25, "lower"))
    assert rows["new users"]["users"] == len(new)
    assert rows["new users"]["recall@10"] == pytest.approx(new["recall@10"].mean())
    # Item segments: the same lists, judged by part of the truth.
    popularity = np.bincount(split.train.histories.items, minlength=len(split.train.items))
    head = np.argsort(-popularity[1:], kind="stable")[: int(np.ceil(0.2 * split.train.n_items))] + 1
    truth = split.test.truth
    for name, keep in (
        ("popular items", np.isin(truth.items, head)),
        ("rare items", ~np.isin(truth.items, head)),
    ):
        part = Holdout(split.test.queries, truth.select(keep))
        alone = evaluate(fixed, part, ["recall@10", "rmse"])
        assert rows[name]["users"] == alone.n_users
        assert rows[name]["recall@10"] == pytest.approx(alone["recall@10"])
        assert rows[name]["rmse"] == pytest.approx(alone["rmse"])
        assert rows[name]["novelty@10"] is None


def test_every_split_and_part_can_be_evaluated() -> None:
    data = log()
    for splitter in (GlobalTime(), LeaveOneOut(), RandomPerUser(validation=0.1)):
        split = splitter.split(data)
        model = Popularity().fit(split.train)
        for part in ("test", "validation"):
            report = evaluate(model, split, part=part)  # type: ignore[arg-type]
            assert report.part == part
            assert report.fingerprint == split.fingerprint
            assert 0 <= report["ndcg@10"] <= 1


def test_queries_without_a_true_item_are_left_out(split: Split, fixed: Fixed) -> None:
    truth = split.test.truth
    half = Holdout(split.test.queries, truth.select(truth.rows_of_events() % 2 == 0))
    report = evaluate(fixed, half, "recall@5")
    assert report.n_users == len(report.per_user) == (len(split.test) + 1) // 2


def test_refusals(split: Split, fixed: Fixed) -> None:
    pipeline = Pipeline([Popularity().fit(split.train)])

    def refused(message: str, *args: Any, **kwargs: Any) -> None:
        with pytest.raises(ParameterError, match=message):
            evaluate(*args, **kwargs)

    refused("did you mean 'ndcg@10'", fixed, split, ["nddg@10"])
    refused("auc of Pipeline: needs scores", pipeline, split, ["auc"])
    refused("rmse and mae of Pipeline", pipeline, split, ["rmse"])
    refused("does not predict ratings", Popularity().fit(split.train), split, ["rmse"])
    refused("part must be", fixed, split, part="train")
    refused("no validation part", fixed, replace(split, validation=None), part="validation")
    refused("confidence", fixed, split, confidence=95)
    refused("resamples", fixed, split, resamples=0)
    refused("tile_size", fixed, split, tile_size=0)
    refused("cannot evaluate a str", "als", split)
    refused("must be a split", fixed, split.train)
    refused("no column 'mood'", fixed, split, "intra_list_diversity@5", item_features="mood")
    refused("item_features must have shape", fixed, split, "intra_list_diversity@5",
            item_features=np.ones((3, 2)))  # fmt: skip
    other = RandomPerUser().split(log(n_items=30))
    refused("fit it on split.train", fixed, other)
    nothing = Holdout(split.test.queries, Histories.empty(len(split.test)))
    refused("no query has a true item", fixed, nothing)
    with pytest.raises(NotFittedError):
        evaluate(Popularity(), split)


def test_without_attributes_diversity_asks_for_them() -> None:
    data = log()
    split = RandomPerUser().split(replace(data, item_table=None))
    with pytest.raises(ParameterError, match="give item_features="):
        evaluate(Popularity().fit(split.train), split, "intra_list_diversity@5")


def test_a_diverged_model_is_named(split: Split, fixed: Fixed) -> None:
    broken = Fixed().fit(split.train)
    broken.table = fixed.table.copy()
    broken.table[int(split.test.queries.users[3]), 7] = np.nan
    item, user = split.train.items.ids([7])[0], split.train.users.ids(split.test.queries.users)[3]
    with pytest.raises(ParameterError, match=f"item '{item}' NaN for user '{user}'"):
        evaluate(broken, split)
