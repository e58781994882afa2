"""Items that are like others by what is known of them."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from tastemap.content.tf_idf import TfIdf
from tastemap.data.dataset import Dataset

__all__ = ["Likeness"]

_NEIGHBOURS = 50
# Cosines of so many items with all others at a time.
_TILE = 64


class Likeness:
    """Which known items are like others by their words and attributes.

    Args:
        data: of the release.
    """

    def __init__(self, data: Dataset) -> None:
        table = data.item_attributes()
        # Of one without events a model knows no more than of a new one.
        self._rows = np.flatnonzero(data.item_counts[1:]) + 1
        self._encoder = TfIdf()
        self._known: csr_array | None = None
        if table is not None:
            table = table[self._rows - 1]
            if self._encoder.fit(table).columns:
                self._known = self._encoder.encode(table).T.tocsr()
        self._n_items = len(data.items)

    def weights(self, table: pl.DataFrame) -> csr_array:
        """How much each known item stands for each row of a table, float32 [n, item rows].

        The 50 nearest by the cosine of their TF-IDF vectors, weighted with its square, the weights
        of a row together 1; none where no word or attribute is shared with any.
        """
        known = self._known
        if known is None or table.height == 0:
            return csr_array((table.height, self._n_items), dtype=np.float32)
        content = self._encoder.encode(table)
        rows, columns, weights = [], [], []
        for start in range(0, content.shape[0], _TILE):
            cosines = csr_array(content[start : start + _TILE] @ known)
            cosines.sort_indices()  # of equally near ones the first, in every run
            for row in range(cosines.shape[0]):
                some = slice(cosines.indptr[row], cosines.indptr[row + 1])
                near, like = cosines.indices[some], cosines.data[some].astype(np.float64)
                best = np.argsort(-like, kind="stable")[:_NEIGHBOURS]
                squares = like[best] ** 2
                rows.append(np.full(len(best), start + row))
                columns.append(self._rows[near[best]])
                weights.append(squares / max(squares.sum(), 1e-12))
        return csr_array(
            (
                np.concatenate(weights).astype(np.float32),
                (np.concatenate(rows), np.concatenate(columns)),
            ),
            (table.height, self._n_items),
        )
