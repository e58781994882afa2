"""How the step size falls while a model is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["falling", "lower_rate"]


def falling(first: float, epoch: float, epochs: int) -> float:
    """The step size of an epoch, counted from 0, or of a moment within one: in a straight line to 0
    after the last one.

    Wherever it was measured here (`MatrixFactorization`, `BPR`, `SVDPP`, `MultVAE`, `CML`,
    `User2Vec`) it gives better models in fewer epochs than a constant one.
    """
    return first * (1 - epoch / epochs)


def lower_rate(optimizer: torch.optim.Optimizer, epoch: float, epochs: int) -> float:
    """Gives an optimizer the step size of an epoch, `falling` from the one that it was made with.

    Returns:
        The step size.
    """
    rate = falling(optimizer.defaults["lr"], epoch, epochs)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate
