"""How far apart two events are, in places and in time, as a number that attention adds."""

from __future__ import annotations

import torch
from torch import nn

from tastemap.nn.packing import Packing

__all__ = ["RelativeBias", "time_gaps"]

# As the authors of HSTU have them. A gap of 60 years falls into bucket 70.
_BUCKETS, _WIDTH = 128, 0.301
# Where SiLU and its derivative are 0.
_NEVER = -1e9


def time_gaps(times: torch.Tensor, packing: Packing) -> list[torch.Tensor]:
    """The bucket of the time between any two positions of a sequence,

        min(⌊ln(max(|t_i - t_j|, 1 second)) / 0.301⌋, 128)

    as in the code of Zhai et al. 2024. What all layers share is made once for a batch.

    Args:
        times: float64 [T], Unix seconds.
        packing: of the T positions.

    Returns:
        int32 [n, width, width], row i and column j, for each bucket of the packing.
    """

    def of_rows(rows: torch.Tensor) -> torch.Tensor:
        # Unix seconds need float64, their differences do not.
        gaps = (rows[:, :, None] - rows[:, None]).float().abs_().clamp_(min=1)
        return gaps.log_().div_(_WIDTH).clamp_(max=_BUCKETS).int()

    return [of_rows(rows) for rows in packing.pad(times)]


class RelativeBias(nn.Module):
    """A learned number for each distance in places, plus one for each bucket of time gaps.

    It is rab^{p,t} of Zhai et al. 2024, eq. 2. To what comes later it closes the way.

    Args:
        places: how many distances there are, from 0.
        timed: whether time counts.

    Attributes:
        of_places: float32 [places].
        of_times: float32 [129]; None where time does not count.
    """

    def __init__(self, places: int, timed: bool) -> None:
        super().__init__()
        self.of_places = nn.Parameter(torch.empty(places).normal_(std=0.02))
        self.of_times = nn.Parameter(torch.empty(_BUCKETS + 1).normal_(std=0.02)) if timed else None

    def forward(self, gaps: torch.Tensor) -> torch.Tensor:
        """float32 [n, width, width] (or [width, width] where time does not count) of time gaps
        int32 [n, width, width], row i and column j; -1e9 where j comes after i."""
        place = torch.arange(gaps.shape[-1], device=gaps.device)
        distances = place[:, None] - place
        bias = _look_up(self.of_places, distances.clamp(min=0)).masked_fill(distances < 0, _NEVER)
        return bias if self.of_times is None else _look_up(self.of_times, gaps) + bias


def _look_up(table: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    # Not `embedding`, whose gradient takes thirty times as long where so many share a row.
    return table.index_select(0, places.flatten()).view(places.shape)
