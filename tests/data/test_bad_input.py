"""Each way in which a file can be bad has an error that names the place, and can be rejected."""

from __future__ import annotations

import csv
import gzip
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tastemap as tm
from tastemap.data import csv_files
from tastemap.data.rejects import RejectedRowsWarning
from tastemap.errors import DataError, ParameterError

GOOD = "u1,i1,100,5"
HEADER = "user,item,time,value"

# The bad line, the column and value that the error names, and words of its message and remedy.
BAD_LINES: dict[str, tuple[bytes, str | None, Any, str]] = {
    "null id": (b",i1,100,5", "user", None, "the id is missing.*Give every event"),
    "blank id": (b"u1,  ,100,5", "item", "  ", "the id is empty.*Give every event"),
    "null time": (b"u1,i1,,5", "time", None, "the time is missing.*ISO 8601"),
    "null value": (b"u1,i1,100,", "value", None, "the value is missing"),
    "time is no time": (b"u1,i1,soon,5", "time", "soon", "neither a number nor an ISO 8601 date"),
    "no such day": (b"u1,i1,2023-02-30,5", "time", "2023-02-30", "neither a number nor"),
    "negative time": (b"u1,i1,-5,5", "time", "-5", "negative, which is before 1970"),
    "date before 1970": (b"u1,i1,1969-12-31,5", "time", "1969-12-31", "before 1970"),
    "milliseconds": (b"u1,i1,1706702400000,5", "time", "1706702400000",
                     "looks like milliseconds.*Divide the column by 1,000 first"),
    "nanoseconds": (b"u1,i1,1706702400000000000,5", "time", "1706702400000000000",
                    "looks like nanoseconds"),
    "far future": (b"u1,i1,2500-01-01,5", "time", "2500-01-01", "after the year 2200"),
    "infinite time": (b"u1,i1,inf,5", "time", "inf", "not finite"),
    "wrong type": (b"u1,i1,100,five", "value", "five", "the value is not a number"),
    "NaN": (b"u1,i1,100,NaN", "value", "NaN", "not a finite number.*leave the row out"),
    "infinity": (b"u1,i1,100,inf", "value", "inf", "not a finite number"),
    "too large for float32": (b"u1,i1,100,1e39", "value", "1e39", "not a finite number"),
    "broken UTF-8 in an id": (b"u\xff1,i1,100,5", "user", "u\ufffd1", "not valid UTF-8.*Save"),
    "broken UTF-8 in a time": (b"u1,i1,\xff,5", "time", "\ufffd", "neither a number"),
    "too few fields": (b"u1,i1,100", None, "u1,i1,100", "3 fields, the header 4.*Quote fields"),
    "too many fields": (b"u1,i1,100,5,6", None, "u1,i1,100,5,6", "5 fields, the header 4"),
}  # fmt: skip


def write_csv(path: Path, bad: bytes) -> Path:
    """The bad line is the third row."""
    lines = [HEADER.encode(), GOOD.encode(), GOOD.encode(), bad, GOOD.encode()]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_line_of_csv(tmp_path: Path, name: str) -> None:
    line, column, value, message = BAD_LINES[name]
    path = write_csv(tmp_path / "log.csv", line)
    with pytest.raises(DataError, match=message) as caught:
        tm.Dataset.from_files(path)
    error = caught.value
    assert (error.source, error.row, error.column, error.value) == (str(path), 3, column, value)
    assert error.remedy


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_line_of_csv_rejected(tmp_path: Path, name: str) -> None:
    line, column, _, _ = BAD_LINES[name]
    path = write_csv(tmp_path / "log.csv", line)
    with pytest.warns(RejectedRowsWarning, match=r"1 of 4 rows were rejected; see .*rejected\.csv"):
        dataset = tm.Dataset.from_files(path, on_bad_rows="reject")
    assert (dataset.n_events, dataset.n_users, dataset.n_items) == (3, 1, 1)
    assert dataset.n_rejected == 1
    with (tmp_path / "log.rejected.csv").open(newline="") as file:
        [record] = list(csv.DictReader(file))
    assert (record["source"], record["row"]) == (str(path), "3")
    assert column is None or record["reason"].startswith(f"{column}: ")
    if column is not None:
        assert set(json.loads(record["record"])) == {"user", "item", "time", "value"}
    else:
        assert record["record"] == line.decode()


BAD_JSON: dict[str, tuple[bytes, str]] = {
    "cut off": (b'{"user": "u1", "item": "i', "no JSON record"),
    "not an object": (b"[1, 2]", "not an object in braces"),
    "broken UTF-8": (b'{"user": "u\xff", "item": "i1", "time": 1, "value": 1}', "not valid UTF-8"),
    "a list for an id": (b'{"user": ["u1"], "item": "i1", "time": 1, "value": 1}',
                         "column 'user' holds a list or mapping"),
    "no such field": (b'{"user": "u1", "time": 1, "value": 1}', "column 'item': the id is missing"),
    "null": (b'{"user": null, "item": "i1", "time": 1, "value": 1}', "'user': the id is missing"),
    "text for a number": (b'{"user": "u1", "item": "i1", "time": 1, "value": "five"}',
                          "value 'five': the value is not a number"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_line_of_json(tmp_path: Path, name: str) -> None:
    line, message = BAD_JSON[name]
    good = b'{"user": "u1", "item": "i1", "time": 100, "value": 5}'
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join([good, good, line, good]))
    with pytest.raises(DataError, match=message) as caught:
        tm.Dataset.from_files(path)
    assert (caught.value.source, caught.value.row) == (str(path), 3)
    with pytest.warns(RejectedRowsWarning, match="1 of 4 rows"):
        dataset = tm.Dataset.from_files(path, on_bad_rows="reject", rejects=tmp_path / "bad.jsonl")
    assert (dataset.n_events, dataset.n_rejected) == (3, 1)
    [record] = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert record["row"] == 3 and record["reason"]


UNUSABLE: dict[str, tuple[str, bytes, str]] = {
    "empty": ("log.csv", b"", "the file is empty"),
    "empty gzip": ("log.csv.gz", gzip.compress(b""), "no header line"),
    "header only": ("log.csv", b"user,item,time\n", "there are no rows of data"),
    "header only, no newline": ("log.csv", b"user,item", "there are no rows of data"),
    "blank JSON": ("log.jsonl", b"\n\n", "there are no rows of data"),
    "only broken JSON": ("log.jsonl", b"{\n", "row 1, value '{'"),
    "missing column": ("log.csv", b"customer,thing,when\n1,2,3\n",
                       "no item column among .* 'customer', 'thing', 'when'.*item=\"NAME\""),
    "no header": ("u.tsv", b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n",
                  "The first line looks like data"),
    "header is not UTF-8": ("log.csv", b"us\xe9r,item\n1,2\n", "header is not valid UTF-8"),
    "UTF-16": ("log.csv", "user,item\n1,2\n".encode("utf-16"), "header is not valid UTF-8"),
    "open quote": ("log.csv", b'user,item\n1,2\n3,"4\n5,6\n', "row 2.*quote is opened and not cl"),
    "damaged gzip": ("log.csv.gz", gzip.compress(b"user,item\n" + b"1,2\n" * 9999)[:-30],
                     "cannot read the file"),
    "not gzip": ("log.jsonl.gz", b"user,item\n", "cannot read the file"),
    "twice the same column": ("log.csv", b"user,item,user\n1,2,3\n", "more than once"),
    "not Parquet": ("log.parquet", b"user,item\n1,2\n", "not a whole Parquet file.*cut off"),
    "unknown format": ("log.xlsx", b"x", "unknown file format '.xlsx'.*.csv"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_file(tmp_path: Path, name: str) -> None:
    file, content, message = UNUSABLE[name]
    path = tmp_path / file
    path.write_bytes(content)
    for policy in ("raise", "reject"):
        with pytest.raises(DataError, match=message) as caught:
            tm.Dataset.from_files(path, on_bad_rows=policy)
        assert caught.value.source == str(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        tm.Dataset.from_files(tmp_path / "log.csv")
    with pytest.raises(DataError, match=r"this is a folder.*glob"):
        tm.Dataset.from_files(tmp_path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_truncated_parquet(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": np.arange(5000), "item": np.arange(5000)}).write_parquet(path)
    os.truncate(path, int(path.stat().st_size * keep))
    with pytest.raises(DataError, match=r"not a whole Parquet file.*cut off") as caught:
        tm.Dataset.from_files(path)
    assert caught.value.source == str(path)


def test_named_column_that_is_not_there(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", GOOD.encode())
    with pytest.raises(DataError, match=r"no column 'when' .time.; there are the columns 'user'"):
        tm.Dataset.from_files(path, time="when")
    with pytest.raises(DataError, match=r"no column 'price' .context."):
        tm.Dataset.from_files(path, context=["price"])
    with pytest.raises(DataError, match="context column cannot be called 'value'"):
        tm.Dataset.from_files(path, context=["value"])


def test_files_of_unlike_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item,time\n1,2,3\n")
    (tmp_path / "b.csv").write_text("user,item\n1,2\n")
    with pytest.raises(DataError, match=r"b\.csv: no time column, though .*a\.csv has one"):
        tm.Dataset.from_files([tmp_path / "a.csv", tmp_path / "b.csv"])


# -- frames ---------------------------------------------------------------------------------------

BAD_FRAMES: dict[str, tuple[Any, str]] = {
    "null id": ({"user": [1, None], "item": [1, 2]}, "row 2, column 'user': the id is missing"),
    "pandas NaN id": (pd.DataFrame({"user": [1, np.nan], "item": [1, 2]}), "row 2.*missing"),
    "fraction": ({"user": [1.0, 1.5], "item": [1, 2]}, "row 2.*value 1.5.*not a whole number"),
    "bool ids": ({"user": [True, False], "item": [1, 2]}, "'user'.*strings or integers.*bool"),
    "nested ids": ({"user": [[1], [2]], "item": [1, 2]}, "strings or integers, and .*list"),
    "huge id": ({"user": pl.Series([1, 2**64 - 1], dtype=pl.UInt64), "item": [1, 2]},
                "row 2.*does not fit 64 bits"),
    "list among ids": (pd.DataFrame({"user": [1, [2]], "item": [1, 2]}),
                       r"row 2, value '\[2\]'.*'user' holds a list"),
    "NaN value": ({"user": [1, 1], "item": [1, 2], "value": [1.0, float("nan")]},
                  "row 2, column 'value', value nan: the value is not a finite"),
    "dates for values": ({"user": [1], "item": [1], "value": [pd.Timestamp("2024-01-01")]},
                         "values must be numbers, and the column holds timestamp"),
    "bools for times": ({"user": [1], "item": [1], "time": [True]}, "times must be Unix seconds"),
    "no rows": ({"user": [], "item": []}, "no rows of data"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frame(name: str) -> None:
    frame, message = BAD_FRAMES[name]
    with pytest.raises(DataError, match=message) as caught:
        tm.Dataset.from_frame(pl.DataFrame(frame) if isinstance(frame, dict) else frame)
    assert caught.value.source == "frame"


def test_no_frame_at_all() -> None:
    with pytest.raises(DataError, match="expected a pandas, Polars or Arrow frame, not list"):
        tm.Dataset.from_frame([(1, 2)])


def test_rejects_of_a_frame_need_a_place(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [1, None], "item": [1, 2]})
    with pytest.raises(ParameterError, match="rejects="):
        tm.Dataset.from_frame(frame, on_bad_rows="reject")
    with pytest.raises(ParameterError, match=r"must end in \.csv"):
        tm.Dataset.from_frame(frame, on_bad_rows="reject", rejects=tmp_path / "bad.txt")
    with pytest.raises(DataError, match="cannot write rejected rows"):
        tm.Dataset.from_frame(frame, on_bad_rows="reject", rejects=tmp_path / "no" / "bad.csv")
    with pytest.raises(ParameterError, match="on_bad_rows"):
        tm.Dataset.from_frame(frame, on_bad_rows="drop")  # type: ignore[arg-type]


def test_ids_of_rejected_rows_are_unknown(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "value": [1.0, float("inf")]})
    with pytest.warns(RejectedRowsWarning):
        dataset = tm.Dataset.from_frame(frame, on_bad_rows="reject", rejects=tmp_path / "bad.csv")
    assert "b" not in dataset.users and "y" not in dataset.items


def test_good_rows_leave_no_file_and_no_warning(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", GOOD.encode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tm.Dataset.from_files(path, on_bad_rows="reject").n_rejected == 0
    assert os.listdir(tmp_path) == ["log.csv"]


def test_all_rows_rejected(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\n1,2,x\n3,4,y\n")
    with pytest.raises(DataError, match=r"all 2 rows were rejected.*log\.rejected\.csv"):
        tm.Dataset.from_files(path, on_bad_rows="reject")
    assert len((tmp_path / "log.rejected.csv").read_text().splitlines()) == 3


lines = st.sampled_from([
    ("1,2,3", None), (",2,3", "user"), ("1,2,-3", "time"), ("1,2", "fields"), ("", "blank"),
    ("1,,x", "both"),
])  # fmt: skip


@given(st.lists(lines, min_size=1, max_size=60))
def test_every_line_is_used_or_rejected_under_its_own_number(drawn: list[tuple[str, Any]]) -> None:
    used = sum(kind is None for _, kind in drawn)
    wanted = [row for row, (_, kind) in enumerate(drawn, 1) if kind not in (None, "blank")]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_files, "_BLOCK_BYTES", 64)
        patch.setattr(csv_files, "CHUNK_ROWS", 7)
        path = Path(folder, "log.csv")
        path.write_text("user,item,time\n" + "".join(f"{line}\n" for line, _ in drawn))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if used:
                dataset = tm.Dataset.from_files(path, on_bad_rows="reject")
                assert (dataset.n_events, dataset.n_rejected) == (used, len(wanted))
            else:
                with pytest.raises(DataError, match=r"no rows of data|rows were rejected"):
                    tm.Dataset.from_files(path, on_bad_rows="reject")
        rejected = Path(folder, "log.rejected.csv")
        if wanted:
            with rejected.open(newline="") as file:
                assert [int(record["row"]) for record in csv.DictReader(file)] == wanted
        else:
            assert not rejected.exists()
