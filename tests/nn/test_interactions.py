"""What multiplies features with features, against the sums in the papers."""

from __future__ import annotations

import numpy as np
import torch

from tastemap.nn.cross import CrossLayer, GatedCrossLayer, MixtureCrossLayer
from tastemap.nn.factorization import pair_products
from tastemap.nn.field_aware import field_aware_products


def test_pairs_in_linear_time_are_all_pairs() -> None:
    vectors = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for row, found in zip(vectors, pair_products(vectors), strict=True):
        every = sum(float(row[i] @ row[j]) for i in range(7) for j in range(i + 1, 7))
        np.testing.assert_allclose(found.item(), every, atol=1e-12)
    assert pair_products(vectors[:, :1]).abs().max() < 1e-12


def test_pairs_of_fields_meet_with_the_vectors_for_each_other() -> None:
    vectors = torch.randn(4, 5, 5, 3, generator=torch.Generator().manual_seed(1)).double()
    for row, found in zip(vectors, field_aware_products(vectors.flatten(2)), strict=True):
        every = sum(float(row[i, j] @ row[j, i]) for i in range(5) for j in range(i + 1, 5))
        np.testing.assert_allclose(found.item(), every, atol=1e-12)


def test_a_cross_layer_is_the_papers_equation() -> None:
    torch.manual_seed(2)
    layer = CrossLayer(6).double()
    torch.nn.init.normal_(layer.linear.bias)
    first, x = torch.randn(2, 3, 6, dtype=torch.float64)
    w, b = layer.linear.weight.detach().numpy(), layer.linear.bias.detach().numpy()
    for f, row, found in zip(first.numpy(), x.numpy(), layer(first, x).detach(), strict=True):
        np.testing.assert_allclose(found.numpy(), f * (w @ row + b) + row, atol=1e-12)


def test_a_gate_lets_a_share_of_each_product_through() -> None:
    torch.manual_seed(4)
    layer = GatedCrossLayer(6).double()
    torch.nn.init.normal_(layer.linear.bias)
    first, x = torch.randn(2, 3, 6, dtype=torch.float64)
    w, b = layer.linear.weight.detach().numpy(), layer.linear.bias.detach().numpy()
    gate = layer.gate.weight.detach().numpy()
    for f, row, found in zip(first.numpy(), x.numpy(), layer(first, x).detach(), strict=True):
        opened = 1 / (1 + np.exp(-gate @ row))
        np.testing.assert_allclose(found.numpy(), f * (w @ row + b) * opened + row, atol=1e-12)


def test_two_cross_layers_make_products_of_three() -> None:
    # With one feature and W = 1, b = 0: x, x² + x, x³ + 2 x² + x.
    layer = CrossLayer(1).double()
    torch.nn.init.ones_(layer.linear.weight)
    x = torch.tensor([[3.0]], dtype=torch.float64)
    assert layer(x, layer(x, x)).item() == 27 + 18 + 3


def test_a_mixture_is_its_experts_weighted_by_the_gate() -> None:
    torch.manual_seed(3)
    layer = MixtureCrossLayer(6, rank=2, experts=3).double()
    torch.nn.init.normal_(layer.bias)
    first, x = torch.randn(2, 4, 6, dtype=torch.float64)
    down, inner, up = (p.detach().numpy() for p in (layer.down, layer.inner, layer.up))
    bias, gate = layer.bias.detach().numpy(), layer.gate.weight.detach().numpy()
    for f, row, found in zip(first.numpy(), x.numpy(), layer(first, x).detach(), strict=True):
        weights = np.exp(gate @ row) / np.exp(gate @ row).sum()
        expected = row.copy()
        for i in range(3):
            projected = np.tanh(inner[i].T @ np.tanh(down[i].T @ row))
            expected += weights[i] * f * (up[i].T @ projected + bias)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_the_gradient_of_pairs_is_torchs_own() -> None:
    vectors = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    vectors.requires_grad_(True)
    assert torch.autograd.gradcheck(pair_products, (vectors,))
