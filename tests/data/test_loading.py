"""Frames and files of every format become the same data set."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import tastemap as tm
from tastemap.data import chunks, csv_files, files, json_lines
from tastemap.errors import DataError, ParameterError

EVENTS = pl.DataFrame(
    {
        "user": [3, 1, 3, 2, 1],
        "item": [10, 20, 20, 10, 10],
        "timestamp": [50, 40, 30, 20, 10],
        "rating": [1.0, 2.5, 3.0, 4.0, 5.0],
    }
)
EXPECTED = pl.DataFrame(
    {
        "user": [3, 3, 1, 1, 2],
        "item": [20, 10, 10, 20, 10],
        "time": [30.0, 50.0, 10.0, 40.0, 20.0],
        "value": pl.Series([3.0, 1.0, 5.0, 2.5, 4.0], dtype=pl.Float32),
        "kind": ["event"] * 5,
    }
)


def write(path: Path, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize(
    "convert",
    [lambda f: f, pl.DataFrame.lazy, pl.DataFrame.to_arrow, pl.DataFrame.to_pandas,
     lambda f: f.to_arrow().to_batches()[0]],
    ids=["polars", "lazy", "arrow", "pandas", "batch"],
)  # fmt: skip
def test_every_kind_of_frame(convert: Any) -> None:
    assert_frame_equal(tm.Dataset.from_frame(convert(EVENTS)).to_frame(), EXPECTED)


@pytest.mark.parametrize(
    "name",
    ["a.csv", "a.tsv", "a.csv.gz", "a.tsv.gz", "a.jsonl", "a.ndjson", "a.jsonl.gz", "a.parquet"],
)
def test_every_kind_of_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if ".parquet" in name:
        EVENTS.write_parquet(path)
    elif "json" in name:
        write(path, EVENTS.write_ndjson())
    else:
        write(path, EVENTS.write_csv(separator="\t" if ".tsv" in name else ","))
    dataset = tm.Dataset.from_files(path)
    assert_frame_equal(dataset.to_frame(), EXPECTED)
    assert dataset.users.is_integer


def test_several_files_of_several_formats(tmp_path: Path) -> None:
    EVENTS[:2].write_csv(tmp_path / "a.csv")
    EVENTS[2:].write_parquet(tmp_path / "b.parquet")
    dataset = tm.Dataset.from_files([tmp_path / "a.csv", str(tmp_path / "b.parquet")])
    assert_frame_equal(dataset.to_frame(), EXPECTED)


def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "user": random.integers(0, 500, 20_000),
            "item": random.integers(0, 900, 20_000),
            "time": random.integers(0, 1000, 20_000),
        }
    )
    whole = tm.Dataset.from_frame(frame)
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 777)
    monkeypatch.setattr(files, "CHUNK_ROWS", 777)
    monkeypatch.setattr(csv_files, "CHUNK_ROWS", 777)
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", 5_000)
    monkeypatch.setattr(json_lines, "_BLOCK_BYTES", 5_000)
    frame.write_csv(tmp_path / "a.csv")
    frame.write_ndjson(tmp_path / "a.jsonl")
    frame.write_parquet(tmp_path / "a.parquet")
    assert tm.Dataset.from_frame(frame).fingerprint == whole.fingerprint
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert tm.Dataset.from_files(tmp_path / name).fingerprint == whole.fingerprint


ids = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30),
    st.lists(st.text(min_size=1).filter(lambda t: t.strip() != ""), min_size=1, max_size=30),
)


@given(users=ids, items=ids, data=st.data())
def test_a_frame_comes_back_up_to_order(users: list[Any], items: list[Any], data: Any) -> None:
    n = min(len(users), len(items))
    times = data.draw(st.lists(st.floats(0, 4e9), min_size=n, max_size=n))
    values = data.draw(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=n, max_size=n))
    kinds = data.draw(st.lists(st.sampled_from(["view", "cart", "ü"]), min_size=n, max_size=n))
    frame = pl.DataFrame(
        {
            "user": users[:n], "item": items[:n], "time": times,
            "value": pl.Series(values, dtype=pl.Float32), "kind": kinds,
            "place": list(range(n)),
        }
    )  # fmt: skip
    dataset = tm.Dataset.from_frame(frame, context=["place"])
    back = dataset.to_frame()
    assert_frame_equal(back.sort("place"), frame)
    # Users in order of first appearance, and each user's events by time, ties by input order.
    assert dataset.users.ids_array.to_pylist() == list(dict.fromkeys(users[:n]))
    in_order = frame.with_columns(first=pl.col("place").min().over("user"))
    assert_frame_equal(back, in_order.sort("first", "time", "place").drop("first"))


# -- what the columns are called -------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [("user_id", "item_id", "timestamp", "rating"), ("userId", "movieId", "ts", "score"),
     ("user_id:token", "item_id:token", "timestamp:float", "rating:float"),
     ("visitorid", "product_id", "event_time", "weight"), ("USER", "Item", "Time", "Value")],
    ids=lambda names: names[0],
)  # fmt: skip
def test_usual_names_need_no_mapping(tmp_path: Path, names: tuple[str, ...]) -> None:
    EVENTS.rename(dict(zip(EVENTS.columns, names, strict=True))).write_csv(tmp_path / "a.csv")
    assert_frame_equal(tm.Dataset.from_files(tmp_path / "a.csv").to_frame(), EXPECTED)


def test_names_can_be_said() -> None:
    frame = EVENTS.rename(dict(zip(EVENTS.columns, "abcd", strict=True)))
    dataset = tm.Dataset.from_frame(frame, user="a", item="b", time="c", value="d")
    assert_frame_equal(dataset.to_frame(), EXPECTED)


def test_a_named_column_wins_over_a_usual_name() -> None:
    frame = EVENTS.with_columns(other=pl.col("user") + 100)
    assert set(tm.Dataset.from_frame(frame, user="other").users.ids_array.to_pylist()) == {
        101, 102, 103,
    }  # fmt: skip


def test_only_user_and_item_must_be_there() -> None:
    dataset = tm.Dataset.from_frame(EVENTS.select("user", "item"))
    assert not dataset.has_times
    assert dataset.histories.times.tolist() == [0.0] * 5
    assert dataset.histories.values.tolist() == [1.0] * 5
    assert dataset.histories.items_of(1).tolist() == [1, 2]  # input order: 10, then 20


# -- ids -------------------------------------------------------------------------------------------


def users_of(column: Any) -> tm.Vocabulary:
    return tm.Dataset.from_frame(pd.DataFrame({"user": column, "item": 1})).users


def test_whole_floats_are_integers() -> None:
    users = users_of([3.0, 1.0])
    assert users.is_integer
    assert users.ids_array.to_pylist() == [3, 1]


def test_categories_and_unsigned_integers() -> None:
    assert users_of(pd.Categorical(["b", "a", "b"])).ids_array.to_pylist() == ["b", "a"]
    assert users_of(np.array([7, 5], np.uint64)).ids_array.to_pylist() == [7, 5]


def test_mixed_ids_of_pandas_become_text() -> None:
    assert users_of([7, "7", "x"]).ids_array.to_pylist() == ["7", "x"]


@pytest.mark.parametrize(
    ("written", "read"),
    [(["1", "20"], [1, 20]), (["1", "x"], ["1", "x"]), (["007", "7"], ["007", "7"]),
     (["1.0", "2.0"], [1, 2]), (["1.5", "2.0"], ["1.5", "2.0"]), (["-3", "0"], [-3, 0]),
     (["9223372036854775808", "1"], ["9223372036854775808", "1"]), (["+1", "2"], ["+1", "2"])],
    ids=lambda ids: " ".join(map(str, ids)),
)  # fmt: skip
def test_ids_in_csv_are_integers_where_all_are(
    tmp_path: Path, written: list[str], read: list[Any]
) -> None:
    path = write(tmp_path / "a.csv", "user,item\n" + "".join(f"{id_},1\n" for id_ in written))
    assert tm.Dataset.from_files(path).users.ids_array.to_pylist() == read


def test_text_is_kept_as_it_is(tmp_path: Path) -> None:
    text = 'user,item\n"a, b",NA\n"say ""hi""",null\n"two\nlines", x\n'
    dataset = tm.Dataset.from_files(write(tmp_path / "a.csv", text))
    assert dataset.users.ids_array.to_pylist() == ["a, b", 'say "hi"', "two\nlines"]
    assert dataset.items.ids_array.to_pylist() == ["NA", "null", " x"]


# -- times -----------------------------------------------------------------------------------------

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ([1706702400, 0], [NOON, 0]),
        (["1706702400", "1.5"], [NOON, 1.5]),
        (["2024-01-31T12:00:00", "2024-01-31 12:00:00.25"], [NOON, NOON + 0.25]),
        (["2024-01-31T12:00:00Z", "2024-01-31T14:00:00+02:00"], [NOON, NOON]),
        (["2024-01-31", "1970-01-02"], [NOON - 43200, 86400]),
        (["2024-01-31T12:00:00Z", "2024-01-31 12:00", "1706702400"], [NOON] * 3),
        (pl.Series([datetime(2024, 1, 31, 12)], dtype=pl.Datetime("ms")), [NOON]),
        (pl.Series([datetime(2024, 1, 31, 12)], dtype=pl.Datetime("ns")), [NOON]),
        (pl.Series([datetime(2024, 1, 31, 12, tzinfo=UTC)]).dt.convert_time_zone("Asia/Tokyo"),
         [NOON]),
        (pl.Series([datetime(2024, 1, 31).date()]), [NOON - 43200]),
    ],
)  # fmt: skip
def test_times(given: Any, seconds: list[float]) -> None:
    n = len(seconds)
    frame = pl.DataFrame({"user": list(range(n)), "item": [1] * n, "time": given})
    assert tm.Dataset.from_frame(frame).histories.times.tolist() == seconds
    assert tm.Dataset.from_frame(frame.to_pandas()).histories.times.tolist() == seconds


# -- kinds and weights -----------------------------------------------------------------------------

CLICKS = pl.DataFrame(
    {
        "user_id": ["a", "a", "b"], "product_id": ["x", "y", "x"], "ts": [1, 2, 3],
        "event_type": ["view", "purchase", "cart"], "price": [1.0, 10.0, 5.0],
    }
)  # fmt: skip
WEIGHTS = {"view": 1, "cart": 3, "purchase": 5}


def test_weights_of_kinds() -> None:
    dataset = tm.Dataset.from_frame(CLICKS, weights=WEIGHTS)
    assert dataset.to_frame()["kind"].to_list() == ["view", "purchase", "cart"]
    assert dataset.histories.values.tolist() == [1, 5, 3]
    times_price = tm.Dataset.from_frame(CLICKS, weights=WEIGHTS, value="price")
    assert times_price.histories.values.tolist() == [1, 50, 15]
    assert tm.Dataset.from_frame(CLICKS).histories.values.tolist() == [1, 1, 1]


def test_a_kind_without_a_weight() -> None:
    with pytest.raises(DataError, match=r"row 3.*'event_type'.*'cart'.*no weight.*view, purchase"):
        tm.Dataset.from_frame(CLICKS, weights={"view": 1, "purchase": 5})
    with pytest.raises(DataError, match="no column of kinds"):
        tm.Dataset.from_frame(EVENTS, weights=WEIGHTS)
    with pytest.raises(ParameterError, match="'view' must be a number"):
        tm.Dataset.from_frame(CLICKS, weights={"view": float("nan")})


def test_too_many_kinds() -> None:
    n = 300
    frame = {"user": list(range(n)), "item": [1] * n, "kind": [f"k{i}" for i in range(n)]}
    with pytest.raises(DataError, match="300 kinds of event"):
        tm.Dataset.from_frame(pa.table(frame))


# -- context and side tables -----------------------------------------------------------------------


def test_context_of_csv_is_typed(tmp_path: Path) -> None:
    text = "user,item,time,price,count,note\n1,2,9,1.5,3,a\n1,3,8,2,4,é\n"
    path = write(tmp_path / "a.csv", text)
    context = tm.Dataset.from_files(path, context=["price", "count", "note"]).context
    expected = pl.DataFrame({"price": [2.0, 1.5], "count": [4, 3], "note": ["é", "a"]})
    assert context is not None
    assert_frame_equal(context, expected)


def test_side_tables_take_the_type_of_the_ids(tmp_path: Path) -> None:
    films = pl.DataFrame({"title": ["Ten", "Twenty"], "movieId": ["10", "20"]})
    people = pd.DataFrame({"user_id": [1, 2, 3], "age": [20, 30, 40]})
    films.write_csv(tmp_path / "films.csv")
    dataset = tm.Dataset.from_frame(EVENTS, items=tmp_path / "films.csv", users=people)
    assert dataset.item_table is not None and dataset.user_table is not None
    assert_frame_equal(
        dataset.item_table, pl.DataFrame({"item": [10, 20], "title": ["Ten", "Twenty"]})
    )
    assert dataset.user_table.columns == ["user", "age"]
    text_ids = tm.Dataset.from_frame(EVENTS.cast({"item": pl.String}), items=films)
    assert text_ids.item_table is not None
    assert text_ids.item_table["item"].to_list() == ["10", "20"]


@pytest.mark.parametrize(
    ("films", "message"),
    [({"name": ["a"]}, "no item column among name"),
     ({"item": [1, 1]}, "row 2, column 'item', value 1: the item is there twice"),
     ({"item": [1, None]}, "row 2, column 'item'.*missing"),
     ({"item": ["x"]}, "value 'x'.*not an integer")],
)  # fmt: skip
def test_bad_side_tables(films: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        tm.Dataset.from_frame(EVENTS, items=pl.DataFrame(films))


def test_torch_is_not_imported(tmp_path: Path) -> None:
    EVENTS.write_csv(tmp_path / "a.csv")
    code = (
        "import sys, tastemap; tastemap.Dataset.from_files(sys.argv[1]); "
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.csv")]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "False"


def test_json_lines_may_lack_fields_and_mix_types(tmp_path: Path) -> None:
    lines = [
        {"user": 1, "item": "a", "rating": 2},
        {"item": 7, "user": 2, "rating": "3.5", "extra": [1]},
    ]
    path = write(tmp_path / "a.jsonl", "\n\n".join(json.dumps(line) for line in lines))
    dataset = tm.Dataset.from_files(path)
    assert dataset.items.ids_array.to_pylist() == ["a", "7"]
    assert dataset.histories.values.tolist() == [2.0, 3.5]


def test_values_that_say_like_and_usual() -> None:
    frame = pl.DataFrame(
        {
            "user": ["u"] * 10,
            "item": [f"i{i}" for i in range(10)],
            "kind": ["view"] * 6 + ["buy"] * 4,
            "rating": [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 5.0, 5.0, 5.0, 4.0],
        }
    )
    data = tm.Dataset.from_frame(frame)
    assert data.liking_value == 5.0
    assert (data.usual_value("view"), data.usual_value("buy")) == (1.0, 5.0)
    assert data.usual_value("no such kind") == 2.0


def test_a_user_of_the_table_alone_is_known_by_profile() -> None:
    events = pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"]})
    people = pl.DataFrame({"user": ["c", "a"], "city": ["Perm", "Omsk"]})
    data = tm.Dataset.from_frame(events, users=people)
    assert data.users.rows(["a", "b", "c"]).tolist() == [1, 2, 3]
    profile = data.queries(data.users.rows(["c", "b"])).profile
    assert profile is not None
    assert profile["city"].to_list() == ["Perm", None]
