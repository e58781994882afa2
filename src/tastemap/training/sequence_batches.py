"""Histories as batches of packed sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.data.histories import Histories, ranges
from tastemap.nn.packing import Packing
from tastemap.training.module import tensor_of

__all__ = ["SequenceBatch", "SequenceBatches"]


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """Some sequences laid one after the other, longest first; T positions in all.

    Attributes:
        packing: where each sequence stands.
        rows: int64 [n], the history that each sequence is of.
        items: int64 [T], item rows.
        times: float64 [T], Unix seconds.
        kinds: int64 [T], positions in the data set's `kind_names`.
        targets: int64 [T], the item row that came next, or [m], that was hidden; None where a batch
            is not for training.
        target_times: float64, when that was; None as well.
        weights: float32, of each target in the objective; None for 1.
        hidden: int64 [m], positions whose item row is hidden (0 stands there); None where nothing
            is.
    """

    packing: Packing
    rows: torch.Tensor
    items: torch.Tensor
    times: torch.Tensor
    kinds: torch.Tensor
    targets: torch.Tensor | None
    target_times: torch.Tensor | None = None
    weights: torch.Tensor | None = None
    hidden: torch.Tensor | None = None


class SequenceBatches:
    """Histories as packed sequences of at most `max_length` positions, without any padding.

    Training looks at all events: a history with more pairs of an event and its next one than
    `max_length` is cut into windows, at places that differ from epoch to epoch, so that each event
    is seen with contexts of many lengths. An answer looks at the last `max_length` events.

    Args:
        histories: without unknown items.
        max_length: ≥ 1.
        device: where the batches are made.
    """

    def __init__(
        self, histories: Histories, max_length: int, device: str | torch.device = "cpu"
    ) -> None:
        self.histories, self.max_length, self.device = histories, max_length, device

    def epoch(self, size: int, rng: np.random.Generator) -> Iterator[SequenceBatch]:
        """All pairs of an event and its next one, in batches of windows of all histories."""
        pairs = np.maximum(self.histories.counts - 1, 0)
        for rows, lengths, events in self._drawn(pairs, size, rng):
            yield self._batch(rows, lengths, events, events + 1)

    def _drawn(
        self, counts: NDArray[np.int64], size: int, rng: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """The first `counts` [n histories] events of each history once, in batches of windows: the
        history of each window, its length, both int64 [w], and the events of all, int64 [T].

        Every batch but the last has exactly `size` positions, for which a window at its end may be
        cut in two: a library for matrix units (oneDNN) compiles a kernel for each new shape, which
        takes as long as some products.
        """
        rows, first, lengths = self._windows(counts, rng)
        order = rng.permutation(len(rows))
        rows, first, lengths = rows[order], first[order], lengths[order]
        ends = np.cumsum(lengths)
        starts = np.union1d(ends - lengths, np.arange(0, lengths.sum(), size))
        window = np.searchsorted(ends, starts, side="right")
        first = first[window] + starts - (ends - lengths)[window]
        rows, lengths = rows[window], np.diff(starts, append=lengths.sum())
        edges = np.searchsorted(starts, np.arange(0, lengths.sum() + size, size))
        for begin, end in pairwise(edges):
            part = begin + np.argsort(-lengths[begin:end], kind="stable")
            yield rows[part], lengths[part], ranges(first[part], lengths[part])

    def recent(self) -> SequenceBatch:
        """The last `max_length` events of each history that has any."""
        h = self.histories
        lengths = np.minimum(h.counts, self.max_length)
        rows = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
        lengths = lengths[rows]
        events = ranges(h.offsets[1:][rows] - lengths, lengths)
        return self._batch(rows, lengths, events, None)

    def _windows(
        self, counts: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The history, the first event and the length of each window, int64 [w]."""
        h, width = self.histories, self.max_length
        # A history that is cut begins with a window of a random length, 1 to `width`.
        head = np.where(counts > width, rng.integers(1, width + 1, len(h)), width)
        n_windows = np.where(counts > 0, 1 + np.maximum(-(-(counts - head) // width), 0), 0)
        rows = np.repeat(np.arange(len(h)), n_windows)
        number = ranges(np.zeros_like(n_windows), n_windows)
        start = np.maximum(head[rows] + (number - 1) * width, 0)
        stop = np.minimum(head[rows] + number * width, counts[rows])
        return rows, h.offsets[rows] + start, stop - start

    def _batch(
        self,
        rows: NDArray[np.int64],
        lengths: NDArray[np.int64],
        events: NDArray[np.int64],
        targets: NDArray[np.int64] | None,
    ) -> SequenceBatch:
        h, device = self.histories, self.device
        return SequenceBatch(
            Packing.of(lengths, device),
            tensor_of(rows, device),
            tensor_of(h.items[events], device),
            tensor_of(h.times[events], device),
            tensor_of(h.kinds[events], device),
            None if targets is None else tensor_of(h.items[targets], device),
            None if targets is None else tensor_of(h.times[targets], device),
        )
