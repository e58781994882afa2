"""Softmax over all items, without ever holding the scores of a batch for all items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional

from tastemap.losses.reduction import average

__all__ = ["softmax", "softmax_losses"]

# Scores of one tile of items, float32, stay below this many bytes.
_TILE_BYTES = 32 << 20
# Scores of one tile of queries: on a CPU they stay near a core while they are read and written six
# times; a GPU, whose every call costs as much as some millions of scores, takes more at a time.
_CACHED_BYTES, _GPU_TILE_BYTES = 2 << 20, 256 << 20
# Matrix units work on whole blocks; with 3,533 columns instead of 3,584 they are half as fast.
_BLOCK = 64
# Each tile reads and writes the gradients of all items. With few queries in it that costs more than
# scores that leave the cache: with 12 thousand items 256 are 1.5 times as fast as 43. So the scores
# of a tile may grow beyond the cache until it has `_ENOUGH_QUERIES`; with fewer than
# `_FEWEST_QUERIES` the units would not be busy.
_SPILLED_BYTES, _ENOUGH_QUERIES, _FEWEST_QUERIES = 16 << 20, 256, 32
# Below this a likelihood in float32 is not exact any more.
_TINY = 1e-35


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
    gradient. Where every query has one target, a few queries at a time meet all items, and their
    gradients are made together with the loss: three products of matrices in place of five. Inside
    `torch.autocast` matrices and likelihoods then have its type; sums are float32 always.

    Args:
        queries: float32 or bfloat16 [B, dim], u.
        items: the same [N, dim], v of all items that compete.
        targets: int64 [m], the chosen items, as rows of `items`.
        bias: float32 [N], c; None for 0. With -inf an item does not compete.
        rows: int64 [m], whose each target is, as rows of `queries`; None where m = B and target b
            is that of query b.
        weights: float32 [m], w of each target; None for 1.
        tile: items at a time, with all queries; None to choose what is fast.

    Returns:
        A scalar.
    """
    if rows is None and tile is None:
        return _by_queries(queries, items, targets, bias, weights)
    return average(softmax_losses(queries, items, targets, bias, rows=rows, tile=tile), weights)


def _by_queries(
    queries: torch.Tensor,
    items: torch.Tensor,
    targets: torch.Tensor,
    bias: torch.Tensor | None,
    weights: torch.Tensor | None,
) -> torch.Tensor:
    device = queries.device.type
    low = torch.is_autocast_enabled(device)
    wide = torch.promote_types(queries.dtype, torch.float32)
    dtype = torch.get_autocast_dtype(device) if low else wide
    row_bytes = 4 * max(len(items), 1)
    tile_bytes = _CACHED_BYTES if device == "cpu" else _GPU_TILE_BYTES
    enough = min(_ENOUGH_QUERIES, _SPILLED_BYTES // row_bytes)
    tile = max(tile_bytes // row_bytes, enough, _FEWEST_QUERIES)
    apply: Any = _SoftmaxByQueries.apply
    with torch.autocast(device, enabled=False):
        loss: torch.Tensor = apply(queries, items, targets, bias, weights, tile, dtype, wide)
    return loss


class _SoftmaxByQueries(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: torch.Tensor,
        items: torch.Tensor,
        targets: torch.Tensor,
        bias: torch.Tensor | None,
        weights: torch.Tensor | None,
        tile: int,
        dtype: torch.dtype,
        wide: torch.dtype,
    ) -> torch.Tensor:
        by_query, by_item, _, by_bias, by_weight = ctx.needs_input_grad[:5]
        n_queries, n_items = len(queries), len(items)
        padding = -n_items % _BLOCK if dtype != wide else 0
        u = queries.detach().to(dtype)
        v = functional.pad(items.detach().to(dtype), (0, 0, 0, padding))
        c = None if bias is None else functional.pad(bias.detach().to(dtype), (0, padding))
        du = torch.empty_like(u) if by_query else None
        dv = torch.zeros(v.shape, dtype=wide, device=v.device) if by_item else None
        dc = torch.zeros(len(v), dtype=wide, device=v.device) if by_bias else None
        likelihoods = torch.empty(n_queries, dtype=wide, device=v.device)
        for start in range(0, n_queries, tile):
            part = slice(start, start + tile)
            target = targets[part, None]
            p = _likelihoods(u[part], v, c, n_items)
            chosen = p.gather(1, target)
            likelihoods[part] = chosen[:, 0]
            if du is None and dv is None and dc is None:
                continue
            # From here on p is the derivative by the scores.
            p.scatter_(1, target, chosen - 1)
            if weights is not None:
                p *= weights[part, None].to(dtype)
            if du is not None:
                torch.mm(p, v, out=du[part])
            if dv is not None:
                dv += p.T @ u[part]
            if dc is not None:
                dc += p.sum(0, dtype=wide)
        losses = -likelihoods.log()
        # The likelihood of the target may be too small for a float; its logarithm is not.
        for late in torch.split((likelihoods < _TINY).nonzero()[:, 0], tile):
            x = _scores(queries[late].to(wide), items, bias, 0, n_items)
            losses[late] = x.logsumexp(1) - x.gather(1, targets[late, None])[:, 0]
        ctx.gradients = (
            None if du is None else du.to(queries.dtype),
            None if dv is None else dv[:n_items].to(items.dtype),
            None,
            None if dc is None or bias is None else dc[:n_items].to(bias.dtype),
            losses if by_weight else None,
        )
        ctx.n_queries = n_queries
        return average(losses, weights)

    @staticmethod
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        scale = outer / max(ctx.n_queries, 1)
        scaled = (None if gradient is None else gradient * scale for gradient in ctx.gradients)
        return *scaled, None, None, None


def _likelihoods(
    u: torch.Tensor, v: torch.Tensor, c: torch.Tensor | None, n_items: int
) -> torch.Tensor:
    """The softmax over the first `n_items` rows of v, in the type of v, [B, rows of v]."""
    x = u @ v.T if c is None else torch.addmm(c, u, v.T)
    x[:, n_items:] = -torch.inf
    # In bfloat16 too, this sums in float32.
    return torch.softmax(x, 1)


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
        queries, items, targets, bias, rows: as for `softmax`.
        tile: items at a time; None for what 32 MiB hold.
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
