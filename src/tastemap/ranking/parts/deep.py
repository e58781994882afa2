"""What rankers have in common that put layers on the vectors of all features."""

from __future__ import annotations

import torch
from torch import nn

from tastemap.hyperparameters import hyperparameter
from tastemap.nn.dropout import Dropout
from tastemap.nn.perceptron import perceptron
from tastemap.ranking.parts.fields import Fields, field_count
from tastemap.ranking.parts.networks import RankingNetwork
from tastemap.ranking.parts.neural import NeuralRanker, adams

__all__ = ["DeepRanker"]


class DeepRanker(NeuralRanker):
    """A ranker with a perceptron.

    Layers learn by heart which user chose which item long before the vectors are good. So what they
    get has dropout, and their steps are smaller than those of the vectors.
    """

    dim: int = hyperparameter(default=16, help="length of the vectors", ge=1, le=1024, log=True)
    regularization: float = hyperparameter(
        default=0.005, help="of the squared vectors of each row's features", ge=0, log=True,
        search=(1e-3, 0.3),
    )  # fmt: skip
    hidden: int = hyperparameter(default=128, help="width of each hidden layer", ge=1, log=True)
    layers: int = hyperparameter(default=2, help="hidden layers", ge=1, le=8)
    dropout: float = hyperparameter(default=0.5, help="of the hidden units", ge=0, lt=1)
    input_dropout: float = hyperparameter(
        default=0.5, help="of the numbers that the hidden layers get", ge=0, lt=1
    )
    layer_rate: float = hyperparameter(
        default=0.1, help="step size of the layers, as a share of the vectors'", gt=0, log=True,
        search=(0.01, 1.0),
    )  # fmt: skip

    @property
    def input_width(self) -> int:
        """Numbers of all vectors of a row."""
        return field_count(self.schema) * self.dim

    def make_perceptron(self) -> nn.Sequential:
        """The layers, after the dropout of what they get."""
        layers = perceptron(
            self.input_width, self.hidden, self.layers, self.dropout, self.make_activation
        )
        return nn.Sequential(Dropout(self.input_dropout), layers)

    def make_activation(self, width: int) -> nn.Module:
        """What bends the numbers of a hidden layer."""
        return nn.ReLU(inplace=True)

    def optimizers(self, network: RankingNetwork) -> list[torch.optim.Optimizer]:
        """Adam, with smaller steps for the layers."""
        fields = [module for module in network.modules() if isinstance(module, Fields)]
        vectors = [parameter for each in fields for parameter in each.of_values()]
        kept = {id(parameter) for parameter in vectors}
        layers = [each for each in network.parameters() if id(each) not in kept]
        return [
            *adams(network, vectors, self.learning_rate),
            *adams(network, layers, self.learning_rate * self.layer_rate),
        ]
