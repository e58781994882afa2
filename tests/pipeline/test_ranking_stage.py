"""The second stage: what it is trained on, what it answers, saved, loaded and served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata
from served import Served

import tastemap as tm
from tastemap.data.candidates import Candidates
from tastemap.data.queries import Holdout
from tastemap.errors import DataError, NotFittedError
from tastemap.features.batch import FeatureBatch
from tastemap.pipeline.candidates import candidates_of
from tastemap.pipeline.ranking_stage import OutOfTime, RankingStage
from tastemap.ranking.fm import FM
from tastemap.retrieval.popularity import Popularity

RUN = tm.Run(device="cpu", progress=False)
ROWS = OutOfTime(moments=2, negatives=20)


@pytest.fixture(scope="module")
def split(movies: tm.Dataset) -> tm.splits.Split:
    return tm.splits.GlobalTime(test=0.1, validation=0.0).split(movies)


@pytest.fixture(scope="module")
def ranked(split: tm.splits.Split) -> tm.Pipeline:
    retrievers = [tm.ItemKNN(), tm.Popularity()]
    pipeline = tm.Pipeline(retrievers, candidates=100, ranker=tm.LightGBMRanker(), rows=ROWS)
    return pipeline.fit(split.train, run=RUN)


def known(holdout: Holdout) -> Holdout:
    """Those of whom something is known."""
    rows = np.flatnonzero(holdout.queries.histories.counts)
    return Holdout(holdout.queries.take(rows), holdout.truth.take(rows))


def test_an_unfitted_copy_has_the_settings_and_nothing_that_was_learned(
    ranked: tm.Pipeline,
) -> None:
    copy = ranked.unfitted()
    assert (copy.name, copy.candidates, copy.stage) == (ranked.name, 100, None)
    assert copy.rows.hyperparameter_values() == ROWS.hyperparameter_values()
    parts = zip(
        [*copy.retrievers, copy.features], [*ranked.retrievers, ranked.features], strict=True
    )
    for mine, theirs in [*parts, (copy.ranker, ranked.ranker)]:
        assert mine is not None
        assert theirs is not None
        assert mine is not theirs
        assert mine.hyperparameter_values() == theirs.hyperparameter_values()
    with pytest.raises(NotFittedError):
        _ = copy.data
    with pytest.raises(NotFittedError):
        _ = copy.features.schema


def test_training_rows_are_out_of_time(
    split: tm.splits.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[tm.Dataset] = []
    fit = Popularity.fit

    def spy(self: Popularity, dataset: tm.Dataset, **options: Any) -> Popularity:
        fitted.append(dataset)
        return fit(self, dataset, **options)

    monkeypatch.setattr(Popularity, "fit", spy)
    retriever = Popularity()
    train, held = ROWS.rows(split.train, [retriever], 50, RUN)
    assert retriever._data is None
    h = split.train.histories
    asked = min(train.moments.as_of.min(), held.moments.as_of.min())
    last_seen = fitted[0].histories.times.max()
    assert last_seen < asked
    assert fitted[0].n_events == pytest.approx(0.8 * h.n_events, rel=0.01)
    assert not set(train.moments.users.tolist()) & set(held.moments.users.tolist())
    for shown in (train, held):
        row = 0
        for moment in range(len(shown.moments)):
            user, as_of = shown.moments.users[moment], shown.moments.as_of[moment]
            own = slice(h.offsets[user], h.offsets[user + 1])
            after = h.items[own][h.times[own] >= as_of][: ROWS.horizon].tolist()
            before = set(h.items[own][h.times[own] < as_of].tolist())
            n = shown.candidates.counts[moment]
            items = shown.candidates.items[row : row + n].tolist()
            labels = shown.labels[row : row + n]
            assert labels.tolist() == [item in after for item in items]
            assert not before & set(items)
            assert (labels == 0).sum() <= ROWS.negatives
            row += n
        assert shown.labels.sum() > 100


def test_a_longer_horizon_has_more_positives(split: tm.splits.Split) -> None:
    labels = []
    for horizon in (5, 20, 10_000):
        rows = OutOfTime(moments=2, negatives=20, horizon=horizon)
        labels.append(rows.rows(split.train, [Popularity()], 50, RUN)[0].labels.sum())
    assert 0 < labels[0] < labels[1] < labels[2]


def test_every_proposed_positive_is_kept(split: tm.splits.Split) -> None:
    few, _ = OutOfTime(moments=2, negatives=1).rows(split.train, [Popularity()], 50, RUN)
    many, _ = OutOfTime(moments=2, negatives=1000).rows(split.train, [Popularity()], 50, RUN)
    assert few.labels.sum() == many.labels.sum()
    assert (many.candidates.counts == 50).all()
    assert np.nanmax(few.candidates.ranks) > 40  # ranks among all candidates, not among those kept


def test_what_was_taken_before_is_proposed_where_it_may_come_again(
    split: tm.splits.Split,
) -> None:
    h = split.train.histories
    again = np.concatenate([h.items, h.items])
    rows = np.concatenate([h.rows_of_events(), h.rows_of_events()])
    times = np.concatenate([h.times, h.times + 1e7])
    data = tm.Dataset.from_events(split.train.users, split.train.items, rows, again, times)
    rows_of = OutOfTime(moments=1, negatives=20, repeats=True, limit=200)
    shown, _ = rows_of.rows(data, [Popularity()], 50, RUN)
    queries = shown.moments.queries()
    seen = np.zeros((len(queries), len(data.items)), np.bool_)
    seen[queries.histories.rows_of_events(), queries.histories.items] = True
    taken = seen[shown.candidates.rows_of_queries(), shown.candidates.items]
    # All that comes was there before.
    assert taken[shown.labels > 0].mean() > 0.9


def auc(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """The probability that a positive is above a negative."""
    n = labels.sum()
    ranks = rankdata(scores)[labels > 0]
    return float((ranks.sum() - n * (n + 1) / 2) / (n * (len(labels) - n)))


def test_it_tells_more_than_stage_one_does(ranked: tm.Pipeline, split: tm.splits.Split) -> None:
    _, held = ROWS.rows(split.train, ranked.retrievers, 100, RUN)
    assert ranked.stage is not None
    ranks = held.candidates.ranks
    fused = np.nansum(1 / (60 + ranks), axis=1)
    features = ranked.stage.features.apart(held.moments, held.candidates)
    scores = ranked.stage.ranker.score_requests(ranked.stage._known(features))
    assert auc(scores, held.labels) > auc(fused, held.labels) + 0.03


def test_a_ranker_learns_the_order_of_each_moments_candidates(
    split: tm.splits.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[FeatureBatch, NDArray[Any], NDArray[Any], None]] = []
    fit = tm.LightGBMRanker.fit_batch

    def spy(
        self: Any,
        features: Any,
        labels: Any,
        *,
        groups: Any,
        positions: Any,
        validation: Any,
        run: Any,
    ) -> Any:
        given.extend([(features, labels, groups, positions), validation])
        return fit(self, features, labels, groups=groups, validation=validation, run=run)

    monkeypatch.setattr(tm.LightGBMRanker, "fit_batch", spy)
    ranker = tm.LightGBMRanker(objective="pairwise", trees=5)
    pipeline = tm.Pipeline([tm.Popularity()], candidates=50, ranker=ranker, rows=ROWS)
    pipeline.fit(split.train, run=RUN)
    assert len(given) == 2
    for features, labels, groups, positions in given:
        assert positions is None
        names = [feature.name for feature in features.schema.numeric]
        places = [names.index(name) for name in ("user.events", "user.value", "user.idle")]
        moments = np.unique(groups)
        assert len(np.unique(features.numeric[:, places], axis=0)) == len(moments)
        assert set(groups[labels > 0]) == set(moments)


def test_answers_are_the_candidates_by_the_rankers_order(
    ranked: tm.Pipeline, split: tm.splits.Split
) -> None:
    queries = known(split.test).queries.slice(0, 5)
    assert ranked.stage is not None
    proposed = candidates_of(ranked.retrievers, queries, 100)
    scores, order = ranked.stage.ranked(queries, proposed)
    answers = ranked.answer(queries, 10)
    for row in range(5):
        mine = slice(proposed.offsets[row], proposed.offsets[row + 1])
        best = order[mine][:10] - mine.start
        # All but every tenth place go by the ranker's scores alone.
        plain = scores[mine][best][:9]
        assert plain.tolist() == sorted(plain, reverse=True)
        assert plain[0] == scores[mine].max()
        place = slice(answers.offsets[row], answers.offsets[row + 1])
        np.testing.assert_array_equal(answers.items[place], proposed.items[mine][best])
        np.testing.assert_allclose(answers.scores[place], scores[mine][best], rtol=1e-6)
        ranks = np.nan_to_num(proposed.ranks[mine][best], nan=np.inf)
        assert answers.sources[place].tolist() == ranks.argmin(axis=1).tolist()


def test_the_batch_changes_nothing(ranked: tm.Pipeline, split: tm.splits.Split) -> None:
    queries = known(split.test).queries
    together = ranked.answer(queries, 10).padded(10)
    for row in (0, 7):
        alone = ranked.answer(queries.slice(row, row + 1), 10).padded(10)
        np.testing.assert_array_equal(alone[0], together[row])


def test_a_stranger_without_a_history_gets_what_is_popular(ranked: tm.Pipeline) -> None:
    assert set(ranked.recommend(["no such user"], k=5)["source"]) == {"popularity"}


def test_a_discount_of_what_is_popular_covers_more(
    ranked: tm.Pipeline, split: tm.splits.Split
) -> None:
    queries, stage = known(split.test).queries, ranked.stage
    assert stage is not None
    plain = RankingStage(stage.ranker, stage.features, stage.seen, tm.LongTail(share=0))
    other = tm.Pipeline.with_stage(ranked.retrievers, plain, candidates=100, rows=ROWS)
    shown = [set(each.answer(queries, 10).items.tolist()) for each in (other, ranked)]
    assert len(shown[1]) > 1.2 * len(shown[0])


def test_an_item_that_the_ranker_never_saw_is_the_unknown(ranked: tm.Pipeline) -> None:
    stage = ranked.stage
    assert stage is not None
    items = [each.name for each in stage.features.schema.categorical].index("item")
    rare = np.flatnonzero(~stage.seen[items])[1:4].astype(np.int32)
    assert len(rare) == 3
    queries = ranked.data.queries(np.array([1]))
    none = np.full((3, 2), np.nan, np.float32)
    names = tuple(retriever.name for retriever in ranked.retrievers)
    asked = Candidates(np.array([0, 3]), rare, none, none, names)
    rows = stage._known(stage.features.apart(queries, asked)).joined()
    assert (rows.categorical[:, items] == 0).all()


def test_later_events_reach_the_features_of_a_network(
    split: tm.splits.Split, tmp_path: Path
) -> None:
    ranker = FM(dim=4, numbers="scaled", epochs=1)
    pipeline = tm.Pipeline([tm.Popularity()], candidates=50, ranker=ranker, rows=ROWS)
    pipeline.fit(split.train, run=RUN)
    pipeline.save(tmp_path / "p")
    loaded = tm.load(tmp_path / "p")
    assert loaded.recommend(["1"], k=20).equals(pipeline.recommend(["1"], k=20))
    before = pipeline.recommend(["1"], k=20)
    n, last = 500, float(split.train.histories.times.max())
    row = pipeline.items.rows([before["item"][19]])
    pipeline.add(np.repeat(row, n), np.full(n, last + 60), np.full(n, 5, np.float32))
    after = pipeline.recommend(["1"], k=20)
    assert not after["score"].equals(before["score"])


def answers_of(served: Served, user: str) -> list[tuple[str, float]]:
    reply = served.http.get(f"/users/{user}/recommendations", params={"k": 10}).json()
    return [(item["item"], item["score"]) for item in reply["items"]]


def test_saved_loaded_and_served_it_answers_alike(ranked: tm.Pipeline, tmp_path: Path) -> None:
    ranked.save(tmp_path / "p")
    loaded = tm.load(tmp_path / "p")
    users = [*ranked.users.ids(np.arange(1, 50)), "stranger"]
    expected = ranked.recommend(users, k=10)
    assert loaded.recommend(users, k=10).equals(expected)
    assert loaded.rows.hyperparameter_values() == ROWS.hyperparameter_values()
    with Served(tmp_path / "p", tmp_path / "state") as served:
        found = answers_of(served, users[0])
        mine = expected.filter(expected["user"] == users[0])
        assert [item for item, _ in found] == mine["item"].to_list()
        np.testing.assert_allclose([score for _, score in found], mine["score"].to_list())
        item = found[3][0]
        posted = served.http.post("/events", json={"user": users[0], "item": item, "value": 5})
        assert posted.json() == {"accepted": 1, "duplicates": 0}
        assert item not in [each for each, _ in answers_of(served, users[0])]


def test_what_cannot_be_learned_from_is_refused(movies: tm.Dataset) -> None:
    timeless = tm.Dataset.from_frame(movies.to_frame().select("user", "item"))
    with pytest.raises(DataError, match="no times"):
        ROWS.rows(timeless, [Popularity()], 10)
    frame = movies.to_frame().select("user", "item", "value").with_columns(time=1.0)
    with pytest.raises(DataError, match="one time"):
        ROWS.rows(tm.Dataset.from_frame(frame), [Popularity()], 10)
