"""What linear models have in common that let active users count less."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

__all__ = ["damp_active_users"]


def damp_active_users(x: csr_array, exponent: float) -> csr_array:
    """x float32 [users, items] with each user's row times the root of n^-exponent, n its entries.

    So the user counts n^-exponent in X'X; 1 is the normalisation of graph filters (Shen et al.
    2021, How Powerful is Graph Convolution for Recommendation?, CIKM). The weights are scaled so
    that their mean over all entries is 1, which leaves the meaning of a ridge as it is.
    """
    counts = np.diff(x.indptr)
    if exponent == 0 or x.nnz == 0:
        return x.astype(np.float32)
    weights = np.maximum(counts, 1.0) ** -exponent
    weights *= x.nnz / (weights @ counts)
    damped = x.astype(np.float32)
    damped.data *= np.repeat(np.sqrt(weights), counts).astype(np.float32)
    return damped
