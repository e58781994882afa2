"""Networks of rankers: one, several of one kind side by side, and one for each task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import nn

from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TensorBatch

__all__ = ["Members", "RankingNetwork", "SharedBottom"]


class RankingNetwork(nn.Module, ABC):
    """From the vectors of a row's features to the log-odds of a click.

    Args:
        fields: makes the vectors.
    """

    def __init__(self, fields: Fields) -> None:
        super().__init__()
        self.fields = fields

    @abstractmethod
    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        """float32 [B], or [B, tasks], of a batch and its vectors [B, fields, dim]; with a last
        axis more where several numbers learn, of which `said` and `answer` know."""

    def forward(self, batch: TensorBatch) -> torch.Tensor:
        """The log-odds, float32 [B], or [B, tasks] of several."""
        return self.answer(self.logits(batch, self.vectors(batch)))

    def vectors(self, batch: TensorBatch) -> torch.Tensor:
        """What `logits` takes, which training holds back."""
        found: torch.Tensor = self.fields(batch)
        return found

    def learning(self) -> Sequence[RankingNetwork]:
        """The networks that learn, each by the loss of what it says itself."""
        return (self,)

    def said(self, scores: torch.Tensor) -> Sequence[torch.Tensor]:
        """All numbers that learn, each by its own loss, of what `logits` gave."""
        return (scores,)

    def answer(self, scores: torch.Tensor) -> torch.Tensor:
        """The log-odds, float32 [B] or [B, tasks], of what `logits` gave."""
        return scores


class Members(RankingNetwork):
    """Networks of one kind that learn from the same batches, each from first values and with
    dropout of its own; the answer is the mean of their log-odds (Lakshminarayanan et al. 2017,
    Simple and scalable predictive uncertainty estimation using deep ensembles).

    What one has learned of a user's few rows by chance the others have not, so that the mean is
    better than any of them. Each learns by its own loss, since members that are only right together
    are not better than one large network (Gorishniy et al. 2024, TabM).

    Args:
        networks: the members.
    """

    def __init__(self, networks: list[RankingNetwork]) -> None:
        # Fields are those of the members.
        nn.Module.__init__(self)
        self.networks = nn.ModuleList(networks)

    def vectors(self, batch: TensorBatch) -> torch.Tensor:
        return torch.stack([network.vectors(batch) for network in self.learning()])

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        """float32 [B, members], or [B, tasks, members], of vectors [members, B, fields, dim]."""
        pairs = zip(self.learning(), vectors, strict=True)
        return torch.stack([network.logits(batch, own) for network, own in pairs], -1)

    def learning(self) -> Sequence[RankingNetwork]:
        return [network for network in self.networks if isinstance(network, RankingNetwork)]

    def said(self, scores: torch.Tensor) -> Sequence[torch.Tensor]:
        pairs = zip(self.learning(), scores.unbind(-1), strict=True)
        return [each for network, own in pairs for each in network.said(own)]

    def answer(self, scores: torch.Tensor) -> torch.Tensor:
        pairs = zip(self.learning(), scores.unbind(-1), strict=True)
        return torch.stack([network.answer(own) for network, own in pairs], -1).mean(-1)


class SharedBottom(RankingNetwork):
    """A network for each of several tasks, over the same vectors (Caruana 1997, Multitask learning;
    Ma et al. 2018, Entire space multi-task model, share just these).

    Args:
        networks: one for each task; all get the vectors that the first one has made.
    """

    def __init__(self, networks: list[RankingNetwork]) -> None:
        super().__init__(networks[0].fields)
        for network in networks:
            del network.fields
        self.networks = nn.ModuleList(networks)

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        found = []
        for network in self.networks:
            assert isinstance(network, RankingNetwork)
            found.append(network.logits(batch, vectors))
        return torch.stack(found, 1)

    def said(self, scores: torch.Tensor) -> Sequence[torch.Tensor]:
        return self._first.said(scores)

    def answer(self, scores: torch.Tensor) -> torch.Tensor:
        return self._first.answer(scores)

    @property
    def _first(self) -> RankingNetwork:
        """All are of one kind."""
        first = self.networks[0]
        assert isinstance(first, RankingNetwork)
        return first
