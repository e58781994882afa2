"""A denoising autoencoder of histories with a multinomial likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.retrieval.parts.autoencoders import (
    AutoencoderNetwork,
    HistoryAutoencoder,
    SparseLinear,
    SparseRows,
    one_pass,
)
from tastemap.training.module import ModuleTrainer, generator_of
from tastemap.training.schedule import lower_rate

__all__ = ["MultDAE"]


class _Network(AutoencoderNetwork):
    def __init__(self, n_items: int, hidden_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.input = SparseLinear(n_items, hidden_dim)
        self.bottleneck = nn.Linear(hidden_dim, latent_dim)
        self.expansion = nn.Linear(latent_dim, hidden_dim)
        self.output = nn.Linear(hidden_dim, n_items)
        self.start_linear_layers()

    def hidden(self, rows: SparseRows) -> torch.Tensor:
        code = torch.tanh(self.bottleneck(torch.tanh(self.input(rows))))
        return torch.tanh(self.expansion(code))


class MultDAE(HistoryAutoencoder):
    """Fills a history in from a part of it: the denoising sibling of `MultVAE` (Mult-DAE).

    Liang et al. (2018), section 2.2.1: with g and f one network from the history, scaled to length
    1 and with dropout, to the logits, it minimises

        - sum_i x_ui log softmax_i f(g(x_u)) + λ |weights|²

    where the paper's λ is `weight_decay` / 2. One hidden layer on either side of the bottleneck,
    tanh after each: items → hidden → latent → hidden → items.

    Attributes:
        network: encoder and decoder.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "multdae"
    paper: ClassVar[str] = (
        "Liang, Krishnan, Hoffman & Jebara 2018, Variational Autoencoders for Collaborative "
        "Filtering (WWW)"
    )

    hidden_dim: int = hyperparameter(
        default=600, help="width of the hidden layers", ge=1, le=65536, log=True
    )
    latent_dim: int = hyperparameter(
        default=200, help="width of the bottleneck", ge=1, le=65536, log=True
    )
    dropout: float = hyperparameter(
        default=0.5, help="share of a history that the encoder does not see", ge=0, lt=1
    )
    weight_decay: float = hyperparameter(
        default=0.01, help="penalty on half the squared weights", ge=0, log=True
    )
    epochs: int = hyperparameter(
        default=20, help="passes over the users", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=3e-3, help="Adam's first step size, falling to 0", gt=0, log=True
    )
    batch_size: int = hyperparameter(
        default=256, help="users in a step", ge=1, log=True, tuned=False
    )

    network: _Network = assigned_by_fit()

    def make_network(self) -> _Network:
        return _Network(len(self.data.items), self.hidden_dim, self.latent_dim)

    def _trainer(self, rows: SparseRows) -> ModuleTrainer:
        return _Trainer(self, rows)


class _Trainer(ModuleTrainer):
    network: _Network

    def __init__(self, model: MultDAE, rows: SparseRows) -> None:
        super().__init__(model.network)
        self.model, self.rows = model, rows
        # The paper penalises weights, not biases.
        groups = [
            {"params": [parameter], "weight_decay": model.weight_decay * (parameter.ndim > 1)}
            for parameter in self.network.parameters()
        ]
        self.optimizer = torch.optim.Adam(groups, lr=model.learning_rate, fused=True)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        generator = generator_of(rng, self.rows.values.device)
        lower_rate(self.optimizer, epoch, self.model.epochs)

        def loss(chosen: SparseRows) -> torch.Tensor:
            seen = chosen.unit_length().drop(self.model.dropout, generator)
            return self.network.loss(self.network.hidden(seen), chosen)

        size = self.model.batch_size
        return {"loss": one_pass(self.rows, size, generator, self.optimizer, loss)}
