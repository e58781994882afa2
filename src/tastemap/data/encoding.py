"""Columns that arrive in chunks, put together: ids as rows of a vocabulary, text as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tastemap.data.vocabulary import Vocabulary

__all__ = ["GrowingColumn", "IdColumn", "typed_text"]


class GrowingColumn:
    """An array that chunks are appended to.

    It grows in place (the system moves pages, not bytes), so that neither the chunks nor a second
    copy of the whole stay in memory, as they would until a list of chunks were joined.
    """

    def __init__(self, dtype: Any) -> None:
        self._array: NDArray[Any] = np.empty(0, dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, values: NDArray[Any]) -> None:
        """Copies values [n] behind those that are there."""
        stop = self._length + len(values)
        if stop > len(self._array):
            self._array.resize(max(stop, len(self._array) * 3 // 2), refcheck=False)
        self._array[self._length : stop] = values
        self._length = stop

    def finish(self) -> NDArray[Any]:
        """The array, whose memory is now the caller's alone."""
        self._array.resize(self._length, refcheck=False)
        array, self._array = self._array, np.empty(0, self._array.dtype)
        return array


class IdColumn:
    """An id column that arrives in chunks; ids get rows in order of first appearance."""

    def __init__(self) -> None:
        self._indices = GrowingColumn(np.int32)
        self._lengths: list[int] = []
        self._dictionaries: list[pa.Array] = []
        self._untyped: list[bool] = []

    def add(self, encoded: pa.DictionaryArray, untyped: bool) -> None:
        """Adds a chunk; `untyped` text may stand for integers, as in CSV."""
        self._indices.append(encoded.indices.to_numpy(zero_copy_only=False))
        self._lengths.append(len(encoded))
        self._dictionaries.append(encoded.dictionary)
        self._untyped.append(untyped)

    def __len__(self) -> int:
        return len(self._indices)

    def finish(self) -> tuple[Vocabulary, NDArray[np.int32]]:
        """All ids, and the rows int32 [m] of all events."""
        # The chunks' distinct ids, in order, hold each id first where it first appeared; so
        # encoding them once more gives the vocabulary and where each chunk's ids lie in it.
        merged = pa.concat_arrays(self._of_one_type()).dictionary_encode()
        places = merged.indices.to_numpy(zero_copy_only=False).astype(np.int32) + np.int32(1)
        rows: NDArray[np.int32] = self._indices.finish()
        start = begin = 0
        for length, dictionary in zip(self._lengths, self._dictionaries, strict=True):
            part = rows[start : start + length]
            part[:] = places[begin : begin + len(dictionary)][part]
            start, begin = start + length, begin + len(dictionary)
        return Vocabulary(merged.dictionary), rows

    def _of_one_type(self) -> list[pa.Array]:
        """The chunks' ids, all integers where untyped text can be read so, else all text."""
        untyped = [d for d, free in zip(self._dictionaries, self._untyped, strict=True) if free]
        pattern = _integer_pattern(untyped)
        dictionaries = [
            _to_integers(dictionary, pattern) if free and pattern else dictionary
            for dictionary, free in zip(self._dictionaries, self._untyped, strict=True)
        ]
        if len({dictionary.type for dictionary in dictionaries}) > 1:
            return [dictionary.cast(pa.large_string()) for dictionary in self._dictionaries]
        return dictionaries


_PLAIN, _FLOAT = r"^(0|-?[1-9]\d{0,17})$", r"^(0|-?[1-9]\d{0,17})\.0$"


def _integer_pattern(chunks: list[pa.Array]) -> str | None:
    """How all these texts write integers: plainly, or all as 7.0; None where one does not."""
    for pattern in (_PLAIN, _FLOAT):
        if all(pc.all(pc.match_substring_regex(chunk, pattern)).as_py() for chunk in chunks):
            return pattern
    return None


def _to_integers(ids: pa.Array, pattern: str) -> pa.Array:
    return (ids if pattern == _PLAIN else pc.utf8_slice_codeunits(ids, 0, -2)).cast(pa.int64())


def typed_text(column: pl.Series) -> pl.Series:
    """The integers or numbers that a column of text holds, or the text."""
    text = column.cast(pl.String, strict=False) if column.dtype == pl.Binary else column
    for dtype in (pl.Int64, pl.Float64):
        typed = text.cast(dtype, strict=False)
        if typed.null_count() == column.null_count():
            return typed
    return text
