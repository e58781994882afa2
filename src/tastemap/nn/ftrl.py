"""FTRL-Proximal: steps for linear models that leave most weights exactly 0."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch.optim import Optimizer

from tastemap.errors import ParameterError

__all__ = ["FTRL"]


class FTRL(Optimizer):
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

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step along the gradients that stand in the parameters."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step(weight, group)
        return loss

    def _step(self, weight: torch.Tensor, group: dict[str, float]) -> None:
        z, n, gradient = self.state[weight]["z"], self.state[weight]["n"], weight.grad
        assert gradient is not None
        if not gradient.is_sparse:
            _update(weight, z, n, gradient, group)
            return
        gradient = gradient.coalesce()
        rows = gradient.indices()[0]
        some_w, some_z, some_n = weight[rows], z[rows], n[rows]
        _update(some_w, some_z, some_n, gradient.values(), group)
        weight[rows], z[rows], n[rows] = some_w, some_z, some_n


def _update(
    w: torch.Tensor, z: torch.Tensor, n: torch.Tensor, g: torch.Tensor, group: dict[str, float]
) -> None:
    rate, l1 = group["lr"], group["l1"]
    grown = n + g.square()
    z += g - (grown.sqrt() - n.sqrt()) / rate * w
    n.copy_(grown)
    # Shrinking z towards 0 by λ₁ leaves 0 where |z| is below it.
    shrunk = z - z.clamp(-l1, l1)
    w.copy_(-shrunk / ((group["beta"] + n.sqrt()) / rate + group["l2"]))
