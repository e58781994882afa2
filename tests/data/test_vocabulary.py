from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemap import Vocabulary
from tastemap.errors import DataError, UnknownIdError

ids = st.one_of(
    st.lists(st.text(), unique=True),
    st.lists(st.integers(-(2**63), 2**63 - 1), unique=True),
)


@given(ids)
def test_ids_to_rows_and_back(listed: list[str] | list[int]) -> None:
    vocabulary = Vocabulary(listed)
    rows = vocabulary.rows(listed)
    assert rows.tolist() == list(range(1, len(listed) + 1))
    assert vocabulary.ids(rows) == listed
    assert len(vocabulary) == len(listed) + 1


@given(ids, ids)
def test_growing_moves_no_row(first: list[str] | list[int], second: list[str] | list[int]) -> None:
    if first and second and type(first[0]) is not type(second[0]):
        return
    vocabulary = Vocabulary(first)
    grown = vocabulary.extend(second)
    assert grown.rows(first).tolist() == vocabulary.rows(first).tolist()
    assert (grown.rows(second) > 0).all()
    assert len(grown) == len({*first, *second}) + 1


@given(st.lists(st.text(), unique=True), st.text())
def test_the_unknown_is_row_0(listed: list[str], other: str) -> None:
    assert (Vocabulary(listed).rows([other])[0] == 0) == (other not in listed)


def test_integers_are_found_by_their_text_and_the_other_way_round() -> None:
    numbers = Vocabulary([7, -3, 12])
    assert numbers.rows(["7", "-3", 12, "07", "x", "7.0", "", "٧"]).tolist() == [
        1,
        2,
        3,
        0,
        0,
        0,
        0,
        0,
    ]
    assert Vocabulary(["7", "x"]).rows([7, "x", 8]).tolist() == [1, 2, 0]
    assert True not in Vocabulary([1])
    assert None not in Vocabulary(["None"])
    assert np.int64(7) in numbers


def test_bulk_and_single_look_ups_agree() -> None:
    vocabulary = Vocabulary([f"id{i}" for i in range(10_000)])
    asked = [f"id{i}" for i in range(5_000, 15_000)]
    bulk = vocabulary.rows(pa.array(asked))
    assert bulk.tolist() == vocabulary.rows(asked).tolist()
    assert (bulk == 0).sum() == 5_000
    assert vocabulary.rows(pa.chunked_array([asked[:10], asked[10:]])).tolist() == bulk.tolist()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (["a", "b", "a"], "more than once"),
        (["a", 1], "strings or all integers"),
        ([1.5, 2.5], "strings or integers"),
        (["a", None], "null"),
        ([2**70], "integers"),
    ],
)
def test_bad_ids_are_refused(bad: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Vocabulary(bad)  # type: ignore[arg-type]


def test_mixing_kinds_while_growing_is_refused() -> None:
    with pytest.raises(DataError, match="mixed"):
        Vocabulary(["a"]).extend([1])


def test_an_unknown_id_is_named() -> None:
    with pytest.raises(UnknownIdError, match=r"unknown item: 'zebra'"):
        Vocabulary(["a"]).known_rows(["a", "zebra"], "item")
