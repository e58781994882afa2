"""The multinomial likelihood of what was chosen, with the last layer, a tile of rows at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

__all__ = ["multinomial"]

# Logits of one tile of rows stay below this many bytes.
_TILE_BYTES = 64 << 20
# Matrix units work on whole blocks; with 3,533 columns instead of 3,584 they are half as fast.
_BLOCK = 64


def multinomial(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    offsets: torch.Tensor,
    columns: torch.Tensor,
    values: torch.Tensor,
    tile_bytes: int = _TILE_BYTES,
) -> torch.Tensor:
    """The mean over rows u of -sum_i x_ui log softmax_i(W h_u + b) (Liang et al. 2018, equation 2).

    The gradients are made together with the loss, one tile of rows after the other, so that no
    matrix of rows × columns is ever held: three products of matrices, where `softmax`, which cuts
    the items into tiles instead and so takes any number of them, needs five. Inside
    `torch.autocast` matrices are multiplied in its type; the softmax is float32 always.

    Args:
        hidden: float [B, d], h.
        weight: float32 [n, d], W.
        bias: float32 [n], b.
        offsets, columns, values: the sparse rows x; row u holds `values` float32 in the different
            `columns` int64, both from `offsets[u]` to `offsets[u + 1]`, int64 [B + 1].
        tile_bytes: how much the logits of a tile may take.

    Returns:
        A scalar.
    """
    device = hidden.device.type
    low = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if low else torch.float32
    tile = max(1, tile_bytes // (4 * len(weight)))
    loss: torch.Tensor = _Multinomial.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, offsets, columns, values, tile, dtype
    )
    return loss


class _Multinomial(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        offsets: torch.Tensor,
        columns: torch.Tensor,
        values: torch.Tensor,
        tile: int,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        n_rows, n_columns = len(hidden), len(weight)
        padding = -n_columns % _BLOCK
        h = hidden.detach().to(dtype)
        w = functional.pad(weight.detach().to(dtype), (0, 0, 0, padding))
        b = functional.pad(bias.detach(), (0, padding), value=-torch.inf)
        for_hidden, for_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if for_hidden else None
        grad_weight: torch.Tensor | None = None
        grad_bias: torch.Tensor | None = None
        loss = hidden.new_zeros((), dtype=torch.float64)

        bounds = offsets.tolist()
        for start in range(0, n_rows, tile):
            stop = min(start + tile, n_rows)
            events = slice(bounds[start], bounds[stop])
            counts = offsets[start : stop + 1].diff()
            rows = torch.repeat_interleave(counts)
            x, chosen = values[events], (rows, columns[events])
            totals = torch.zeros(stop - start, 1, device=x.device)
            totals.index_put_((rows, torch.zeros_like(rows)), x, accumulate=True)

            p = (h[start:stop] @ w.T).float()
            p += b
            p -= p.amax(1, keepdim=True)
            said = p[chosen]
            sums = p.exp_().sum(1, keepdim=True)
            loss += (totals * sums.log()).sum(dtype=torch.float64)
            loss -= (x * said).sum(dtype=torch.float64)
            if not (for_hidden or for_weight):
                continue
            # From here on p is the gradient by the logits, (N_u softmax - x) / B.
            p *= totals / (sums * n_rows)
            p[chosen] -= x / n_rows
            g = p.to(dtype)
            if grad_hidden is not None:
                grad_hidden[start:stop] = g @ w
            if for_weight:
                by_weight, by_bias = (g.T @ h[start:stop]).float(), p.sum(0)
                grad_weight = by_weight if grad_weight is None else grad_weight.add_(by_weight)
                grad_bias = by_bias if grad_bias is None else grad_bias.add_(by_bias)
        ctx.gradients = (
            grad_hidden,
            None if grad_weight is None else grad_weight[:n_columns],
            None if grad_bias is None else grad_bias[:n_columns],
        )
        return (loss / n_rows).float()

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> Any:
        scaled = (None if g is None else g.mul_(outer[0]) for g in ctx.gradients)
        return *scaled, None, None, None, None, None
