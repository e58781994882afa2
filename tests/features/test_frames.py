"""Frames as features: kinds from types, unseen and missing values, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tastemap.errors import DataError, ParameterError
from tastemap.features.batch import FeatureBatch
from tastemap.features.frames import FrameEncoder
from tastemap.features.schema import Categorical, MultiValued, Numeric, Sequence
from tastemap.storage import read_directory, write_directory

ROWS = pl.DataFrame(
    {
        "user_id": [900, 7, 900, None, 7, 7],
        "city": ["a", "b", None, "a", "b", "c"],
        "genres": [["x", "y"], ["x"], None, [], ["y", "x"], ["z", None]],
        "price": [1.5, 2.5, None, float("inf"), 1.0, float("nan")],
        "stars": [1, 2, 3, 1, 2, None],
        "member": [True, False, None, True, False, True],
        "at": pl.Series(
            ["1995-01-01 10:00:00", "1995-01-02 23:59:59", None, "1970-01-01 00:00:00",
             "1996-02-29 05:00:00", "1995-01-08 10:00:00"]
        ).str.to_datetime(),
        "click": [1, 0, 1, 0, 1, 0],
    }
)  # fmt: skip


def frames() -> dict[str, Any]:
    enum = pl.Enum(["a", "b", "c"])
    return {
        "polars": ROWS,
        "lazy": ROWS.lazy(),
        "polars enum": ROWS.with_columns(pl.col("city").cast(enum)),
        "pandas": ROWS.to_pandas(),
        "pandas category": ROWS.to_pandas().astype({"city": "category"}),
        "arrow": ROWS.to_arrow(),
        "record batch": ROWS.to_arrow().combine_chunks().to_batches()[0],
    }


def same(one: FeatureBatch, other: FeatureBatch) -> None:
    np.testing.assert_array_equal(one.categorical, other.categorical)
    np.testing.assert_array_equal(one.numeric, other.numeric)
    for mine, yours in zip(one.multi_valued, other.multi_valued, strict=True):
        np.testing.assert_array_equal(mine.offsets, yours.offsets)
        np.testing.assert_array_equal(mine.rows, yours.rows)


@pytest.mark.parametrize("name", frames())
def test_every_kind_of_frame_gives_the_same_features(name: str) -> None:
    frame = frames()[name]
    encoder = FrameEncoder.fit(frame, exclude=["click"], min_rows=1)
    assert encoder.schema.features == (
        Categorical("user_id", 3),
        Categorical("city", 4),
        MultiValued("genres", 4),
        Numeric("price"),
        Categorical("stars", 4),
        Categorical("member", 3),
        Numeric("at"),
        Categorical("at (hour)", 25),
        Categorical("at (weekday)", 8),
    )
    batch = encoder.encode(frame)
    users, cities, stars, members, hours, weekdays = batch.categorical.T
    # The most frequent value has row 1.
    assert users.tolist() == [2, 1, 2, 0, 1, 1]
    assert (cities == 0).tolist() == [False, False, True, False, False, False]
    assert cities[0] == cities[3] != cities[1] == cities[4] != cities[5]
    assert stars[5] == 0 and stars[0] == stars[3] != stars[2]
    assert members[0] == members[3] != members[1] and members[2] == 0
    assert hours.tolist() == [11, 24, 0, 1, 6, 11]
    # Sunday, Monday, nothing, Thursday, Thursday, Sunday, where Monday is 1.
    assert weekdays.tolist() == [7, 1, 0, 4, 4, 7]
    np.testing.assert_array_equal(
        batch.numeric[:, 0], np.float32([1.5, 2.5, *[np.nan] * 2, 1, np.nan])
    )
    assert batch.numeric[3, 1] == 0
    assert batch.multi_valued[0].counts.tolist() == [2, 1, 0, 0, 2, 2]
    assert (batch.multi_valued[0].rows == 0).tolist() == [False] * 6 + [True]
    same(batch, encoder.encode(ROWS))


def test_values_of_few_rows_and_new_ones_are_unknown() -> None:
    encoder = FrameEncoder.fit(ROWS, exclude=["click"], min_rows=2)
    new = ROWS[:3].with_columns(
        city=pl.Series(["c", "new", "b"]),
        genres=pl.Series([["z"], ["new", "x"], []]),
        user_id=pl.Series(["7", "someone", "900"]),
    )
    batch = encoder.encode(new)
    assert batch.categorical[:, 1].tolist() == [0, 0, encoder.encode(ROWS).categorical[1, 1]]
    assert (batch.multi_valued[0].rows == 0).tolist() == [True, True, False]
    # Text of an integer is that integer, as everywhere.
    assert batch.categorical[:, 0].tolist() == [1, 0, 2]


def test_many_integers_are_numbers_unless_they_are_called_ids() -> None:
    frame = pl.DataFrame({"age": range(100), "movie_id": range(100), "hour": [1, 2] * 50})
    schema = FrameEncoder.fit(frame, min_rows=1).schema
    assert schema.features == (Numeric("age"), Categorical("movie_id", 101), Categorical("hour", 3))


def test_kinds_that_are_said_go_first() -> None:
    kinds = {"stars": "numeric", "city": "ignored", "price": "categorical", "user_id": "numeric"}
    encoder = FrameEncoder.fit(ROWS, exclude=["click"], kinds=kinds, min_rows=1)
    assert encoder.schema.features[:4] == (
        Numeric("user_id"),
        MultiValued("genres", 4),
        Categorical("price", 6),
        Numeric("stars"),
    )
    text = pl.DataFrame({"at": ["1995-01-01T10:00:00Z", "soon"], "n": ["5", "many"]})
    encoder = FrameEncoder.fit(text, kinds={"at": "time", "n": "numeric"})
    batch = encoder.encode(text)
    assert batch.categorical.tolist() == [[11, 7], [0, 0]]
    np.testing.assert_array_equal(np.isnan(batch.numeric), [[False, False], [True, True]])


def test_saved_and_restored_it_encodes_alike(tmp_path: Path) -> None:
    encoder = FrameEncoder.fit(ROWS, exclude=["click"], min_rows=1)
    write_directory(
        tmp_path / "encoder",
        kind="encoder",
        manifest={"columns": encoder.described(), "features": encoder.schema.described()},
        tensors={},
        tables=encoder.tables(),
    )
    stored = read_directory(tmp_path / "encoder")
    tables = {name: stored.tables(name) for name in stored.table_names}
    again = FrameEncoder.restored(stored.manifest["columns"], tables)
    assert again.schema == encoder.schema
    assert type(again.schema).of_description(stored.manifest["features"]) == encoder.schema
    same(again.encode(ROWS), encoder.encode(ROWS))


def test_what_cannot_be_encoded_is_named() -> None:
    encoder = FrameEncoder.fit(ROWS, exclude=["click"])
    with pytest.raises(DataError, match=r"column 'city': the column is missing.*'citi'"):
        encoder.encode(ROWS.rename({"city": "citi"}))
    with pytest.raises(DataError, match=r"column 'price'.*must be numbers"):
        encoder.encode(ROWS.with_columns(price=pl.col("genres")))
    with pytest.raises(DataError, match="'genres': the column must hold lists"):
        encoder.encode(ROWS.with_columns(genres=pl.col("city")))
    with pytest.raises(DataError, match="not int"):
        FrameEncoder.fit(7)
    with pytest.raises(DataError, match="no rows"):
        FrameEncoder.fit(ROWS[:0])
    with pytest.raises(DataError, match=r"column 'd'.*'ignored'"):
        FrameEncoder.fit(pl.DataFrame({"d": [{"a": 1}]}))
    with pytest.raises(DataError, match="no column is left"):
        FrameEncoder.fit(pl.DataFrame({"d": [1.0]}), kinds={"d": "ignored"})
    with pytest.raises(ParameterError, match="no column 'citi'; did you mean 'city'"):
        FrameEncoder.fit(ROWS, kinds={"citi": "numeric"})
    with pytest.raises(ParameterError, match=r"must be one of.*'word'"):
        FrameEncoder.fit(ROWS, kinds={"city": "word"})
    for wrong in (0, 1.5):
        with pytest.raises(ParameterError, match="min_rows must be a whole number"):
            FrameEncoder.fit(ROWS, min_rows=wrong)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="hashed must be a whole number"):
        FrameEncoder.fit(ROWS, hashed=1.5)  # type: ignore[arg-type]


def test_columns_that_stand_twice_or_have_no_arrow_type_are_named() -> None:
    frame = ROWS.select("city", "price").to_pandas()
    twice = pd.concat([frame, frame[["price"]]], axis=1)
    for each in (twice, pa.Table.from_arrays([pa.array([1])] * 2, ["price"] * 2)):
        with pytest.raises(DataError, match=r"column 'price': the column occurs more than once"):
            FrameEncoder.fit(each)
    with pytest.raises(DataError, match=r"column 'z'.*Convert or drop"):
        FrameEncoder.fit(frame.assign(z=1j))
    cut = frame.assign(z=pd.cut(pd.Series([1, 2, 3, 4, 5, 6]), 2))
    with pytest.raises(DataError, match=r"column 'z'.*interval.*kinds=\{'z': 'ignored'\}"):
        FrameEncoder.fit(cut)
    FrameEncoder.fit(cut, kinds={"z": "ignored"}).encode(cut)


@pytest.mark.parametrize(("kind", "what"), [("numeric", "number"), ("time", "time")])
def test_text_none_of_which_is_a_number_or_time_is_refused_in_training(
    kind: str, what: str
) -> None:
    frame = pl.DataFrame({"n": ["1,5 kg", "about 3", None]})
    with pytest.raises(DataError, match=f"column 'n', value '1,5 kg'.*no text in it is a {what}"):
        FrameEncoder.fit(frame, kinds={"n": kind})


def test_columns_of_nulls_and_of_pandas_objects_are_no_error() -> None:
    frame = pd.DataFrame({"a": [None, None], "b": ["x", 1], "c": [[1, 2], np.array([2])]})
    encoder = FrameEncoder.fit(frame, min_rows=1)
    assert encoder.schema.features == (Categorical("b", 3), MultiValued("c", 3))
    arrow = pa.table({"b": pa.array(["1", "x"]), "c": pa.array([[2], None], pa.list_(pa.int32()))})
    assert encoder.encode(arrow).multi_valued[0].counts.tolist() == [1, 0]
    assert sorted(encoder.encode(arrow).categorical[:, 0].tolist()) == [1, 2]


def test_the_values_of_several_frames_are_counted_together() -> None:
    first = pl.DataFrame(
        {"item": [7, 7, 8, None], "tags": [["x", "x"], ["y"], None, []], "n": [0.5, 1, 2, 3],
         "seen": [[7], [8], [], None], "none": pl.Series([None] * 4, dtype=pl.Null)}
    )  # fmt: skip
    more = pa.table(
        {"item": ["8", "nine", "nine", "10"], "tags": [["y"], ["z", "z"], None, ["w"]],
         "n": [1, 2, 3, 4], "seen": [["nine"], ["7", "10"], None, []]}
    )  # fmt: skip
    kinds = {"seen": "sequence of item", "item": "categorical"}
    encoder = FrameEncoder.fit(first, kinds=kinds)
    known = encoder.columns[0].vocabulary
    both = encoder.with_values([first, more], 2)
    items, tags, _, seen, _ = both.columns
    assert items.vocabulary.ids_array.to_pylist() == ["7", "8", "nine"]
    assert sorted(tags.vocabulary.ids_array.to_pylist()) == ["x", "y", "z"]
    assert [column.kind for column in both.columns] == [column.kind for column in encoder.columns]
    assert encoder.columns[0].vocabulary is known and len(known) == 2
    nine = items.vocabulary.rows(["nine"])[0]
    assert both.encode(more).categorical[:, 0].tolist() == [2, nine, nine, 0]
    assert both.encode(more).sequences[0].rows.tolist() == [nine, 1, 0]
    assert both.encode(first).categorical[:, 0].tolist() == [1, 1, 2, 0]
    assert seen.vocabulary is items.vocabulary


def test_a_column_can_be_a_sequence_of_what_another_holds() -> None:
    frame = ROWS.select("click", "city").with_columns(
        seen=pl.Series([["b", "new", "a"], [], None, ["a"], ["a", "a"], [None, "b"]])
    )
    kinds = {"seen": "sequence of city"}
    encoder = FrameEncoder.fit(frame, exclude=["click"], kinds=kinds)
    assert encoder.schema.features == (Categorical("city", 3), Sequence("seen", "city"))
    rows = {"a": 1, "b": 2} if encoder.encode(frame).categorical[0, 0] == 1 else {"a": 2, "b": 1}
    (seen,) = encoder.encode(frame).sequences
    assert seen.counts.tolist() == [3, 0, 0, 1, 2, 2]
    a, b = rows["a"], rows["b"]
    assert seen.rows.tolist() == [b, 0, a, a, a, a, 0, b]
    again = FrameEncoder.restored(encoder.described(), encoder.tables())
    assert again.schema == encoder.schema
    np.testing.assert_array_equal(again.encode(frame).sequences[0].rows, seen.rows)
    for wrong, problem in {
        "sequence": "must be one of",
        "numeric of city": "must be one of",
        "sequence of citi": "no such column; did you mean 'city'",
        "sequence of seen": "no such column",
    }.items():
        with pytest.raises(ParameterError, match=problem):
            FrameEncoder.fit(frame, kinds={"seen": wrong})
    with pytest.raises(DataError, match=r"'seen'.*'click' is numeric"):
        kinds = {"seen": "sequence of click", "click": "numeric"}
        FrameEncoder.fit(frame, kinds=kinds)
    with pytest.raises(DataError, match=r"'city'.*must hold lists"):
        FrameEncoder.fit(frame, kinds={"city": "sequence of click", "click": "categorical"})


def test_values_outside_the_vocabulary_can_share_rows_by_their_hash() -> None:
    kinds = {"seen": "sequence of city"}
    frame = ROWS.select("user_id", "city", "genres", seen="genres")
    encoder = FrameEncoder.fit(frame, kinds=kinds, min_rows=2, hashed=100)
    assert encoder.schema.features == (
        Categorical("user_id", 103),
        Categorical("city", 103),
        MultiValued("genres", 103),
        Sequence("seen", "city"),
    )
    names = [f"new {place}" for place in range(50)]
    new = pl.DataFrame(
        {
            "user_id": [*range(1000, 1048), None, 7],
            "city": names,
            "genres": [[name, "x", None] for name in names],
            "seen": [[name, "a"] for name in names],
        }
    )
    batch = encoder.encode(new)
    users, cities = batch.categorical.T
    assert (users[:-2] >= 3).all() and users[-2] == 0 and 0 < users[-1] < 3
    # Of 50 draws from 100 rows, 100 (1 - e^-0.5) = 39 are expected to be hit.
    assert 32 < len(np.unique(cities)) < 47
    assert cities.min() >= 3 and cities.max() < 103
    genres = batch.multi_valued[0].rows.reshape(50, 3)
    np.testing.assert_array_equal(genres[:, 0], cities)
    assert (genres[:, 1] < 3).all() and not genres[:, 2].any()
    np.testing.assert_array_equal(batch.sequences[0].rows.reshape(50, 2)[:, 0], cities)
    text = encoder.encode(new.with_columns(pl.col("user_id").cast(pl.String)))
    np.testing.assert_array_equal(text.categorical, batch.categorical)
    again = FrameEncoder.restored(encoder.described(), encoder.tables())
    same(again.encode(new), batch)
    # The hash is the same in every process.
    assert cities[:4].tolist() == [68, 52, 99, 76]
    with pytest.raises(ParameterError, match="hashed"):
        FrameEncoder.fit(frame, kinds=kinds, hashed=-1)
