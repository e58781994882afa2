"""Weights of events: what the formulas say, in training and after it."""

from __future__ import annotations

import numpy as np
import torch

from tastemap.nn.candidate_attention import ActivationUnit, DotAttention
from tastemap.nn.dice import Dice

# Rows 0 and 2 have histories, row 1 has none.
ROWS = torch.tensor([0, 0, 0, 2, 2])


def vectors(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(5, 4, generator=generator), torch.randn(3, 4, generator=generator)


def test_dot_attention_is_a_softmax_over_each_history() -> None:
    events, candidates = vectors()
    attention = DotAttention(4)
    torch.nn.init.normal_(attention.matrix)
    found = attention(events, candidates, ROWS)
    for row in (0, 2):
        own = (ROWS - row) == 0
        products = events[own] @ (attention.matrix @ candidates[row]) / 2
        torch.testing.assert_close(found[own], products.softmax(0))
    assert torch.isfinite(attention(events * 1e4, candidates, ROWS)).all()


def test_the_unit_has_a_layer_over_event_candidate_and_their_product() -> None:
    events, candidates = vectors()
    unit = ActivationUnit(4, 6, torch.nn.ReLU())
    layer = torch.cat([unit.of_event.weight, unit.of_candidate.weight, unit.of_product.weight], 1)
    for place, row in enumerate(ROWS.tolist()):
        e, c = events[place], candidates[row]
        hidden = (layer @ torch.cat([e, c, e * c]) + unit.of_event.bias).relu()
        expected = unit.output.weight[0] @ hidden + unit.output.bias[0]
        torch.testing.assert_close(unit(events, candidates, ROWS)[place], expected)


def test_dice_bends_at_the_mean_of_the_batch_and_later_at_that_of_training() -> None:
    torch.manual_seed(0)
    dice = Dice(3, momentum=1.0)
    with torch.no_grad():
        dice.slope.copy_(torch.tensor([0.0, 0.5, 1.0]))
    x = torch.randn(50, 3) * 3 + 2
    p = ((x - x.mean(0)) / x.std(0, unbiased=False)).sigmoid()
    expected = p * x + (1 - p) * dice.slope.detach() * x
    torch.testing.assert_close(dice(x), expected, rtol=1e-4, atol=1e-5)
    dice.eval()
    torch.testing.assert_close(dice(x[:1]), expected[:1], rtol=0.02, atol=0.02)
    torch.testing.assert_close(dice.mean, x.mean(0))


def test_dice_takes_one_row_and_none() -> None:
    dice = Dice(3)
    dice(torch.ones(1, 3)).sum().backward()
    assert dice(torch.ones(0, 3)).shape == (0, 3)
    assert not dice.mean.any()
    np.testing.assert_array_equal(dice.variance, np.ones(3))
