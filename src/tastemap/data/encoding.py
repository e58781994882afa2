"""Columns that arrive in chunks, put together: ids as rows of a vocabulary, text as numbers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tastemap.data.vocabulary import Vocabulary

__all__ = ["IdColumn", "typed_text"]


class IdColumn:
    """An id column that arrives in chunks; ids get rows in order of first appearance."""

    def __init__(self) -> None:
        self._indices: list[NDArray[np.int32]] = []
        self._dictionaries: list[pa.Array] = []
        self._from_text = True

    def add(self, encoded: pa.DictionaryArray, from_text: bool) -> None:
        self._indices.append(encoded.indices.to_numpy(zero_copy_only=False))
        self._dictionaries.append(encoded.dictionary)
        self._from_text &= from_text

    def __len__(self) -> int:
        return sum(len(indices) for indices in self._indices)

    def finish(self) -> tuple[Vocabulary, NDArray[np.int32]]:
        """All ids, and the rows int32 [m] of all events."""
        dictionaries = self._dictionaries
        if len({dictionary.type for dictionary in dictionaries}) > 1:
            dictionaries = [dictionary.cast(pa.large_string()) for dictionary in dictionaries]
        # The chunks' distinct ids, in order, hold each id first where it first appeared; so
        # encoding them once more gives the vocabulary and where each chunk's ids lie in it.
        merged = pa.concat_arrays(dictionaries).dictionary_encode()
        places = merged.indices.to_numpy(zero_copy_only=False).astype(np.int32) + np.int32(1)
        rows = np.empty(len(self), np.int32)
        start = begin = 0
        self._indices.reverse()
        for dictionary in self._dictionaries:
            indices = self._indices.pop()
            stop = start + len(indices)
            np.take(places[begin : begin + len(dictionary)], indices, out=rows[start:stop])
            start, begin = stop, begin + len(dictionary)
        ids = _integers(merged.dictionary) if self._from_text else merged.dictionary
        return Vocabulary(ids), rows


def _integers(ids: pa.Array) -> pa.Array:
    """Text that is all integers, written plainly (or all as 7.0), as integers; else as it is."""
    if pa.types.is_integer(ids.type):
        return ids
    for pattern, trimmed in ((r"^(0|-?[1-9]\d*)$", ids), (r"^(0|-?[1-9]\d*)\.0$", None)):
        if pc.all(pc.match_substring_regex(ids, pattern)).as_py():
            try:
                return (trimmed or pc.utf8_slice_codeunits(ids, 0, -2)).cast(pa.int64())
            except pa.ArrowInvalid:
                return ids
    return ids


def typed_text(column: pl.Series) -> pl.Series:
    """The integers or numbers that a column of text holds, or the text."""
    text = column.cast(pl.String, strict=False) if column.dtype == pl.Binary else column
    for dtype in (pl.Int64, pl.Float64):
        typed = text.cast(dtype, strict=False)
        if typed.null_count() == column.null_count():
            return typed
    return text
