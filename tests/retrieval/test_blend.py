"""Blends: how members are named, what they add up to, and that they come back from disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_ease import small_data

import tastemap as tm
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.errors import ParameterError
from tastemap.members import parse_members

TWO = "0.7 als(factors=4, regularization=1e+0) + 0.3 ease(regularization=5)"


def standardised(scores: np.ndarray) -> np.ndarray:
    known = scores[:, 1:].astype(np.float64)
    return (known - known.mean(axis=1, keepdims=True)) / known.std(axis=1, keepdims=True)


def test_members_are_read_from_a_text() -> None:
    first, second, third = parse_members("0.7 als(factors=4, seed=3)+2*ease + itemknn()")
    assert (first.weight, first.model, first.settings) == (
        0.7,
        "als",
        {"factors": "4", "seed": "3"},
    )
    assert (second.weight, second.model, second.settings) == (2.0, "ease", {})
    assert (third.weight, third.model) == (1.0, "itemknn")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not a member"),
        ("als + ", "not a member"),
        ("als(factors)", "not a member"),
        ("0 als", "weight above 0"),
        ("1.2.3 als", "weight above 0"),
        ("alls", "did you mean 'als'"),
        ("als(factors=0)", "factors"),
        ("als(no=1)", "no hyper-parameter 'no'"),
    ],
)
def test_what_is_wrong_with_a_text_is_said(text: str, what: str) -> None:
    with pytest.raises(ParameterError, match=what):
        tm.Blend(models=text)


def test_scores_are_the_weighted_sum_of_standardised_scores() -> None:
    data = small_data()
    blend = tm.Blend(models=TWO).fit(data)
    queries = data.queries()
    als = tm.ALS(factors=4, regularization=1.0).fit(data).score(queries)
    ease = tm.EASE(regularization=5.0).fit(data).score(queries)
    expected = 0.7 * standardised(als) + 0.3 * standardised(ease)
    np.testing.assert_allclose(blend.score(queries)[:, 1:], expected, atol=1e-4)


def test_members_take_the_seed_of_the_blend_unless_they_have_their_own() -> None:
    data = small_data()
    first, second = tm.Blend(models="als(factors=4) + als(factors=4, seed=9)", seed=5).members
    assert (first.seed, second.seed) == (5, 9)
    assert tm.Blend(models="ease").fit(data).members[0].users is data.users


def test_a_member_that_knows_nothing_of_a_query_is_silent() -> None:
    data = small_data()
    blend = tm.Blend(models="itemknn + als(factors=4)").fit(data)
    empty = Queries.of(Histories.from_lists([[]]))
    assert not blend.score(empty).any()
    assert not blend.knows(empty).any()


def test_evidence_says_what_speaks_for_the_scores() -> None:
    data = small_data()
    blend = tm.Blend(models=TWO).fit(data)
    history, items = np.array([2, 5, 11], np.int32), np.arange(1, 41, dtype=np.int32)
    scores = blend.score(Queries.of(Histories.from_lists([history])), items)[0]
    said = blend.evidence(history, items).sum(axis=0)
    # Up to the means, which are the same for all items.
    np.testing.assert_allclose(said - said.mean(), scores - scores.mean(), atol=1e-4)


def test_ratings_are_averaged() -> None:
    data = small_data()
    text = "3 matrixfactorization(loss=mse, factors=4, epochs=3, seed=1) + "
    blend = tm.Blend(models=text + "matrixfactorization(loss=mse, factors=4, epochs=3, seed=2)")
    users, items = [0, 1, 2], [3, 4, 5]
    first, second = (member.predict(users, items) for member in blend.fit(data).members)
    np.testing.assert_allclose(blend.predict(users, items), (3 * first + second) / 4)


def test_it_comes_back_from_disk(tmp_path: Path) -> None:
    data = small_data()
    blend = tm.Blend(models=TWO, seed=3).fit(data)
    blend.save(tmp_path / "m")
    loaded = tm.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.score(data.queries()), blend.score(data.queries()))


def test_each_member_has_a_run_folder_of_its_own(tmp_path: Path) -> None:
    tm.Blend(models="als(factors=4) + ials_pp(factors=4)".replace("ials_pp", "ialspp")).fit(
        small_data(), run=tm.Run(folder=tmp_path)
    )
    assert (tmp_path / "0-als" / "metrics.jsonl").exists()
    assert (tmp_path / "1-ialspp" / "metrics.jsonl").exists()
