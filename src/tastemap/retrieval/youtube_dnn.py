"""The candidate generator of YouTube: the next watch as a class, from the mean of the watched."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.nn.dropout import Dropout
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.prefix_means import prefix_means
from tastemap.retrieval.parts.chosen_objective import ChosenObjective
from tastemap.retrieval.parts.objectives import Objective
from tastemap.retrieval.parts.profiled import ProfiledNetwork, ProfiledRetriever
from tastemap.training.module import tensor_of
from tastemap.training.sequence_batches import SequenceBatch

__all__ = ["YouTubeDNN", "YouTubeDNNNetwork"]


class YouTubeDNNNetwork(ProfiledNetwork):
    """The mean of what was watched, the profile and the age of the example through ReLU layers.

    Args:
        data: whose times and user table it is about.
        items: the vectors of items as classes.
        watched: the vectors of items as what was watched; it has no column in common with `items`.
        layers: how many; the last is as wide as a vector, each before it twice as the next.
        dropout: share of hidden units that are dropped.
        hot_dropout: as for `ProfiledNetwork`.
    """

    def __init__(
        self,
        data: Dataset,
        items: EmbeddingTable,
        watched: EmbeddingTable,
        layers: int,
        dropout: float,
        hot_dropout: float,
    ) -> None:
        dim = items.weight.shape[1]
        super().__init__(data, dim, hot_dropout)
        self.items, self.watched = items, watched
        times = data.histories.times
        self.newest, self.span = float(times.max()), float(max(np.ptp(times), 1.0))
        widths = [2 * dim + 3, *(dim << layer for layer in reversed(range(layers)))]
        self.tower = nn.Sequential()
        for width, narrower in pairwise(widths):
            self.tower.extend([nn.Linear(width, narrower), nn.ReLU(), Dropout(dropout)])
        # No dropout of the vector itself.
        del self.tower[-1]
        for layer in self.tower:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def tables(self) -> list[EmbeddingTable]:
        return [self.items, self.watched]

    def summaries(self, batch: SequenceBatch) -> torch.Tensor:
        return prefix_means(self.watched(batch.items), batch.packing)

    def empty_summaries(self, n: int) -> torch.Tensor:
        return self.watched.weight.new_zeros(n, self.watched.weight.shape[1])

    def answers(
        self, summaries: torch.Tensor, profiles: torch.Tensor, as_of: torch.Tensor
    ) -> torch.Tensor:
        ages = self.ages(as_of)
        found: torch.Tensor = self.tower(torch.cat([summaries, profiles, ages], 1))
        return found

    def ages(self, as_of: torch.Tensor) -> torch.Tensor:
        """x, √x and x², float32 [n, 3], of ages x at moments float64 [n]: 0 at the newest event of
        the training set and after it, 1 at the oldest."""
        x = ((self.newest - as_of) / self.span).clamp(0, 1).float()
        return torch.stack([x, x.sqrt(), x.square()], 1)


class EqualUsers:
    """An objective in which no user counts more than that of n examples.

    Args:
        objective: that of the examples.
        histories: what is learned from.
        n: examples of a user.
        device: of the batches.
    """

    def __init__(self, objective: Objective, histories: Histories, n: int, device: str) -> None:
        self.objective = objective
        pairs = np.maximum(histories.counts - 1, 1)
        weights = np.minimum(1, n / pairs)
        # Of mean 1, so that the steps are as long as without.
        weights *= pairs.sum() / (weights * pairs).sum()
        self.weights = tensor_of(weights.astype(np.float32), device)

    def __call__(
        self, found: torch.Tensor, batch: SequenceBatch, generator: torch.Generator
    ) -> torch.Tensor:
        weights = self.weights[batch.rows][batch.packing.sequences]
        return self.objective(found, replace(batch, weights=weights), generator)


class YouTubeDNN(ProfiledRetriever, ChosenObjective):
    """What is watched next, as a class of its own among all items.

    Covington, Adams & Sargin (2016), section 3: the mean of the vectors of what was watched, with
    the profile and the age of the example, goes through layers of ReLU of which each is half as
    wide as the one before. What comes out, times the vector of an item as a class, scores the item;
    classes have a table of their own. Every watch is an example and is told from nothing but what
    came before it ("predicting future watch", figure 5b). That of very active users is held back:
    with `examples_per_user` a user with more examples than that counts as one with just as many
    (section 3.4 draws a fixed number of each user; here all are seen, with weights).

    The age of an example says when it was: x, √x and x² (section 4.1 feeds these powers) of the
    time between it and the newest event, so that the model need not take for everlasting what was
    popular once. A question is as old as its moment of asking, and thus 0 for whoever asks
    now, as in the paper's service.

    As published it is YouTubeDNN(objective="sampled_softmax", negatives=5000, max_length=50,
    item2vec_epochs=0); the default is the softmax over all items, and a mean of fewer, which
    tells better what is next.
    `hot_dropout` is ours: it hides the history at times, so that who has only a profile gets an
    answer that was learned. What is known of items has no part in it.

    Attributes:
        network: the two tables and the layers.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "youtubednn"
    paper: ClassVar[str] = (
        "Covington, Adams & Sargin 2016, Deep Neural Networks for YouTube Recommendations (RecSys)"
    )

    layers: int = hyperparameter(default=2, help="layers of the tower", ge=1, le=8)
    max_length: int = hyperparameter(
        default=10, help="events of a history that are averaged", ge=1, le=1 << 16, log=True
    )
    examples_per_user: int | None = hyperparameter(
        default=None, help="a user with more examples counts as one with as many", ge=1, log=True
    )
    dropout: float = hyperparameter(default=0.2, help="share of hidden units dropped", ge=0, lt=1)

    epochs: int = hyperparameter(
        default=6, help="passes over the events", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=5e-3, help="Adam's first step size, falling to 0", gt=0, log=True
    )
    batch_size: int = hyperparameter(
        default=1024, help="events in a step", ge=1, log=True, tuned=False
    )

    network: YouTubeDNNNetwork = assigned_by_fit()

    def make_network(self) -> YouTubeDNNNetwork:
        items, watched = self.item_table(), self.item_table(self.dim**-0.5)
        return YouTubeDNNNetwork(
            self.data, items, watched, self.layers, self.dropout, self.hot_dropout
        )

    def make_objective(self, histories: Histories, device: str) -> Objective:
        objective = super().make_objective(histories, device)
        if self.examples_per_user is None:
            return objective
        return EqualUsers(objective, histories, self.examples_per_user, device)
