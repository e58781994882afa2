"""Layers one after the other, as the deep part of models that rank."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import nn

from tastemap.nn.dropout import Dropout

__all__ = ["perceptron"]


def perceptron(
    width: int,
    hidden: int,
    layers: int,
    dropout: float,
    activation: Callable[[int], nn.Module] = lambda width: nn.ReLU(inplace=True),
) -> nn.Sequential:
    """`layers` of dropout(f(W x + b)): float [..., width] gives [..., hidden].

    Weights begin as He et al. 2015 say for layers of ReLU, and biases at 0.

    Args:
        width: of x; what comes out has it too where there are no layers.
        hidden: width of each layer.
        layers: how many, ≥ 0.
        dropout: share of the hidden units that are dropped.
        activation: makes f for a layer of some width.
    """
    widths = [width, *[hidden] * layers]
    made: list[nn.Module] = []
    for below, above in pairwise(widths):
        linear = nn.Linear(below, above)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        made += [linear, activation(above), Dropout(dropout)]
    return nn.Sequential(*made)
