"""Drawing from lists of the users' own items."""

from __future__ import annotations

import torch

from tastemap.sampling.negatives import Negatives

__all__ = ["draw_from_lists"]


def draw_from_lists(
    items: torch.Tensor,
    first: torch.Tensor,
    count: torch.Tensor,
    n: int,
    generator: torch.Generator,
    skipped: torch.Tensor | None = None,
) -> Negatives:
    """n items of each list, uniformly and with replacement; masked where a list is empty.

    Args:
        items: int64 [m], the lists, one after the other.
        first: int64 [B], where each list begins.
        count: int64 [B], how many items of it may be drawn.
        skipped: int64 [B], the place in the list of an item that is not to be drawn and that
            `count` does not count, or a place behind the list.
    """
    shape, device = (len(first), n), items.device
    share = torch.rand(shape, generator=generator, device=device, dtype=torch.float64)
    place = (share * count[:, None]).long()
    if skipped is not None:
        place += place >= skipped[:, None]
    mask = (count > 0)[:, None].expand(shape).clone()
    ids = torch.zeros(shape, dtype=torch.long, device=device)
    ids[mask] = items[(first[:, None] + place)[mask]]
    log_q = -count.clamp(min=1).double().log().float()
    return Negatives(ids, log_q[:, None].expand(shape).clone(), mask)
