"""Columns of text, as people write them."""

from __future__ import annotations

import polars as pl

__all__ = ["folded", "listed"]


def folded(text: pl.Series) -> pl.Series:
    """Lower case without accents, so that "amelie" finds "Amélie"."""
    return text.str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.to_lowercase()


def listed(column: pl.Series) -> pl.Series:
    """A column of text as lists of the values that "|" joins; any other as it is."""
    if column.dtype in (pl.Utf8, pl.Categorical):
        return column.cast(pl.Utf8).str.split("|")
    return column
