"""Pipelines obey: with one retriever, several and a ranker, for strangers too, saved and loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.data.queries import Queries
from tastemap.errors import RuleError
from tastemap.policy.rules import Rules

HORROR = """
[rules.no-horror]
kind = "deny"
column = "genres"
values = ["Horror"]
"""
ARRANGED = """
[rules.genres]
kind = "cap"
column = "genres"
at_most = 2

[rules.first]
kind = "pin"
item = "50"
when = { "profile.gender" = "F" }

[rules.new]
kind = "freshness"
column = "year"
unit = "year"
half_life_days = 1000
"""


@pytest.fixture(scope="module")
def fitted(liked_movies: tm.Dataset) -> dict[str, tm.Pipeline]:
    knn, ease = tm.ItemKNN().fit(liked_movies), tm.EASE().fit(liked_movies)
    return {"alone": tm.Pipeline([knn]), "joined": tm.Pipeline([knn, ease])}


def genres(data: tm.Dataset) -> dict[str, set[str]]:
    assert data.item_table is not None
    return {item: set(listed or []) for item, listed in data.item_table["item", "genres"].rows()}


@pytest.mark.parametrize("name", ["alone", "joined"])
def test_a_filter_is_as_if_the_others_were_all_there_is(
    fitted: dict[str, tm.Pipeline], name: str
) -> None:
    pipeline = fitted[name]
    users = [*pipeline.users.ids(np.arange(1, 60)), "stranger"]
    pipeline.obey(Rules())
    of = genres(pipeline.data)
    good = [item for item, listed in of.items() if "Horror" not in listed]
    good = [item for item in good if pipeline.items.rows([item])[0]]
    expected = pipeline.recommend(users, k=20, among=good)
    free = pipeline.recommend(users, k=20)
    pipeline.obey(Rules.from_toml(HORROR))
    found = pipeline.recommend(users, k=20)
    assert found.equals(expected)
    assert not found.equals(free)
    assert pipeline.policy is not None
    (effect,) = pipeline.policy.effects()
    assert (effect.questions, effect.items) == (60, 60 * (pipeline.data.n_items - len(good)))
    scary = next(
        i for i, listed in of.items() if "Horror" in listed and pipeline.items.rows([i])[0]
    )
    assert not any("Horror" in of[item] for item in pipeline.similar([scary], k=50)["similar"])


def test_without_rules_nothing_changes(fitted: dict[str, tm.Pipeline]) -> None:
    for pipeline in fitted.values():
        queries = pipeline.data.queries(np.arange(0, 80))
        pipeline.obey(Rules())
        assert pipeline.policy is None
        before = pipeline.answer(queries, 10)
        # A rule that holds for nobody takes the longer way to the same answer.
        rules = (
            '[rules.none]\nkind = "cap"\ncolumn = "genres"\nat_most = 1\nwhen = {"context.x" = 1}'
        )
        pipeline.obey(Rules.from_toml(rules))
        after = pipeline.answer(queries, 10)
        for part in ("offsets", "items", "scores", "sources"):
            assert np.array_equal(getattr(before, part), getattr(after, part))


@pytest.mark.parametrize("name", ["alone", "joined"])
def test_answers_are_arranged(fitted: dict[str, tm.Pipeline], name: str) -> None:
    pipeline = fitted[name]
    pipeline.obey(Rules.from_toml(HORROR + ARRANGED))
    of, data = genres(pipeline.data), pipeline.data
    in_1998 = np.full(200, 9e8)
    queries = replace(data.queries(np.arange(0, 200)), as_of=in_1998)
    answers = pipeline.answer(queries, 8)
    assert (answers.counts == 8).all()
    assert queries.profile is not None
    pinned = data.items.rows(["50"])[0]
    for row, gender in enumerate(queries.profile["gender"]):
        items = answers.items[answers.offsets[row] : answers.offsets[row + 1]]
        listed = [genre for item in data.items.ids(items) for genre in of[item]]
        assert max(listed.count(genre) for genre in listed) <= 2
        assert "Horror" not in listed
        seen = pinned in queries.histories.items_of(row)
        assert (items[0] == pinned) == (gender == "F" and not seen) or gender != "F"
        assert not (seen and pinned in items)
    sources = answers.source_series().to_list()
    assert {"pinned", *(retriever.name for retriever in pipeline.retrievers)} <= set(sources)
    assert np.isfinite(answers.scores).all()
    assert pipeline.policy is not None
    assert all(effect.items > 0 for effect in pipeline.policy.effects())
    # Where a history is known, the batch changes nothing.
    for row, one in queries.slice(0, 12).tiles(1):
        alone = pipeline.answer(one, 8)
        assert alone.items.tolist() == answers.items[8 * row : 8 * row + 8].tolist()


def test_a_stranger_is_shielded_too(liked_movies: tm.Dataset) -> None:
    of = genres(liked_movies)
    table = pl.DataFrame(
        {"item": list(of), "least": [18 if "Drama" in g else 0 for g in of.values()]}
    )
    data = tm.Dataset.from_frame(
        liked_movies.to_frame(), items=table, users=liked_movies.user_table
    )
    rules = '[rules.age]\nkind = "age"\ncolumn = "least"\nuser = ["context.age", "profile.age"]'
    pipeline = tm.Pipeline([tm.ItemKNN()], rules=Rules.from_toml(rules)).fit(data)
    queries = Queries.of(
        tm.Histories.empty(4), context=pl.DataFrame({"age": [None, 12, 18, 70]}, strict=False)
    )
    answers = pipeline.answer(queries, 20)
    assert answers.counts.tolist() == [20] * 4
    drama = np.array(["Drama" in of[item] for item in data.items.ids(answers.items)])
    assert drama.reshape(4, 20).any(axis=1).tolist() == [False, False, True, True]


def test_a_ranker_and_a_release_keep_the_rules(liked_movies: tm.Dataset, tmp_path: Path) -> None:
    rules = Rules.from_toml(HORROR + ARRANGED)
    small = liked_movies.filter(min_item_events=60, min_user_events=20)
    pipeline = tm.Pipeline(
        [tm.ItemKNN()],
        ranker=tm.LightGBMRanker(),
        rows=tm.OutOfTime(limit=300),
        candidates=60,
        rules=rules,
    ).fit(small)
    users = [*pipeline.users.ids(np.arange(1, 40)), "stranger"]
    found = pipeline.recommend(users, k=6)
    of = genres(small)
    assert not any("Horror" in of[item] for item in found["item"])
    for _, mine in found.group_by("user"):
        listed = [genre for item in mine["item"] for genre in of[item]]
        assert max(listed.count(genre) for genre in listed) <= 2
    pipeline.save(tmp_path / "p")
    again = tm.load(tmp_path / "p")
    assert list(again.rules.items()) == list(rules.items())
    assert again.recommend(users, k=6).equals(found)


def test_rules_that_do_not_fit_are_refused(fitted: dict[str, tm.Pipeline]) -> None:
    pipeline = fitted["alone"]
    pipeline.obey(Rules.from_toml(HORROR))
    before = pipeline.rules
    with pytest.raises(RuleError, match=r"rules\.a\.items: there is no item 'x'"):
        pipeline.obey(Rules.from_toml('[rules.a]\nkind = "deny"\nitems = ["x"]'))
    assert pipeline.rules is before
    unfitted = tm.Pipeline([tm.ItemKNN()], rules=Rules.from_toml(HORROR.replace("genres", "genre")))
    with pytest.raises(RuleError, match=r"rules\.no-horror\.column: .*did you mean 'genres'"):
        unfitted.fit(pipeline.data)


def test_a_cap_looks_as_far_as_it_must(liked_movies: tm.Dataset) -> None:
    """All but the least popular items are of one brand: the answer is full all the same."""
    order = np.argsort(-liked_movies.item_counts[1:], kind="stable") + 1
    brands = ["common"] * (len(order) - 3) + ["x", "y", "z"]
    items = pl.DataFrame({"item": liked_movies.items.ids(order), "brand": brands})
    data = tm.Dataset.from_frame(liked_movies.to_frame(), items=items)
    rules = Rules.from_toml('[rules.brand]\nkind = "cap"\ncolumn = "brand"\nat_most = 1')
    pipeline = tm.Pipeline([tm.ItemKNN()], rules=rules).fit(data)
    found = pipeline.recommend(["stranger", "1"], k=6, exclude_seen=False)
    by_item = dict(items.rows())
    for _, mine in found.group_by("user"):
        assert sorted(by_item[item] for item in mine["item"]) == ["common", "x", "y", "z"]
