"""How much each event of a history says about a candidate."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

__all__ = ["ActivationUnit", "CandidateAttention", "DotAttention"]


class CandidateAttention(nn.Module, ABC):
    """Weights of events. Histories lie one after the other, so that nothing is padded."""

    @abstractmethod
    def forward(
        self, events: torch.Tensor, candidates: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        """float [m], the weight of each event.

        Args:
            events: float [m, dim], vectors of the events of all histories.
            candidates: float [B, dim], a vector of the candidate of each row.
            rows: int64 [m], the row whose history has the event, in rising order.
        """


class ActivationUnit(CandidateAttention):
    """w · f(A e + C c + P (e ∘ c) + b) + b', not made to add up to 1, so that the sum of a history
    says how much of it speaks for the candidate (Zhou et al. 2018, section 4.3 and figure 2).

    The difference of the two, which the authors' program gives to the layer too, is left out: a
    linear layer over both has it already.

    Args:
        dim: of the vectors.
        hidden: width of the layer; 36 in the paper.
        activation: f, of that width.
    """

    def __init__(self, dim: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.of_event = nn.Linear(dim, hidden)
        self.of_candidate = nn.Linear(dim, hidden, bias=False)
        self.of_product = nn.Linear(dim, hidden, bias=False)
        self.activation, self.output = activation, nn.Linear(hidden, 1)

    def forward(
        self, events: torch.Tensor, candidates: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        products = events * candidates.index_select(0, rows)
        # The candidate's part is computed once a row.
        of_candidate = self.of_candidate(candidates).index_select(0, rows)
        found = self.of_event(events) + self.of_product(products) + of_candidate
        weights: torch.Tensor = self.output(self.activation(found)).squeeze(1)
        return weights


class DotAttention(CandidateAttention):
    """softmax over a history of e · M c / √dim.

    Args:
        dim: of the vectors.

    Attributes:
        matrix: float32 [dim, dim], M, at first √dim times the identity.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(dim) * dim**0.5)

    def forward(
        self, events: torch.Tensor, candidates: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        wanted = candidates @ self.matrix.T * len(self.matrix) ** -0.5
        x = (events * wanted.index_select(0, rows)).sum(1)
        highest = x.new_zeros(len(candidates)).scatter_reduce(
            0, rows, x.detach(), "amax", include_self=False
        )
        likelihoods = (x - highest.index_select(0, rows)).exp()
        totals = x.new_zeros(len(candidates)).index_add(0, rows, likelihoods)
        weights: torch.Tensor = likelihoods / totals.index_select(0, rows)
        return weights

    def attended(self, events: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """The weighed sums, float [n, dim], of one history [h, dim] for candidates [n, dim]; 0 for
        an empty one."""
        # Events are fewer than candidates.
        keys = events @ self.matrix * len(self.matrix) ** -0.5
        found: torch.Tensor = (candidates @ keys.T).softmax(1) @ events
        return found
