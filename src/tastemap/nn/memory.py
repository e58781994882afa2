"""Memories that a sequence writes, an event at a time, and that are read by attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tastemap.nn.packing import Packing

__all__ = ["FeatureMemory", "linear_recurrence", "read_slots", "recent_items"]


def recent_items(items: torch.Tensor, packing: Packing, slots: int) -> torch.Tensor:
    """The last items of each position, itself first: first in, first out.

    Args:
        items: int64 [T], item rows.
        packing: of the T positions.
        slots: K, how many are kept.

    Returns:
        int64 [T, K]; 0, the unknown item, where the sequence has not had so many.
    """
    back = torch.arange(slots, device=items.device)
    positions = torch.arange(len(items), device=items.device)[:, None] - back
    filled = packing.places[:, None] >= back
    return torch.where(filled, items[positions.clamp(min=0)], 0)


def read_slots(memory: torch.Tensor, items: torch.Tensor, strength: float) -> torch.Tensor:
    """The product of each item q with what it reads from a memory whose slots m are found by
    themselves: q · Σ_k z_k m_k, where z = softmax_k(strength · q · m_k).

    Args:
        memory: float [T, K, dim].
        items: float [n, dim], what all T memories are read for, or [T, n, dim].
        strength: how sharply one slot is chosen.

    Returns:
        float [T, n].
    """
    read: torch.Tensor = _Read.apply(memory @ items.mT, strength)  # type: ignore[no-untyped-call]
    return read


class _Read(torch.autograd.Function):
    """Σ_k z_k x_k with z = softmax_k(strength · x_k), of x [T, K, n].

    Its gradient is z_k (1 + strength · (x_k - Σ_j z_j x_j)), in fewer passes than the gradients of
    softmax, product and sum would take one after the other.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, strength: float) -> torch.Tensor:
        weights = torch.softmax(strength * x, -2)
        read = (weights * x).sum(-2, keepdim=True)
        ctx.save_for_backward(x, weights, read)
        ctx.strength = strength
        return read.squeeze(-2)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, weights, read = ctx.saved_tensors
        of_x = (x - read).mul_(ctx.strength).add_(1).mul_(weights).mul_(gradient[..., None, :])
        return of_x, None


class FeatureMemory(nn.Module):
    """A memory of K slots, found by keys that all users share, and written by erasing and adding.

    An event q, where z = softmax_k(strength · q · key_k), leaves in slot k

        m_k ⊙ (1 - z_k σ(E q + b)) + z_k tanh(A q + c)

    (Graves et al. 2014, "Neural Turing Machines", section 3.2; Chen et al. 2018). The
    memory of a sequence is 0 at first. Of the old memory what is left depends on the event alone,
    so that the steps in time are one multiplication and addition each, and all else is computed for
    all positions at once.

    Args:
        dim: of events and slots.
        slots: K.
        strength: how sharply one slot is chosen.

    Attributes:
        keys: float32 [K, dim].
    """

    def __init__(self, dim: int, slots: int, strength: float) -> None:
        super().__init__()
        self.strength = strength
        self.keys = nn.Parameter(torch.empty(slots, dim))
        nn.init.normal_(self.keys, std=dim**-0.5)
        self.erase, self.add = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor, packing: Packing) -> torch.Tensor:
        """float32 [T, K, dim], the memory after each of the events x [T, dim] of a packing."""
        weights = self.weights(x)[..., None]
        kept = 1 - weights * torch.sigmoid(self.erase(x).float())[:, None]
        added = weights * torch.tanh(self.add(x).float())[:, None]
        rows = zip(packing.pad(kept), packing.pad(added), strict=True)
        return packing.pack([linear_recurrence(*of_bucket) for of_bucket in rows])

    def read(self, memory: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """The product of each item q with what it reads, q · Σ_k z_k m_k, float32 [T, n]: a product
        of all slots at once with z ⊗ q, which does not depend on the memory.

        Args:
            memory: float32 [T, K, dim].
            items: float32 [n, dim], what all T memories are read for, or [T, n, dim].
        """
        spread = (self.weights(items)[..., None] * items[..., None, :]).flatten(-2)
        if items.ndim == 2:
            return memory.flatten(1) @ spread.mT
        return (spread @ memory.flatten(1)[..., None]).squeeze(-1)

    def weights(self, items: torch.Tensor) -> torch.Tensor:
        """z of items [..., dim], float32 [..., K]."""
        return torch.softmax(self.strength * (items @ self.keys.T).float(), -1)


def linear_recurrence(kept: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """m_t = kept_t ⊙ m_(t-1) + added_t, from m = 0.

    Args:
        kept, added: float [n, width, ...], time in the second dimension.

    Returns:
        All m_t, float [n, width, ...].
    """
    result: torch.Tensor = _LinearRecurrence.apply(kept, added)  # type: ignore[no-untyped-call]
    return result


class _LinearRecurrence(torch.autograd.Function):
    """The loop in time and its way back by hand: of the steps nothing is kept but their results."""

    @staticmethod
    def forward(ctx: Any, kept: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
        memory = added.clone(memory_format=torch.contiguous_format)
        for t in range(1, memory.shape[1]):
            memory[:, t].addcmul_(kept[:, t], memory[:, t - 1])
        ctx.save_for_backward(kept, memory)
        return memory

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        kept, memory = ctx.saved_tensors
        of_added = gradient.clone(memory_format=torch.contiguous_format)
        for t in range(memory.shape[1] - 1, 0, -1):
            of_added[:, t - 1].addcmul_(kept[:, t], of_added[:, t])
        of_kept = torch.zeros_like(memory)
        torch.mul(of_added[:, 1:], memory[:, :-1], out=of_kept[:, 1:])
        return of_kept, of_added
