"""Vectors in clusters, as those of items are."""

import numpy as np
from numpy.typing import NDArray


def clustered(n: int, dim: int = 16, seed: int = 0, queries: int = 50) -> tuple[NDArray, NDArray]:
    """float32 [n, dim] and float32 [queries, dim] about the same centres."""
    rng = np.random.default_rng(seed)
    scale = 1 / np.sqrt(1 + np.arange(dim, dtype=np.float32))
    centres = rng.standard_normal((40, dim), np.float32)

    def drawn(n: int) -> NDArray:
        noise = 0.5 * rng.standard_normal((n, dim), np.float32)
        return (centres[rng.integers(0, 40, n)] + noise) * scale

    lengths = rng.lognormal(0, 0.2, (n, 1)).astype(np.float32)
    return drawn(n) * lengths, drawn(queries)
