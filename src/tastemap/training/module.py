"""What the training loop needs to know of a torch module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.training.loop import State

__all__ = ["ModuleTrainer", "generator_of", "seeded", "tensor_of"]

_Made = TypeVar("_Made")


class ModuleTrainer(ABC):
    """A torch module as something that `train` drives; a model writes `train_epoch`.

    Args:
        network: what is trained, in place, on the device that it is on.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @abstractmethod
    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        """One pass over the training data; see `Trainable`."""

    def state(self) -> State:
        tensors = self.network.state_dict()
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}

    def restore(self, state: State) -> None:
        self.network.load_state_dict({name: torch.tensor(array) for name, array in state.items()})


def tensor_of(array: NDArray[Any], device: str | torch.device) -> torch.Tensor:
    """A tensor of an array on a device; integers become int64."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.to(device, torch.long if array.dtype.kind in "iu" else tensor.dtype)


def generator_of(rng: np.random.Generator, device: str | torch.device) -> torch.Generator:
    """Torch's random numbers on a device, seeded by NumPy's."""
    return torch.Generator(device).manual_seed(int(rng.integers(1 << 62)))


def seeded(seed: int, make: Callable[[], _Made]) -> _Made:
    """What `make` gives, whose random numbers depend on nothing but the seed and are not taken from
    the caller's stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
