"""Softmax over a sample of the items, corrected for how they were drawn."""

from __future__ import annotations

import torch

from tastemap.losses.reduction import average

__all__ = ["sampled_softmax"]


def sampled_softmax(
    positive: torch.Tensor,
    negative: torch.Tensor,
    log_q: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    positive_log_q: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean of -w (x_i - ln Ẑ), where Ẑ = e^{x_i} + (1/n) Σ_j e^{x_j} / q_j.

    Ẑ is an unbiased estimate of the sum of e^x over i and all items that can be drawn (Bengio &
    Senécal 2008, section III), so that for many draws this is the full softmax. Items that must not
    stand as negatives (accidental hits) are left out by the mask, and n counts what is left.

    With `positive_log_q` it is the loss for negatives of the batch of Yi et al. 2019
    ("Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", eq. 4): there
    the chosen item is one of the sample, and is corrected as all others are, x_i - ln q_i.

    Args:
        positive: float32 [B], the scores x_i.
        negative: float32 [B, n], the scores x_j.
        log_q: float32 [B, n], ln q_j, of one draw.
        mask: bool [B, n], the drawn items that count; None for all.
        positive_log_q: float32 [B], ln q_i, where i is one of the sample; None where it is not.
        weights: float32 [B], w of each chosen item; None for 1.

    Returns:
        A scalar; examples without a negative give 0.
    """
    corrected = negative - log_q
    if mask is None:
        count = positive.new_full(positive.shape, max(negative.shape[1], 1))
    else:
        corrected = torch.where(mask, corrected, torch.full_like(corrected, -torch.inf))
        count = mask.sum(1).clamp(min=1).to(positive.dtype)
    if positive_log_q is None:
        # The correction by n, which Yi et al. need not make: it is the same for the whole sample.
        corrected, own = corrected - count.log()[:, None], positive
    else:
        own = positive - positive_log_q
    return average(torch.logsumexp(torch.cat([own[:, None], corrected], 1), 1) - own, weights)
