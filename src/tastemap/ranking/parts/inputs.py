"""Features as the tensors that networks take, encoded once and taken apart batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.features.batch import FeatureBatch, Ragged
from tastemap.features.schema import Categorical, MultiValued, Schema
from tastemap.nn.attribute_bag import SparseRows
from tastemap.training.module import tensor_of

__all__ = ["Inputs", "TableLayout", "TensorBatch", "rows_of", "side_by_side"]


@dataclass(frozen=True)
class TableLayout:
    """Where each feature's values stand in the one table of all of them.

    Row 0 is the unknown of every feature. Sequences share the rows of the feature they are of.

    Attributes:
        before: by categorical and multi-valued feature and by sequence, what is added to its rows.
        sizes: how many values each such feature has, in order, without the unknown.
    """

    before: dict[str, int]
    sizes: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Rows of the table, with that of the unknown."""
        return sum(self.sizes) + 1

    @classmethod
    def of(cls, schema: Schema) -> TableLayout:
        features: tuple[Categorical | MultiValued, ...] = (
            *schema.categorical, *schema.multi_valued
        )  # fmt: skip
        sizes = tuple(feature.size - 1 for feature in features)
        names = (feature.name for feature in features)
        before = dict(zip(names, accumulate(sizes, initial=0), strict=False))
        shared = {sequence.name: before[sequence.of] for sequence in schema.sequences}
        return cls({**before, **shared}, sizes)


@dataclass(frozen=True, eq=False)
class TensorBatch:
    """The features of B rows.

    Attributes:
        rows: int64 [B, categorical], of the table.
        bags: offsets int64 [B × several + 1], rows of the table int64 [m] and weights float32 [m]
            of the multi-valued features and sequences, those of one row side by side; the weights
            of each make a mean over the known values. None where there are no such features.
        numbers: float32 [B, numeric], NaN where missing.
        vectors: float32 [B, size] for each vector, NaN where missing.
    """

    rows: torch.Tensor
    bags: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None
    numbers: torch.Tensor
    vectors: tuple[torch.Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)


class Inputs:
    """The features of n rows on a device.

    Args:
        features: the rows.
        device: where to.
    """

    def __init__(self, features: FeatureBatch, device: str | torch.device) -> None:
        layout = TableLayout.of(features.schema)
        starts = [layout.before[feature.name] for feature in features.schema.categorical]
        rows = rows_of(features.categorical, np.array(starts, np.int64))
        self._rows = tensor_of(rows, device)
        self._numbers = tensor_of(features.numeric, device)
        self._vectors = [tensor_of(vectors, device) for vectors in features.vectors]
        names = [
            *(feature.name for feature in features.schema.multi_valued),
            *(sequence.name for sequence in features.schema.sequences),
        ]
        lists = (*features.multi_valued, *features.sequences)
        self._several = torch.arange(len(lists), device=device)
        if lists:
            starts = [layout.before[name] for name in names]
            offsets, rows, weights = side_by_side(lists, starts)
            bags = csr_array((weights, rows, offsets), shape=(len(offsets) - 1, layout.rows))
            self._bags = SparseRows(bags).to(device)

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, index: torch.Tensor) -> TensorBatch:
        """The rows at places `index`, int64 [B]."""
        bags = None
        if len(self._several):
            bags = self._bags.take((index[:, None] * len(self._several) + self._several).flatten())
        return TensorBatch(
            self._rows.index_select(0, index),
            bags,
            self._numbers.index_select(0, index),
            tuple(vectors.index_select(0, index) for vectors in self._vectors),
        )


def rows_of(values: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the table of values of categorical features, int64 [n, features], where that of the
    unknown, 0, is the same for all.

    Args:
        values: int64 [n, features].
        starts: int64 [features], what is added to each feature's.
    """
    rows: NDArray[np.int64] = (values + starts) * (values > 0)
    return rows


def side_by_side(
    lists: tuple[Ragged, ...], starts: list[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Bags of rows of the table whose sums are means: bag i × len(lists) + f is list i of feature
    f, without what is unknown.

    Args:
        lists: of each feature, [n].
        starts: what is added to each feature's rows.

    Returns:
        offsets int64 [n × len(lists) + 1], rows int64 [m] and weights float32 [m].
    """
    parts = []
    for place, (ragged, start) in enumerate(zip(lists, starts, strict=True)):
        of = np.repeat(np.arange(len(ragged)), ragged.counts)
        known = ragged.rows > 0
        parts.append((of[known] * len(lists) + place, ragged.rows[known] + start))
    bags = np.concatenate([bag for bag, _ in parts])
    rows = np.concatenate([row for _, row in parts])
    order = np.argsort(bags, kind="stable")
    bags, rows = bags[order], rows[order]
    counts: NDArray[np.int64] = np.bincount(bags, minlength=len(lists[0]) * len(lists))
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return offsets, rows, (1 / counts[bags]).astype(np.float32)
