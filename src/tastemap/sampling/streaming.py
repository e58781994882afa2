"""How often items come along in a stream of batches, without counting them all."""

from __future__ import annotations

import math

import numpy as np
import torch

__all__ = ["StreamingFrequency"]


class StreamingFrequency:
    """The probability that a batch holds an item, from the steps that go by between two of them.

    With h a hash of items, A the last step in which a slot came along and B the gap between two
    such steps, an item in the batch of step t moves

        B[h] ← (1 - α) B[h] + α (t - A[h]),    A[h] ← t,

    and p = 1 / B[h] (Yi et al. 2019, algorithm 2). Items that share a slot seem to come along more
    often than they do; so there are several hashes, and the longest of the gaps is taken (ibid.,
    algorithm 3). A change of the frequencies is followed, the faster the greater α.

    All items of a step see the A and B of before the step, so that a slot counts once a step,
    however many items of a batch fall into it.

    Args:
        slots: of each of the arrays, at least; rounded up to a power of two.
        hashes: how many of them.
        rate: α.
        first_gap: B to begin with, in steps.
        device: of the arrays and of the items.
    """

    def __init__(
        self,
        slots: int,
        *,
        hashes: int = 2,
        rate: float = 0.01,
        first_gap: float = 100.0,
        device: str | torch.device = "cpu",
    ) -> None:
        self.slots, self.rate, self.step = 1 << math.ceil(math.log2(slots)), rate, 0
        shape = (hashes, self.slots)
        self._last = torch.zeros(shape, device=device, dtype=torch.long)
        self._gaps = torch.full(shape, float(first_gap), device=device)
        drawn = np.random.default_rng(0).integers(1 << 62, size=hashes)
        self._multipliers = (2 * drawn + 1).tolist()

    def update(self, items: torch.Tensor) -> None:
        """One step with a batch of items, int64 [n]; repeats do not matter."""
        self.step += 1
        for number, place in enumerate(self._places(items)):
            gaps, last = self._gaps[number], self._last[number]
            # Items of one slot write the same number, so that their order does not matter.
            gaps[place] = torch.lerp(gaps[place], (self.step - last[place]).float(), self.rate)
            last[place] = self.step

    def probability(self, items: torch.Tensor) -> torch.Tensor:
        """The probability that a batch holds each of some items int64 [n], float32 [n], ≤ 1."""
        gaps = torch.stack(
            [self._gaps[number][place] for number, place in enumerate(self._places(items))]
        )
        return 1 / gaps.amax(0).clamp(min=1)

    def _places(self, items: torch.Tensor) -> list[torch.Tensor]:
        """The slots of items int64 [n] by each hash: upper bits of a product with an odd number
        (Dietzfelbinger et al. 1997)."""
        return [((items * odd) >> 32) & (self.slots - 1) for odd in self._multipliers]
