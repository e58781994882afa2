"""A variational autoencoder of histories with a composite prior and alternating training."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

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

__all__ = ["RecVAE", "composite_prior", "log_normal"]

# Shares of the standard normal, the old posterior and the wide normal in the composite prior, and
# the wide one's log-variance: those of the authors' published experiments.
_SHARES = (3 / 20, 3 / 4, 1 / 10)
_WIDE = 10.0
# The authors' ε of layer normalisation, much above the usual one.
_LAYER_NORM_EPS = 0.1


class _Encoder(nn.Module):
    """Five hidden layers, each fed with the sum of all before it."""

    def __init__(self, n_items: int, hidden_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.input = SparseLinear(n_items, hidden_dim)
        self.layers = nn.ModuleList(nn.Linear(hidden_dim, hidden_dim) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_dim, eps=_LAYER_NORM_EPS) for _ in range(5))
        self.posterior = nn.Linear(hidden_dim, 2 * latent_dim)

    def forward(self, rows: SparseRows) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log of the variance of q(z | x), float32 [n, latent] each."""
        h = self.norms[0](functional.silu(self.input(rows)))
        before = h
        for layer, norm in zip(self.layers, self.norms[1:], strict=True):
            h = norm(functional.silu(layer(h) + before))
            before = before + h
        mean, log_variance = self.posterior(h).float().chunk(2, dim=1)
        return mean, log_variance


class _Network(AutoencoderNetwork):
    def __init__(self, n_items: int, hidden_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.encoder = _Encoder(n_items, hidden_dim, latent_dim)
        self.output = nn.Linear(latent_dim, n_items)

    def hidden(self, rows: SparseRows) -> torch.Tensor:
        mean: torch.Tensor = self.encoder(rows)[0]
        return mean


class RecVAE(HistoryAutoencoder):
    """`MultVAE` with a better encoder, prior and training (RecVAE, Shenbin et al. 2020).

    - The encoder is densely connected: each of its hidden layers adds the outputs of all before it,
      with swish and layer normalisation (section 3.2, figure 2). The decoder is one linear layer.
    - The prior of a user's z mixes N(0, I), the posterior that the encoder of the round before gave
      the user, and a wide normal (section 3.3, equation 8).
    - The weight of a user's KL term is β' = γ N_u, with N_u the length of the history
      (section 3.4, equation 11).
    - Each epoch is a round of alternating training (section 3.5, algorithm 1): `encoder_passes`
      passes over the users that move the encoder, its input with dropout; then the encoder becomes
      the old one; then a pass that moves the decoder, its input whole and without a KL term.

    An answer takes the mean of the posterior and ranks by the decoder's logits.

    Attributes:
        network: encoder and decoder.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "recvae"
    paper: ClassVar[str] = (
        "Shenbin, Alekseev, Tutubalina, Malykh & Nikolenko 2020, RecVAE: A New Variational "
        "Autoencoder for Top-N Recommendations with Implicit Feedback (WSDM)"
    )

    hidden_dim: int = hyperparameter(
        default=600, help="width of the encoder's hidden layers", ge=1, le=65536, log=True
    )
    latent_dim: int = hyperparameter(
        default=200, help="length of the latent vector", ge=1, le=65536, log=True
    )
    dropout: float = hyperparameter(
        default=0.5, help="share of a history that the encoder does not see", ge=0, lt=1
    )
    gamma: float = hyperparameter(
        default=0.01, help="γ, the weight of the KL term for each item of a history", ge=0
    )
    encoder_passes: int = hyperparameter(
        default=1, help="passes that move the encoder for one that moves the decoder", ge=1
    )
    epochs: int = hyperparameter(
        default=40, help="rounds of alternating training", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=1.5e-3, help="Adam's first step size, falling to 0", gt=0, log=True
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

    def __init__(self, model: RecVAE, rows: SparseRows) -> None:
        super().__init__(model.network)
        self.model, self.rows = model, rows
        rate = model.learning_rate
        encoder, output = self.network.encoder, self.network.output
        self.for_encoder = torch.optim.Adam(encoder.parameters(), lr=rate, fused=True)
        self.for_decoder = torch.optim.Adam(output.parameters(), lr=rate, fused=True)
        self.old_encoder = copy.deepcopy(encoder)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        generator = generator_of(rng, self.rows.values.device)
        for optimizer in (self.for_encoder, self.for_decoder):
            lower_rate(optimizer, epoch, self.model.epochs)
        size, encoder, output = self.model.batch_size, self.network.encoder, self.network.output

        def encoder_loss(chosen: SparseRows) -> torch.Tensor:
            whole = chosen.unit_length()
            mean, log_variance = encoder(whole.drop(self.model.dropout, generator))
            z = noisy(mean, log_variance, generator)
            with torch.no_grad():
                old = self.old_encoder(whole)
            kl = (log_normal(z, mean, log_variance) - composite_prior(z, *old)).sum(dim=1)
            weights = self.model.gamma * chosen.row_sums()
            return self.network.loss(z, chosen) + (weights * kl).mean()

        def decoder_loss(chosen: SparseRows) -> torch.Tensor:
            with torch.no_grad():
                mean, log_variance = encoder(chosen.unit_length())
                z = noisy(mean, log_variance, generator)
            return self.network.loss(z, chosen)

        output.requires_grad_(False)
        for _ in range(self.model.encoder_passes):
            loss = one_pass(self.rows, size, generator, self.for_encoder, encoder_loss)
        output.requires_grad_(True)
        self.old_encoder.load_state_dict(encoder.state_dict())
        decoder = one_pass(self.rows, size, generator, self.for_decoder, decoder_loss)
        return {"loss": loss, "decoder_loss": decoder}


def composite_prior(
    z: torch.Tensor, old_mean: torch.Tensor, old_log_variance: torch.Tensor
) -> torch.Tensor:
    """The log-density of each coordinate of z under the mixture, from and to float32 [n, d]."""
    zero = torch.zeros_like(z)
    parts = (
        log_normal(z, zero, zero),
        log_normal(z, old_mean, old_log_variance),
        log_normal(z, zero, zero + _WIDE),
    )
    shares = (math.log(share) for share in _SHARES)
    return torch.logsumexp(torch.stack([p + s for p, s in zip(parts, shares, strict=True)]), dim=0)


def log_normal(z: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """log N(z; μ, σ²) of each coordinate, from and to float32 [n, d]."""
    squares = (z - mean).square() / log_variance.exp()
    return -0.5 * (math.log(2 * math.pi) + log_variance + squares)
