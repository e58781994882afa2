"""Adagrad with one accumulator a row, for tables of embeddings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from tastemap.errors import ParameterError
from tastemap.nn.stepping import SteppingOptimizer

__all__ = ["RowwiseAdagrad"]


class RowwiseAdagrad(SteppingOptimizer):
    """Adagrad (Duchi et al. 2011) that adapts the step of a row, not of each of its numbers.

        G_r += mean_f(g_rf²)            w_r -= learning_rate × g_r / (sqrt(G_r) + epsilon)

    as in FBGEMM's tables of DLRM (Naumov et al. 2019; "exact row-wise Adagrad"). Its state is one
    float32 a row, where Adagrad keeps as much as the table, and Adam twice that. Of a sparse
    gradient only the rows it holds are touched, each once, with the sum of its parts.

    Args:
        parameters: tables [rows, dim].
        learning_rate: > 0.
        epsilon: keeps the first steps finite.
        start: what G_r begins with, ≥ 0.

    Raises:
        ParameterError: a learning rate or epsilon out of range, or a parameter that is no table.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        learning_rate: float = 0.05,
        epsilon: float = 1e-8,
        start: float = 0.0,
    ) -> None:
        if not learning_rate > 0 or not epsilon > 0 or not start >= 0:
            raise ParameterError(
                "RowwiseAdagrad: learning_rate and epsilon must be > 0 and start >= 0, "
                f"got {learning_rate!r}, {epsilon!r} and {start!r}"
            )
        tables = list(parameters)
        for table in tables:
            if table.dim() != 2:
                raise ParameterError(
                    f"RowwiseAdagrad is for tables [rows, dim], not for shape {tuple(table.shape)}"
                )
        super().__init__(tables, {"lr": learning_rate, "eps": epsilon})
        for table in tables:
            self.state[table]["sum"] = torch.full((len(table),), start, device=table.device)

    def update(
        self,
        weight: torch.Tensor,
        gradient: torch.Tensor,
        state: dict[str, torch.Tensor],
        group: dict[str, Any],
    ) -> None:
        total, rate, epsilon = state["sum"], group["lr"], group["eps"]
        if not gradient.is_sparse:
            total += gradient.square().mean(1)
            weight.addcdiv_(gradient, (total.sqrt() + epsilon)[:, None], value=-rate)
            return
        gradient = gradient.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        squares = total[rows] + values.square().mean(1)
        total[rows] = squares
        # The rows are distinct after coalescing, so that adding in any order gives the same.
        weight.index_add_(0, rows, values / (squares.sqrt() + epsilon)[:, None], alpha=-rate)
