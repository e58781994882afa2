"""Histories as batches of packed sequences in which some items are hidden."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.data.histories import Histories, ranges
from tastemap.training.module import tensor_of
from tastemap.training.sequence_batches import SequenceBatch, SequenceBatches

__all__ = ["MaskedBatches"]


class MaskedBatches(SequenceBatches):
    """Windows of histories some of whose items are hidden, and asked for (Cloze).

    Args:
        histories: without unknown items.
        max_length: at least 2, of a window with the hidden positions.
        share: of the positions that are hidden, above 0.
        last_share: of the windows in which nothing but the last event is hidden.
        device: where the batches are made.
    """

    def __init__(
        self,
        histories: Histories,
        max_length: int,
        share: float,
        last_share: float,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__(histories, max_length, device)
        self.share, self.last_share = share, last_share

    def epoch(self, size: int, rng: np.random.Generator) -> Iterator[SequenceBatch]:
        """All events once, in batches of windows drawn from all histories, `size` events in each
        batch but the last; the targets are the hidden items."""
        for rows, lengths, events in self._drawn(self.histories.counts, size, rng):
            yield self._hide(rows, lengths, events, self._places(lengths, rng), for_training=True)

    def recent(self) -> SequenceBatch:
        """The last `max_length` - 1 events of each history that has any, and after them something
        hidden, which stands at the time of the newest event."""
        h = self.histories
        lengths = np.minimum(h.counts, self.max_length - 1)
        rows = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
        lengths = lengths[rows] + 1
        events = ranges(h.offsets[1:][rows] - lengths + 1, lengths)
        after = np.cumsum(lengths) - 1
        events[after] -= 1
        return self._hide(rows, lengths, events, after, for_training=False)

    def _places(self, lengths: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """The positions to hide in windows of these lengths [w], int64 [m].

        Their number is a share of the positions, not drawn for each by itself, so that m is the
        same for most batches: see `SequenceBatches.epoch`.
        """
        last_alone = rng.random(len(lengths)) < self.last_share
        anywhere = np.flatnonzero(np.repeat(~last_alone, lengths))
        n = int(np.ceil(self.share * len(anywhere)))
        drawn = rng.permutation(anywhere)[:n]
        return np.sort(np.concatenate([drawn, (np.cumsum(lengths) - 1)[last_alone]]))

    def _hide(
        self,
        rows: NDArray[np.int64],
        lengths: NDArray[np.int64],
        events: NDArray[np.int64],
        places: NDArray[np.int64],
        *,
        for_training: bool,
    ) -> SequenceBatch:
        targets = events[places] if for_training else None
        batch = self._batch(rows, lengths, events, targets)
        hidden = tensor_of(places, self.device)
        return replace(batch, items=batch.items.index_fill(0, hidden, 0), hidden=hidden)
