"""Vectors of users by their histories, with the items of matrix factorization held fixed: the
losses that have no kernel for it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import softplus

from tastemap.data.histories import Histories
from tastemap.kernels.mf_fold_in import mse_fold_in
from tastemap.losses.softmax import softmax_losses
from tastemap.retrieval.matrix_factorization_torch import propensity_weights
from tastemap.retrieval.matrix_factorization_training import Settings
from tastemap.retrieval.parts.torch_fold_in import Pairs, fold_in
from tastemap.sampling.popularity import popularity_of

__all__ = ["huber_fold_in", "ranking_fold_in"]

_HUBER_STEPS = 20


def huber_fold_in(
    histories: Histories,
    values: NDArray[np.float32],
    vectors: NDArray[np.float32],
    biases: NDArray[np.float32],
    penalty: float,
    bias_penalty: float,
    delta: float = 1.0,
) -> NDArray[np.float32]:
    """Where Huber's loss is least over p_u and b_u, float32 [B, k+1]; b_u comes last.

    By modified residuals (Huber 1981, Robust Statistics, section 7.8): errors beyond δ are cut to
    δ, the squared error is minimised for what is then the rating, and so on. Each of the 20 steps
    lowers the loss; they come the closer the fewer errors are beyond δ.

    Args:
        histories: [B], without unknown items.
        values: float32 [m], ratings less the mean of all.
        vectors, biases: float32 [item rows, k] and [item rows].
        penalty, bias_penalty: > 0, each times the events of a history.
        delta: δ.
    """
    h, rows = histories, histories.rows_of_events()
    wanted = values
    for _ in range(_HUBER_STEPS):
        found: NDArray[np.float32] = mse_fold_in(
            h.offsets, h.items, wanted, vectors, biases, penalty, bias_penalty
        )
        dots = np.einsum("ef,ef->e", found[rows, :-1], vectors[h.items])
        predicted = dots + found[rows, -1] + biases[h.items]
        wanted = predicted + np.clip(values - predicted, -delta, delta)
    return found


def ranking_fold_in(
    histories: Histories,
    settings: Settings,
    learned: NDArray[np.float32],
    vectors: NDArray[np.float32],
    biases: NDArray[np.float32],
    counts: NDArray[np.int64],
) -> NDArray[np.float32]:
    """The vectors p_u, and b_u last, that minimise what training minimised, float32 [B, k+1].

    The same steps of Adam are taken for all (`torch_fold_in.fold_in`). Where training drew
    negatives, so does this, uniformly, and each counts as often as the sampler would have drawn it
    (hard negatives as uniform ones). For the sampled softmax, whose negatives stand for all items,
    it is the softmax over all items.

    Args:
        histories: [B], without unknown items.
        settings: what training minimised.
        learned: float32 [users, k+1], vectors and biases of users that training has learned; steps
            are as large as these differ.
        vectors, biases: float32 [item rows, k] and [item rows].
        counts: int64 [item rows], events in the training data.
    """
    Q, c = torch.from_numpy(vectors), torch.from_numpy(biases)
    weights = torch.from_numpy(propensity_weights(counts, settings.propensity_exponent))
    exponent = {"popularity": settings.popularity_exponent, "in_batch": 1.0}.get(
        settings.sampler, 0.0
    )
    drawn = (popularity_of(torch.from_numpy(counts), exponent) * (len(Q) - 1)).float()
    whole = settings.loss in ("softmax", "sampled_softmax")
    unknown = torch.zeros(len(Q))
    unknown[0] = -torch.inf

    def losses(users: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        # Not users[pairs.rows], whose gradient is added up in an order that threads decide.
        own = users.index_select(0, pairs.rows)
        p, b = own[:, :-1], own[:, -1]
        penalty = settings.regularization * p.square().sum(1)
        penalty = (penalty + settings.bias_regularization * b.square()) / 2
        weight = weights[pairs.positives]
        if whole:
            cost = softmax_losses(users[:, :-1], Q, pairs.positives, c + unknown, rows=pairs.rows)
            return weight * cost + penalty
        positive = (p * Q[pairs.positives]).sum(1) + c[pairs.positives]
        negative = (p[:, None] * Q[pairs.negatives]).sum(2) + c[pairs.negatives]
        often = drawn[pairs.negatives]
        if settings.loss == "bpr":
            return weight * (often * softplus(negative - positive[:, None])).mean(1) + penalty
        positive, negative = positive + b, negative + b[:, None]
        return weight * softplus(-positive) + (often * softplus(negative)).sum(1) + penalty

    scale = torch.from_numpy(learned).std(0, unbiased=False)
    found: NDArray[np.float32] = fold_in(
        histories,
        losses,
        start=torch.zeros_like(scale),
        scale=scale,
        n_items=len(Q),
        negatives=0 if whole else settings.negatives,
        seed=settings.seed,
        prior=0.0,
    ).numpy()
    return found
