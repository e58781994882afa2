"""TF-IDF of a table, against scikit-learn's for each column."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from tastemap.content.tf_idf import TfIdf
from tastemap.errors import NotFittedError

TITLES = [
    "The old man and the sea",
    "The sea, the sea",
    "Amélie of the sea",
    "AMELIE returns",
    "Old and new",
    None,
    "of man, of sea",
]
GENRES = ["Drama", "Drama|Comedy", "Comedy|Romance", "Comedy|Romance", "Drama", "Horror", None]


@pytest.fixture
def table() -> pl.DataFrame:
    return pl.DataFrame({"title": TITLES, "genres": GENRES})


def sklearns(texts: list[str | None], pattern: str) -> np.ndarray:
    # A token of one row says nothing of any other.
    vectorizer = TfidfVectorizer(token_pattern=pattern, strip_accents="unicode", min_df=2)
    return vectorizer.fit_transform([text or "" for text in texts]).toarray()


@pytest.mark.parametrize(("column", "pattern"), [("title", r"(?u)\b\w+\b"), ("genres", r"[^|]+")])
def test_a_column_is_as_scikit_learn_has_it(table: pl.DataFrame, column: str, pattern: str) -> None:
    ours = TfIdf().fit(table.select(column)).encode(table.select(column)).toarray()
    theirs = sklearns(table[column].to_list(), pattern)
    # The columns of tokens are sorted alike, as all tokens are ASCII once folded.
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert ours.dtype == np.float32


def test_columns_speak_equally_loud(table: pl.DataFrame) -> None:
    both = TfIdf().fit(table).encode(table).toarray()
    parts = [
        TfIdf().fit(table.select(name)).encode(table.select(name)).toarray()
        for name in table.columns
    ]
    together = np.hstack(parts)
    lengths = np.linalg.norm(together, axis=1, keepdims=True)
    np.testing.assert_allclose(both, together / np.maximum(lengths, 1e-12), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), lengths[:, 0] > 0, atol=1e-6)


def test_unknown_words_and_missing_columns_are_nothing(table: pl.DataFrame) -> None:
    encoder = TfIdf().fit(table)
    whole = encoder.encode(table)
    alone = encoder.encode(pl.DataFrame({"genres": ["Comedy|Unheard of", "Unheard of"]}))
    assert alone.shape == (2, whole.shape[1])
    assert alone[[0]].nnz == 1
    assert alone[[1]].nnz == 0


def test_numbers_of_many_values_are_cut_at_their_deciles() -> None:
    years = pl.DataFrame({"year": [*range(1900, 2000), None]})
    encoder = TfIdf().fit(years)
    vectors = encoder.encode(years)
    assert vectors.shape == (101, 10)
    assert np.diff(vectors.indptr).tolist() == [1] * 100 + [0]
    near = (vectors @ vectors.T).toarray()
    assert near[3, 7] == pytest.approx(1)
    assert near[3, 70] == 0
    assert encoder.encode(pl.DataFrame({"year": [1500]})).nnz == 1


def test_lists_and_few_numbers_are_values() -> None:
    table = pl.DataFrame({"tags": [["a", "b"], ["b"], ["a"], None], "rating": [1, 1, 2, 2]})
    encoder = TfIdf().fit(table)
    assert encoder.columns == ("tags", "rating")
    cosines = encoder.encode(table)
    near = (cosines @ cosines.T).toarray()
    assert near[0, 1] > near[1, 3] == 0


def test_it_has_to_learn_first() -> None:
    with pytest.raises(NotFittedError, match="fit"):
        TfIdf().encode(pl.DataFrame({"title": ["x"]}))
