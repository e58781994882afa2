"""The products of all pairs of fields, each with a vector of its own for each other field."""

from __future__ import annotations

import torch

__all__ = ["field_aware_products"]


def field_aware_products(vectors: torch.Tensor) -> torch.Tensor:
    """Σ_{i<j} <v_{i,j}, v_{j,i}>, float [B], of vectors [B, fields, fields × dim].

    v_{i,j} is the vector that the value of field i has for field j (Juan et al. 2016, eq. 4); those
    of one field stand one after the other.
    """
    n, fields, _ = vectors.shape
    vectors = vectors.view(n, fields, fields, -1)
    every = (vectors * vectors.transpose(1, 2)).sum((1, 2, 3))
    own = vectors.diagonal(dim1=1, dim2=2).square().sum((1, 2))
    return 0.5 * (every - own)
