"""Recurrent layers: the same as torch's own, in values and gradients."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tastemap.nn.packing import Packing
from tastemap.nn.recurrent import Recurrent

DIM = 5
LENGTHS = st.lists(st.integers(1, 7), min_size=1, max_size=5).map(
    lambda lengths: sorted(lengths, reverse=True)
)
CELLS: list[Literal["gru", "lstm"]] = ["gru", "lstm"]


def layer_of(cell: Literal["gru", "lstm"]) -> Recurrent:
    torch.manual_seed(1)
    layer = Recurrent(DIM, cell)
    for parameter in layer.parameters():
        # Biases too, which begin as 0.
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


@pytest.mark.parametrize("cell", CELLS)
@given(lengths=LENGTHS)
def test_states_and_gradients_are_those_of_torch(
    cell: Literal["gru", "lstm"], lengths: list[int]
) -> None:
    layer, packing = layer_of(cell), Packing.of(np.array(lengths))
    x, weights = torch.randn(2, sum(lengths), DIM)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    ours = layer(inputs[0], packing)
    theirs = torch.cat([layer.layer(row)[0] for row in inputs[1].split(lengths)])
    torch.testing.assert_close(ours, theirs)
    ours, theirs = (
        torch.autograd.grad((found * weights).sum(), [given_x, *layer.parameters()])
        for found, given_x in zip((ours, theirs), inputs, strict=True)
    )
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@given(lengths=LENGTHS)
def test_an_answer_has_the_states_of_training(
    cell: Literal["gru", "lstm"], lengths: list[int]
) -> None:
    layer, packing = layer_of(cell), Packing.of(np.array(lengths))
    x = torch.randn(sum(lengths), DIM)
    trained = layer(x, packing)
    with torch.inference_mode():
        answered = layer(x, packing)
    assert trained.requires_grad
    torch.testing.assert_close(answered, trained.detach())


@pytest.mark.parametrize("cell", CELLS)
def test_every_gate_begins_by_glorots_rule(cell: Literal["gru", "lstm"]) -> None:
    torch.manual_seed(0)
    layer = Recurrent(64, cell)
    bound = (6 / (64 + 64)) ** 0.5
    for name, parameter in layer.named_parameters():
        values = parameter.detach()
        if "bias" in name:
            assert not values.any()
        else:
            assert values.abs().max() <= bound
            assert values.std() == pytest.approx(bound / 3**0.5, rel=0.05)
