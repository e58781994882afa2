"""How long a vector to give to something with n distinct values, where nothing was tuned."""

from __future__ import annotations

import math

from tastemap.errors import ParameterError

__all__ = ["fastai_dim", "fourth_root_dim"]


def fastai_dim(n: int) -> int:
    """min(600, round(1.6 n^0.56)), the rule of fast.ai (`fastai.tabular.model.emb_sz_rule`).

    Raises:
        ParameterError: n is below 1.
    """
    return min(600, max(1, round(1.6 * math.pow(_checked(n), 0.56))))


def fourth_root_dim(n: int, multiple: float = 1.0) -> int:
    """round(multiple × n^0.25), the rule of TensorFlow's guide to feature columns (2017).

    Raises:
        ParameterError: n is below 1, or multiple not above 0.
    """
    if not multiple > 0:
        raise ParameterError(f"fourth_root_dim: multiple must be > 0, got {multiple!r}")
    return max(1, round(multiple * math.pow(_checked(n), 0.25)))


def _checked(n: int) -> int:
    if n < 1:
        raise ParameterError(f"the number of distinct values must be at least 1, got {n!r}")
    return n
