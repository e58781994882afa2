"""What models have in common whose knowledge is a torch module."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.data.histories import Histories
from tastemap.errors import ParameterError
from tastemap.hyperparameters import assigned_by_fit
from tastemap.retrieval.base import Retriever
from tastemap.training.module import seeded, tensor_of

__all__ = ["NeuralRetriever"]

_PREFIX = "network."


class NeuralRetriever(Retriever):
    """A retriever that has learned a torch module.

    A subclass writes `make_network`, and `_fit` that sets `self.network`. Parameters and buffers of
    the module are saved beside the arrays that `learned` names.

    Attributes:
        network: the module, on the CPU and in evaluation mode after `fit`.
    """

    network: nn.Module = assigned_by_fit()

    @abstractmethod
    def make_network(self) -> nn.Module:
        """The untrained module, from the hyper-parameters and the sizes of `self.data`."""

    def tensors(self) -> dict[str, NDArray[Any]]:
        state = self.network.state_dict()
        network = {_PREFIX + name: tensor.cpu().numpy() for name, tensor in state.items()}
        return {**super().tensors(), **network}

    def _restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        super()._restore(tensors)
        # What it starts from is overwritten.
        self.network = seeded(0, self.make_network)
        state = {
            name.removeprefix(_PREFIX): torch.tensor(array)
            for name, array in tensors.items()
            if name.startswith(_PREFIX)
        }
        try:
            self.network.load_state_dict(state)
        except RuntimeError as error:
            raise ParameterError(
                f"the stored network does not fit {type(self).__name__}: {error}"
            ) from None
        self.network.eval()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def start_network(self, seed: int, device: str) -> nn.Module:
        """A new network on a device whose first weights depend on nothing but the seed."""
        self.network = seeded(seed, self.make_network)
        return self.network.to(device)

    def finish_network(self) -> None:
        """Brings the trained network to where it answers from: the CPU, in evaluation mode."""
        self.network.cpu().eval()

    def seen_in_training(self, histories: Histories) -> Histories:
        """The events of items that somebody chose in the training set."""
        known = histories.items < len(self.popularity)
        known &= self.popularity[np.where(known, histories.items, 0)] > 0
        return histories if known.all() else histories.select(known)

    def to_tensor(self, array: NDArray[Any]) -> torch.Tensor:
        """A tensor of an array on the network's device; integers become int64."""
        return tensor_of(array, self.device)
