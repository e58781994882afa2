"""How much of a click was the place at which a row was shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tastemap.ranking.parts.objectives import Objective

__all__ = ["Examined", "PositionBias"]

# Places further down share what is learned of them.
_PLACES = 200


class PositionBias(nn.Module):
    """What each place adds to the log-odds of a click: a shallow tower beside the network (Zhao et
    al. 2019, Recommending what video to watch next, section 4.3).

    It learns with the network and is thrown away then, since nobody has been shown anything yet
    when they ask. What an unknown place adds is always 0.

    Args:
        shape: of what a row is scored by: () for one number, (tasks,) for several.
    """

    def __init__(self, shape: Sequence[int] = ()) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.zeros(_PLACES, *shape))

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """float32 [B, …] of places int64 [B], from 1; 0 where a place is not known."""
        added = torch.cat([torch.zeros_like(self.places[:1]), self.places])
        return added[positions.clamp(max=_PLACES)]


class Examined(Objective):
    """An objective of scores to which the places of the rows have added their part.

    Args:
        objective: of some rows.
        positions: int64 [all rows], see `Labelled`.
        bias: what places add.
        dropout: share of the places, drawn anew each time, that are taken for unknown ones, a
            tenth in the paper. So the scores alone become right where no place is known.
    """

    def __init__(
        self, objective: Objective, positions: torch.Tensor, bias: PositionBias, dropout: float
    ) -> None:
        super().__init__(len(objective), objective.device)
        self.metric = objective.metric
        self.objective, self.positions = objective, positions
        self.bias, self.dropout = bias, dropout

    def batches(self, order: torch.Tensor, size: int) -> Sequence[torch.Tensor]:
        return self.objective.batches(order, size)

    def rows(self, examples: torch.Tensor) -> torch.Tensor:
        return self.objective.rows(examples)

    def loss(self, scores: torch.Tensor, examples: torch.Tensor) -> torch.Tensor:
        positions = self.positions[self.rows(examples)]
        if self.dropout > 0:
            kept = torch.rand(positions.shape, device=positions.device) >= self.dropout
            positions = positions * kept
        return self.objective.loss(scores + self.bias(positions), examples)
