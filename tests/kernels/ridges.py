"""What ALS and iALS++ solve: a ridge regression for each row, in plain numpy."""

from __future__ import annotations

import numpy as np

from tastemap.kernels.als import gram


def problem(n=150, columns=90, d=12, seed=0, longest=80):
    """The arguments of a half-step; row 3 has no pairs."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, longest, n)
    counts[3] = 0
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    picked = [rng.choice(columns, count, replace=False) for count in counts]
    indices = np.concatenate(picked).astype(np.int32)
    confidences = rng.uniform(0.2, 3.0, len(indices)).astype(np.float32)
    vectors = rng.standard_normal((columns, d)).astype(np.float32)
    ridge = rng.uniform(0.5, 4.0, n).astype(np.float32)
    return offsets, indices, confidences, vectors, 0.1 * gram(vectors), ridge


def systems(offsets, columns, confidences, vectors, gram_matrix, ridge):
    """The A and b of each row's normal equations, in float64."""
    y = vectors.astype(np.float64)
    for row in range(len(ridge)):
        span = slice(offsets[row], offsets[row + 1])
        picked, c = y[columns[span]], confidences[span].astype(np.float64)
        yield (
            gram_matrix + (picked * c[:, None]).T @ picked + ridge[row] * np.eye(y.shape[1]),
            picked.T @ c,
        )
