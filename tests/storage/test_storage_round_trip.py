"""What is written comes back: manifests, tensors, tables."""

import string
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from tastemap.errors import ReleaseError
from tastemap.storage import read_directory, write_directory

scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.datetimes(timezones=st.just(UTC))
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), st.none() | inner, max_size=4)
    ),
    max_leaves=12,
)
reserved = {"format_version", "kind", "created", "written_by", "nulls", "files"}
manifests = st.dictionaries(
    st.text().filter(lambda key: key not in reserved), st.none() | values, max_size=5
)

dtypes = st.sampled_from(
    ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">i4", ">f8"]
)
arrays = dtypes.flatmap(
    lambda dtype: st_numpy.arrays(dtype, st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0))
)


@given(manifest=manifests)
@settings(max_examples=40, deadline=None)
def test_a_manifest_comes_back_as_it_was(manifest):
    with TemporaryDirectory() as folder:
        write_directory(f"{folder}/m", kind="model", manifest=manifest, tensors={}, tables={})
        stored = read_directory(f"{folder}/m", kind="model")
        assert stored.manifest == manifest
        assert stored.kind == "model"
        assert (datetime.now(UTC) - stored.record.created).total_seconds() < 60
        assert stored.record.written_by.startswith("tastemap ")


@given(group=st.dictionaries(st.text().filter(lambda s: s != "__metadata__"), arrays, max_size=4))
@settings(max_examples=40, deadline=None)
def test_tensors_come_back_as_they_were(group):
    with TemporaryDirectory() as folder:
        write_directory(
            f"{folder}/m", kind="model", manifest={}, tensors={"weights": group}, tables={}
        )
        found = read_directory(f"{folder}/m").tensors("weights")
    assert found.keys() == group.keys()
    for name, array in group.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.astype(found[name].dtype).tobytes()
        assert found[name].flags.writeable


def test_arrays_that_are_views_are_stored_in_their_own_order(tmp_path):
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    views = {
        "transposed": base.T,
        "strided": base[::2, ::-3],
        "broadcast": np.broadcast_to(base[0], (3, 6)),
    }
    write_directory(tmp_path / "m", kind="model", manifest={}, tensors={"v": views}, tables={})
    found = read_directory(tmp_path / "m").tensors("v")
    for name, view in views.items():
        np.testing.assert_array_equal(found[name], view)


def test_tables_come_back_with_their_schema(tmp_path):
    frame = pl.DataFrame(
        {
            "item": ["50", "Amélie", "a/b\n", None],
            "year": [1977, None, 2001, 0],
            "genres": [["Drama"], [], None, ["War", "Comedy"]],
            "seen": [datetime(2026, 1, 1), None, datetime(1970, 1, 1), datetime(2000, 2, 29)],
        }
    )
    tables = {
        "items": frame.to_arrow(),
        "ids": pa.table({"id": pa.array([1, 2, 3], pa.int64())}),
        "dictionary": pa.table({"kind": pa.array(["a", "b", "a"]).dictionary_encode()}),
        "empty": pa.table({"user": pa.array([], pa.large_string())}),
    }
    write_directory(tmp_path / "x=1" / "m", kind="pipeline", manifest={}, tensors={}, tables=tables)
    stored = read_directory(tmp_path / "x=1" / "m")
    assert sorted(stored.table_names) == sorted(tables)
    for name, table in tables.items():
        assert stored.tables(name).equals(table)
    assert pl.from_arrow(stored.tables("items")).equals(frame)


def test_none_comes_back_and_numpy_scalars_become_plain(tmp_path):
    manifest = {
        "hyperparameters": {"factors": np.int64(128), "alpha": np.float32(0.5), "window": None},
        "none": None,
        "layers": (64, 32),
        "grid": np.array([[1, 2], [3, 4]]),
        "metrics": {"ndcg@10": np.float64(0.25)},
    }
    write_directory(tmp_path / "m", kind="model", manifest=manifest, tensors={}, tables={})
    assert read_directory(tmp_path / "m").manifest == {
        "hyperparameters": {"factors": 128, "alpha": 0.5, "window": None},
        "none": None,
        "layers": [64, 32],
        "grid": [[1, 2], [3, 4]],
        "metrics": {"ndcg@10": 0.25},
    }


def test_infinities_and_not_a_number_come_back(tmp_path):
    manifest = {"high": float("inf"), "low": -float("inf"), "none": float("nan")}
    write_directory(tmp_path / "m", kind="model", manifest=manifest, tensors={}, tables={})
    found = read_directory(tmp_path / "m").manifest
    assert (found["high"], found["low"]) == (float("inf"), -float("inf"))
    assert np.isnan(found["none"])


@pytest.mark.parametrize(
    ("manifest", "place"),
    [
        ({"a": {"b": [1, None]}}, r"manifest\.a\.b\[1\]"),
        ({"a": Path("x")}, r"manifest\.a .*PosixPath"),
        ({"a": {1: 2}}, r"manifest\.a .*key 1"),
        ({"a": b"bytes"}, r"manifest\.a .*bytes"),
        ({"a": ["\ud800"]}, r"manifest\.a\[0\] .*UTF-8"),
        ({"files": {}}, r"'files' is reserved"),
    ],
)
def test_what_toml_cannot_hold_is_refused_by_place(tmp_path, manifest, place):
    with pytest.raises(ReleaseError, match=place):
        write_directory(tmp_path / "m", kind="model", manifest=manifest, tensors={}, tables={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "array",
    [
        np.array(["text"]),
        np.array([object()]),
        np.array(["2026-01-01"], "datetime64[s]"),
        np.zeros(2, np.complex128),
        np.zeros(2, np.longdouble),
        np.zeros(2, [("a", "i4")]),
        np.array([b"ab"]),
    ],
    ids=lambda array: str(array.dtype),
)
def test_unsupported_dtypes_are_refused_by_name(tmp_path, array):
    with pytest.raises(ReleaseError, match=r"model: the tensor 'bad' has dtype"):
        write_directory(
            tmp_path / "m",
            kind="model",
            manifest={},
            tensors={"model": {"good": np.zeros(3), "bad": array}},
            tables={},
        )
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_parquet_cannot_hold_is_refused(tmp_path):
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    with pytest.raises(ReleaseError, match=r"t: the table cannot be stored as Parquet"):
        write_directory(
            tmp_path / "m",
            kind="model",
            manifest={},
            tensors={},
            tables={"t": pa.table({"u": union})},
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "/etc/x",
        ".hidden",
        "-rf",
        "a\0",
        "é",
        "a" * 101,
        "a\n",
    ],
)
def test_names_that_are_not_plain_are_refused(tmp_path, name):
    for parts in (
        {"tensors": {name: {}}, "tables": {}},
        {"tensors": {}, "tables": {name: pa.table({})}},
    ):
        with pytest.raises(ReleaseError, match="cannot name"):
            write_directory(tmp_path / "m", kind="model", manifest={}, **parts)
    assert list(tmp_path.iterdir()) == []


@given(name=st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=100))
@settings(max_examples=20, deadline=None)
def test_plain_names_are_accepted(name):
    with TemporaryDirectory() as folder:
        write_directory(
            f"{folder}/m",
            kind="model",
            manifest={},
            tensors={name: {}},
            tables={name: pa.table({"a": [1]})},
        )
        stored = read_directory(f"{folder}/m")
        assert stored.tensor_names == stored.table_names == [name]


def test_asking_for_a_name_that_is_not_there_lists_those_that_are(tmp_path):
    write_directory(tmp_path / "m", kind="model", manifest={}, tensors={"als": {}}, tables={})
    stored = read_directory(tmp_path / "m")
    with pytest.raises(ReleaseError, match=r"no tensors named 'ease'; it holds: als"):
        stored.tensors("ease")
    with pytest.raises(ReleaseError, match=r"no tables named 'als'"):
        stored.tables("als")


def test_an_array_can_be_mapped(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6, dtype=np.float16).reshape(2, 3),
        "b": np.arange(4, dtype=np.int64),
        "empty": np.empty((0, 3), np.float32),
    }
    path = tmp_path / "d"
    write_directory(path, kind="model", manifest={}, tensors={"t": arrays}, tables={})
    stored = read_directory(path)
    for name, array in arrays.items():
        mapped = stored.mapped("t", name)
        assert mapped.dtype == array.dtype and not (mapped.size and mapped.flags.writeable)
        np.testing.assert_array_equal(mapped, array)
    with pytest.raises(ReleaseError, match="cannot be read"):
        stored.mapped("t", "c")
    file = path / "t.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ReleaseError, match="replaced"):
        stored.mapped("t", "a")
