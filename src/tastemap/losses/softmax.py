"""Softmax over all items, without ever holding the scores of a batch for all items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from tastemap.losses.reduction import average

__all__ = ["softmax", "softmax_losses"]

# Scores of one tile of items, float32, stay below this many bytes.
_TILE_BYTES = 32 << 20


def softmax(
    queries: torch.Tensor,
    items: torch.Tensor,
    targets: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    rows: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
    tile: int | None = None,
) -> torch.Tensor:
    """The mean of -w ln(e^{x_i} / Σ_j e^{x_j}), x_j = u·v_j + c_j, over the chosen items i.

    Equal to `torch.nn.functional.cross_entropy(queries @ items.T + bias, targets)` in value and
    gradient.

    Args:
        queries: float32 or bfloat16 [B, dim], u.
        items: the same [N, dim], v of all items that compete.
        targets: int64 [m], the chosen items, as rows of `items`.
        bias: float32 [N], c; None for 0. With -inf an item does not compete.
        rows: int64 [m], whose each target is, as rows of `queries`; None where m = B and target b
            is that of query b.
        weights: float32 [m], w of each target; None for 1.
        tile: items at a time; None for what 32 MiB hold.

    Returns:
        A scalar.
    """
    return average(softmax_losses(queries, items, targets, bias, rows=rows, tile=tile), weights)


def softmax_losses(
    queries: torch.Tensor,
    items: torch.Tensor,
    targets: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    rows: torch.Tensor | None = None,
    tile: int | None = None,
) -> torch.Tensor:
    """-ln(e^{x_i} / Σ_j e^{x_j}) of each target, float32 [m] (float64 for such inputs).

    The sum is computed once for a query, however many of its items were chosen, and in float32
    whatever the inputs are. Memory beyond inputs and gradients is B × tile; the backward pass
    computes the tiles once more.

    Args:
        queries, items, targets, bias, rows, tile: as for `softmax`.
    """
    if tile is None:
        tile = max(1, _TILE_BYTES // (4 * max(len(queries), 1)))
    if rows is None:
        rows = torch.arange(len(queries), device=queries.device)
    apply: Any = _Softmax.apply
    result: torch.Tensor = apply(queries, items, targets, bias, rows, tile)
    return result


class _Softmax(torch.autograd.Function):
    """The derivative of a target's loss by x_j is e^{x_j - ln Σ}, less 1 where j is the target."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: torch.Tensor,
        items: torch.Tensor,
        targets: torch.Tensor,
        bias: torch.Tensor | None,
        rows: torch.Tensor,
        tile: int,
    ) -> torch.Tensor:
        wide = torch.promote_types(queries.dtype, torch.float32)
        u = queries.to(wide)
        # Not -inf, so that scores of -inf (a bias that rules items out) come out as e^x = 0.
        highest = u.new_full((len(u),), torch.finfo(wide).min)
        total = torch.zeros_like(highest)
        chosen = u.new_empty(len(targets))
        for start, here in _tiles(len(items), targets, tile):
            x = _scores(u, items, bias, start, tile)
            chosen[here] = x[rows[here], targets[here] - start]
            # `total` is the sum of e^{x - highest} so far.
            higher = torch.maximum(highest, x.amax(1))
            total *= (highest - higher).exp_()
            total += x.sub_(higher[:, None]).exp_().sum(1)
            highest = higher
        normalizers = highest + total.log_()
        ctx.save_for_backward(queries, items, targets, bias, rows, normalizers)
        ctx.tile = tile
        return normalizers[rows] - chosen

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        queries, items, targets, bias, rows, normalizers = ctx.saved_tensors
        by_query, by_item, _, by_bias, _, _ = ctx.needs_input_grad
        u = queries.to(normalizers.dtype)
        of_query = torch.zeros_like(normalizers).index_add_(0, rows, gradient)
        du = torch.zeros_like(u) if by_query else None
        dv = torch.empty_like(items) if by_item else None
        dc = torch.empty_like(bias) if by_bias else None
        for start, here in _tiles(len(items), targets, ctx.tile):
            part = slice(start, start + ctx.tile)
            x = _scores(u, items, bias, start, ctx.tile)
            dx = x.sub_(normalizers[:, None]).exp_().mul_(of_query[:, None])
            at = rows[here], targets[here] - start
            dx.index_put_(at, -gradient[here], accumulate=True)
            if du is not None:
                du.addmm_(dx, items[part].to(u.dtype))
            if dv is not None:
                dv[part] = (dx.T @ u).to(items.dtype)
            if dc is not None:
                dc[part] = dx.sum(0)
        return None if du is None else du.to(queries.dtype), dv, None, dc, None, None


def _tiles(
    n_items: int, targets: torch.Tensor, tile: int
) -> Iterator[tuple[int, torch.Tensor | slice]]:
    """The first item of each tile, and which targets lie in it."""
    if n_items <= tile:
        yield 0, slice(None)
        return
    order = targets.argsort()
    starts = torch.arange(0, n_items + tile, tile, device=targets.device)
    edges = torch.searchsorted(targets[order], starts).tolist()
    for number, start in enumerate(range(0, n_items, tile)):
        yield start, order[edges[number] : edges[number + 1]]


def _scores(
    u: torch.Tensor, items: torch.Tensor, bias: torch.Tensor | None, start: int, tile: int
) -> torch.Tensor:
    """x of a tile of items, in the type of u, [B, tile]."""
    v = items[start : start + tile].to(u.dtype)
    if bias is None:
        return u @ v.T
    return torch.addmm(bias[start : start + tile].to(u.dtype), u, v.T)
