"""FTRL-Proximal against algorithm 1 written out weight by weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tastemap.errors import ParameterError
from tastemap.nn.ftrl import FTRL

RATE, BETA, L1, L2 = 0.3, 0.7, 0.4, 0.05


def reference(gradients: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The weights after these gradients; NaN where a step has none for a weight."""
    w, z, n = (np.zeros(gradients[0].shape) for _ in range(3))
    for gradient in gradients:
        for at in np.ndindex(*gradient.shape):
            g = gradient[at]
            if np.isnan(g):
                continue
            sigma = (np.sqrt(n[at] + g * g) - np.sqrt(n[at])) / RATE
            z[at] += g - sigma * w[at]
            n[at] += g * g
            if abs(z[at]) <= L1:
                w[at] = 0
            else:
                w[at] = -(z[at] - np.sign(z[at]) * L1) / ((BETA + np.sqrt(n[at])) / RATE + L2)
    return w


@pytest.mark.parametrize("sparse", [False, True])
def test_each_weight_goes_as_in_the_paper(sparse: bool) -> None:
    rng = np.random.default_rng(0)
    weight = torch.nn.Parameter(torch.ones(6, 2, dtype=torch.float64))
    optimizer = FTRL([weight], RATE, beta=BETA, l1=L1, l2=L2)
    assert not weight.detach().any()
    gradients = []
    for _ in range(8):
        rows = rng.choice(6, 4)  # some twice
        values = rng.normal(size=(4, 2)) * 0.3
        gradient = torch.sparse_coo_tensor(
            torch.tensor(rows)[None], torch.tensor(values), (6, 2), check_invariants=True
        )
        summed = gradient.to_dense().numpy()
        if sparse:
            summed = np.where(np.isin(np.arange(6), rows)[:, None], summed, np.nan)
        weight.grad = gradient if sparse else gradient.to_dense()
        optimizer.step()
        gradients.append(summed)
    expected = reference(gradients)
    np.testing.assert_allclose(weight.detach().numpy(), expected, atol=1e-12)
    assert (expected == 0).any()
    assert (expected != 0).any()


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ParameterError, match="learning_rate must be > 0"):
        FTRL([torch.nn.Parameter(torch.ones(1))], 0.0)
    with pytest.raises(ParameterError, match="l1"):
        FTRL([torch.nn.Parameter(torch.ones(1))], 0.1, l1=-1.0)
