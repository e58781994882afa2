"""What models of layers of attention have in common: how many, and how they are trained."""

from __future__ import annotations

import math

import numpy as np

from tastemap.hyperparameters import hyperparameter
from tastemap.retrieval.parts.next_item import SequenceRetriever

__all__ = ["AttentionLayers"]


# Dropout by how often items were chosen, on average: what was best on the validation parts of
# MovieLens 1M (267 times: 0.2) and Amazon Beauty (13: 0.4), and as good as others on that of
# MovieLens 100K (59: 0.3), lies on this line.
_DROPOUT, _OFTEN, _LESS_OFTEN, _MORE_DROPOUT = 0.2, 260.0, 4.5, 0.1
_LEAST_DROPOUT, _MOST_DROPOUT = 0.1, 0.5
# Passes, where nothing is dropped. On the validation part of Amazon Beauty 16 with a dropout of 0.4
# were better than 12.
_KEPT_PASSES = 10


class AttentionLayers(SequenceRetriever):
    """A sequence model of several layers of attention, which learn little from few steps, and learn
    by heart what they see of items that are seldom chosen."""

    blocks: int = hyperparameter(default=2, help="blocks of attention", ge=1, le=64)
    heads: int = hyperparameter(default=2, help="heads of an attention", ge=1, le=256)
    dropout: float | None = hyperparameter(
        default=None, help="share of dimensions dropped; none for 0.2 where items have 260 events "
        "on average, and 0.1 more for each time that they have 4.5 times fewer", ge=0, lt=1,
        search=(0.05, 0.6),
    )  # fmt: skip
    epochs: int | None = hyperparameter(
        default=None, help="passes over the events; none for so many that each dimension takes "
        "part in ten of them, 12 where a fifth is dropped", ge=1, log=True, tuned=False,
    )  # fmt: skip
    min_steps: int = hyperparameter(
        default=256, help="steps in a pass: with few events a step takes fewer than `batch_size`",
        ge=1, log=True, tuned=False,
    )  # fmt: skip

    def by_data(self) -> dict[str, float]:
        return {**super().by_data(), "dropout": self.dropout_share()}

    def passes(self) -> int:
        if self.epochs is not None:
            return self.epochs
        return int(_KEPT_PASSES / (1 - self.dropout_share()))

    def dropout_share(self) -> float:
        """The share of dimensions dropped, as given or by the data."""
        if self.dropout is not None:
            return self.dropout
        counts = self.data.item_counts
        often = counts.sum() / max(1, np.count_nonzero(counts))
        more = math.log(_OFTEN / max(often, 1.0)) / math.log(_LESS_OFTEN)
        share = _DROPOUT + _MORE_DROPOUT * more
        return round(min(max(share, _LEAST_DROPOUT), _MOST_DROPOUT), 2)
