"""Schemas refuse what contradicts itself; batches are taken apart without losing a value."""

from __future__ import annotations

import numpy as np
import pytest

from tastemap.errors import SchemaError
from tastemap.features.batch import FeatureBatch, Ragged
from tastemap.features.schema import Categorical, Feature, MultiValued, Numeric, Schema, Sequence

SCHEMA = Schema(
    (
        Numeric("age"),
        Categorical("user", 4),
        Sequence("seen", "item"),
        MultiValued("genres", 5),
        Categorical("item", 6),
        Numeric("year"),
    )
)


def batch() -> FeatureBatch:
    return FeatureBatch(
        SCHEMA,
        np.array([[1, 5], [0, 2], [3, 0]], np.int64),
        np.array([[20, 1990], [np.nan, 1995], [40, 2000]], np.float32),
        (Ragged.of([[1, 2], [], [4]]),),
        (Ragged.of([[], [5, 1, 2], [3]]),),
    )


def test_features_by_kind_keep_their_order() -> None:
    assert [feature.name for feature in SCHEMA.categorical] == ["user", "item"]
    assert [feature.name for feature in SCHEMA.numeric] == ["age", "year"]
    assert SCHEMA.multi_valued == (MultiValued("genres", 5),)
    assert SCHEMA.sequence_size(SCHEMA.sequences[0]) == 6


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ((), "at least one"),
        ((Numeric("a"), Categorical("a", 2)), "'a' is there 2 times"),
        ((Numeric(""),), "empty name"),
        ((Categorical("a", 0),), "'a' has the size 0"),
        ((Numeric("item"), Sequence("seen", "item")), "'seen' is of 'item'"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(
    features: tuple[Feature, ...], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        Schema(features)


def lists(ragged: Ragged) -> list[list[int]]:
    return [part.tolist() for part in np.split(ragged.rows, ragged.offsets[1:-1])]


def test_rows_are_taken_in_any_order_and_more_than_once() -> None:
    taken = batch().take(np.array([2, 1, 1]))
    assert taken.categorical.tolist() == [[3, 0], [0, 2], [0, 2]]
    np.testing.assert_array_equal(taken.numeric[:, 0], np.float32([40, np.nan, np.nan]))
    assert lists(taken.multi_valued[0]) == [[4], [], []]
    assert lists(taken.sequences[0]) == [[3], [5, 1, 2], [5, 1, 2]]
    nothing = batch().take(np.empty(0, np.int64))
    assert len(nothing) == 0
    assert len(nothing.sequences[0].rows) == 0


def test_some_features_alone_keep_their_values() -> None:
    # A sequence of what is not looked at is not looked at either.
    schema = SCHEMA.without(["item", "age"])
    assert schema.names == ("user", "genres", "year")
    found, whole = batch().narrowed(schema), batch()
    assert found.categorical.tolist() == [[1], [0], [3]]
    assert found.numeric.tolist() == [[1990], [1995], [2000]]
    assert lists(found.multi_valued[0]) == lists(whole.multi_valued[0])
    assert whole.narrowed(SCHEMA) is whole
    with pytest.raises(SchemaError, match="no feature 'itm' to do without; did you mean 'item'"):
        SCHEMA.without(["itm"])


def test_a_slice_is_as_the_rows_taken() -> None:
    for start, stop in ((0, 2), (1, 3), (2, 9), (1, 1)):
        part, taken = batch().slice(start, stop), batch().take(np.arange(start, min(stop, 3)))
        assert len(part) == len(taken)
        np.testing.assert_array_equal(part.numeric, taken.numeric)
        assert lists(part.sequences[0]) == lists(taken.sequences[0])
        assert lists(part.multi_valued[0]) == lists(taken.multi_valued[0])


def test_arrays_that_do_not_fit_the_schema_are_refused() -> None:
    good = batch()
    with pytest.raises(SchemaError, match="categorical must be int64"):
        FeatureBatch(SCHEMA, good.categorical[:, :1], good.numeric, good.multi_valued)
    with pytest.raises(SchemaError, match="numeric must be float32"):
        FeatureBatch(SCHEMA, good.categorical, good.numeric.astype(np.float64))
    with pytest.raises(SchemaError, match="sequences must be 1"):
        FeatureBatch(SCHEMA, good.categorical, good.numeric, good.multi_valued)
    short = (Ragged.of([[1]]),)
    with pytest.raises(SchemaError, match="multi_valued must be 1"):
        FeatureBatch(SCHEMA, good.categorical, good.numeric, short, good.sequences)


def test_rows_outside_a_vocabulary_are_named() -> None:
    good = batch()
    good.check_rows()
    wrong = good.categorical.copy()
    wrong[1, 1] = 6
    parts = good.numeric, good.multi_valued, good.sequences
    with pytest.raises(SchemaError, match="'item' has the row 6"):
        FeatureBatch(SCHEMA, wrong, *parts).check_rows()
    beyond = (Ragged.of([[6], [], []]),)
    with pytest.raises(SchemaError, match="'seen' has the row 6"):
        FeatureBatch(SCHEMA, good.categorical, *parts[:2], beyond).check_rows()
    infinite = good.numeric.copy()
    infinite[0, 1] = np.inf
    with pytest.raises(SchemaError, match="'year' has an infinite value"):
        FeatureBatch(SCHEMA, good.categorical, infinite, *parts[1:]).check_rows()
