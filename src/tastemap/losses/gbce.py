"""Generalised binary cross-entropy, which corrects the overconfidence that drawn negatives cause.

Petrov & Macdonald 2023, "gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with
Negative Sampling" (RecSys).
"""

from __future__ import annotations

import torch

from tastemap.losses.bce import bce

__all__ = ["gbce", "gbce_exponent"]


def gbce(
    positive: torch.Tensor,
    negative: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    n_items: int,
    t: float = 0.75,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """`bce` with the probability of the chosen item to the power of β: -ln σ(x_i)^β.

    Args:
        positive: float32 [B], the logits x_i.
        negative: float32 [B, n], the logits x_j of items drawn uniformly.
        mask: bool [B, n], the drawn items that count; None for all.
        n_items: how many items there are, without the unknown one; of all but the chosen one n
            were drawn.
        t: from 0 (`bce`) to 1 (σ(x_i) learns the probability of the softmax), called calibration.
        weights: float32 [B], w of each chosen item; None for 1.

    Returns:
        A scalar.
    """
    beta = gbce_exponent(negative.shape[1], n_items, t)
    powers = positive.new_full(positive.shape, beta)
    return bce(positive, negative, mask, weights=powers if weights is None else powers * weights)


def gbce_exponent(n: int, n_items: int, t: float) -> float:
    """β = α (t (1 - 1/α) + 1/α), with α = n / (n_items - 1), the share of negatives drawn (eq. 9).

    Raises:
        ValueError: nothing is drawn, or more than there is.
    """
    if not 0 < n < n_items:
        raise ValueError(f"gbce: of {n_items - 1} negatives {n} cannot be drawn")
    rate = n / (n_items - 1)
    return rate * (t * (1 - 1 / rate) + 1 / rate)
