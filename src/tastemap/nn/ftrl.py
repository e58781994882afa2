"""FTRL-Proximal: steps for linear models that leave most weights exactly 0."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from tastemap.errors import ParameterError
from tastemap.nn.stepping import SteppingOptimizer

__all__ = ["FTRL"]


class FTRL(SteppingOptimizer):
    """Follow the regularized leader, proximal, with a rate for each weight (McMahan et al. 2013,
    algorithm 1).

        σ = (sqrt(n + g²) - sqrt(n)) / α        z += g - σ w        n += g²
        w = 0 where |z| ≤ λ₁, else -(z - sgn(z) λ₁) / ((β + sqrt(n)) / α + λ₂)

    Weights begin at 0, whatever stood there, as the algorithm says. Of a sparse gradient only the
    rows it holds are touched.

    Args:
        parameters: what is trained.
        learning_rate: α, > 0.
        beta: β, ≥ 0.
        l1, l2: λ₁ and λ₂, ≥ 0.

    Raises:
        ParameterError: a value out of its range.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        learning_rate: float = 0.1,
        *,
        beta: float = 1.0,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        if not learning_rate > 0 or min(beta, l1, l2) < 0:
            raise ParameterError(
                "FTRL: learning_rate must be > 0 and beta, l1 and l2 >= 0, got "
                f"{learning_rate!r}, {beta!r}, {l1!r} and {l2!r}"
            )
        defaults = {"lr": learning_rate, "beta": beta, "l1": l1, "l2": l2}
        super().__init__(list(parameters), defaults)
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    weight.zero_()
                    self.state[weight]["z"] = torch.zeros_like(weight)
                    self.state[weight]["n"] = torch.zeros_like(weight)

    def update(
        self,
        weight: torch.Tensor,
        gradient: torch.Tensor,
        state: dict[str, torch.Tensor],
        group: dict[str, Any],
    ) -> None:
        z, n = state["z"], state["n"]
        if not gradient.is_sparse:
            _update(weight, z, n, gradient, group)
            return
        gradient = gradient.coalesce()
        rows = gradient.indices()[0]
        some_w, some_z, some_n = weight[rows], z[rows], n[rows]
        _update(some_w, some_z, some_n, gradient.values(), group)
        weight[rows], z[rows], n[rows] = some_w, some_z, some_n


def _update(
    w: torch.Tensor, z: torch.Tensor, n: torch.Tensor, g: torch.Tensor, group: dict[str, Any]
) -> None:
    rate, l1 = group["lr"], group["l1"]
    grown = n + g.square()
    z += g - (grown.sqrt() - n.sqrt()) / rate * w
    n.copy_(grown)
    # Shrinking z towards 0 by λ₁ leaves 0 where |z| is below it.
    shrunk = z - z.clamp(-l1, l1)
    w.copy_(-shrunk / ((group["beta"] + n.sqrt()) / rate + group["l2"]))
