"""A variational autoencoder of histories with a multinomial likelihood."""

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
    noisy,
    one_pass,
)
from tastemap.training.module import ModuleTrainer, generator_of
from tastemap.training.schedule import lower_rate

__all__ = ["MultVAE", "kl_to_standard_normal"]


class _Network(AutoencoderNetwork):
    def __init__(self, n_items: int, hidden_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.input = SparseLinear(n_items, hidden_dim)
        self.posterior = nn.Linear(hidden_dim, 2 * latent_dim)
        self.expansion = nn.Linear(latent_dim, hidden_dim)
        self.output = nn.Linear(hidden_dim, n_items)
        self.start_linear_layers()

    def encode(self, rows: SparseRows) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log of the variance of q(z | x), float32 [n, latent] each."""
        mean, log_variance = self.posterior(torch.tanh(self.input(rows))).float().chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """What the last layer makes the logits of, [n, hidden]."""
        return torch.tanh(self.expansion(z))

    def hidden(self, rows: SparseRows) -> torch.Tensor:
        return self.decode(self.encode(rows)[0])


class MultVAE(HistoryAutoencoder):
    """A history as a draw from a multinomial whose logits come from a latent taste (Mult-VAE).

        z_u ~ N(0, I),   π_u = softmax(f(z_u)),   x_u ~ Mult(N_u, π_u)

    Liang et al. (2018): a network g guesses the posterior q(z_u | x_u) = N(μ_u, diag σ_u²) from the
    history, scaled to length 1 and with dropout. Each batch is a step up the bound of equation 6,

        E_q [sum_i x_ui log π_ui] - β KL(q(z_u | x_u) | N(0, I)),

    with one draw of z_u. β grows with the steps from 0 to its cap (section 2.2.2). Both networks
    have one hidden layer with tanh: items → hidden → latent → hidden → items. An answer takes z = μ
    and ranks by f(z).

    Attributes:
        network: encoder and decoder.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "multvae"
    paper: ClassVar[str] = (
        "Liang, Krishnan, Hoffman & Jebara 2018, Variational Autoencoders for Collaborative "
        "Filtering (WWW)"
    )

    hidden_dim: int = hyperparameter(
        default=600, help="width of the hidden layers", ge=1, le=65536, log=True
    )
    latent_dim: int = hyperparameter(
        default=200, help="length of the latent vector", ge=1, le=65536, log=True
    )
    dropout: float = hyperparameter(
        default=0.5, help="share of a history that the encoder does not see", ge=0, lt=1
    )
    beta: float = hyperparameter(default=0.4, help="cap of β, the weight of the KL term", ge=0)
    annealing: float = hyperparameter(
        default=0.8, help="share of all steps over which β grows to its cap", ge=0, le=1
    )
    epochs: int = hyperparameter(
        default=30, help="passes over the users", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=2e-3, help="Adam's first step size, falling to 0", gt=0, log=True
    )
    batch_size: int = hyperparameter(
        default=128, help="users in a step", ge=1, log=True, tuned=False
    )

    network: _Network = assigned_by_fit()

    def make_network(self) -> _Network:
        return _Network(len(self.data.items), self.hidden_dim, self.latent_dim)

    def _trainer(self, rows: SparseRows) -> ModuleTrainer:
        steps = self.epochs * -(-len(rows) // self.batch_size)
        return _Trainer(self, rows, annealing_steps=self.annealing * steps)


class _Trainer(ModuleTrainer):
    network: _Network

    def __init__(self, model: MultVAE, rows: SparseRows, annealing_steps: float) -> None:
        super().__init__(model.network)
        self.model, self.rows, self.annealing_steps = model, rows, annealing_steps
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=model.learning_rate, fused=True
        )
        self.step = 0

    def beta(self) -> float:
        """β of the current step."""
        return self.model.beta * min(1.0, self.step / max(self.annealing_steps, 1.0))

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        generator = generator_of(rng, self.rows.values.device)
        lower_rate(self.optimizer, epoch, self.model.epochs)

        def loss(chosen: SparseRows) -> torch.Tensor:
            seen = chosen.unit_length().drop(self.model.dropout, generator)
            mean, log_variance = self.network.encode(seen)
            z = noisy(mean, log_variance, generator)
            kl = kl_to_standard_normal(mean, log_variance).mean()
            self.step += 1
            return self.network.loss(self.network.decode(z), chosen) + self.beta() * kl

        size = self.model.batch_size
        return {"loss": one_pass(self.rows, size, generator, self.optimizer, loss)}


def kl_to_standard_normal(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL(N(μ, diag σ²) | N(0, I)) of each row of [n, d], float32 [n]."""
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1)
