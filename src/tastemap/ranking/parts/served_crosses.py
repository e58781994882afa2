"""DCN-v2 at work: what the candidates of a request share is computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.features.requests import RequestFeatures
from tastemap.kernels.crosses import add_products, add_relu, crossed
from tastemap.ranking.parts.served_fields import ServedFields

if TYPE_CHECKING:
    from tastemap.ranking.dcn_v2 import ParallelNetwork

__all__ = ["ServedCrosses"]

# Of so many candidates all that is computed stays in a processor's own cache.
_TILE = 256


class ServedCrosses:
    """The log-odds of a network of parallel structure with cross layers of full rank.

    The vectors of a row are x_0 = [u; c], of the request and of the candidate. Of the first layer
    on both sides, W x_0 + b = (W_u u + b) + W_c c, the first part is the same for all candidates of
    a request. And of the last cross layer only the product with the output's weights w is needed,

        w · x_L = (w∘u) · (V_u x + b_u) + (w∘c) · (V_c x + b_c) + w · x        x = x_{L-1}

    with V_u and V_c as rows of V. The first part is a product of x with one vector, (w∘u) V_u.

    Args:
        network: that has learned.
        features: of the kind that will be asked about.
        dtype: in which matrices are multiplied, float32 or bfloat16; all sums are float32.

    Attributes:
        network: the same.
    """

    def __init__(
        self, network: ParallelNetwork, features: RequestFeatures, dtype: torch.dtype
    ) -> None:
        self.network, self.dtype = network, dtype
        halves = features.requests, features.candidates
        self.request, self.candidate = (
            ServedFields(network.fields, features.schema, half) for half in halves
        )
        crosses = _linears(network.crosses)
        hidden, *deep = _linears(network.deep)
        places = torch.cat([self.request.places, self.candidate.places])
        width = crosses[0].in_features
        dim = width // len(places)
        shared = len(self.request.places) * dim
        # x_0 with all of the request before all of the candidate.
        order = (places[:, None] * dim + torch.arange(dim)).flatten()
        with torch.inference_mode():
            weights = [each.weight[order][:, order] for each in crosses]
            biases = [each.bias[order] for each in crosses]
            first = torch.cat([weights[0], hidden.weight[:, order]])
            self._first_bias = torch.cat([biases[0], hidden.bias])
            self._first_of_request = first[:, :shared].contiguous()
            self._first = self._transposed(first[:, shared:])
            pairs = zip(weights[1:-1], biases[1:-1], strict=True)
            self._middle = [(self._transposed(weight), bias.to(dtype)) for weight, bias in pairs]
            self._deep = [(self._transposed(each.weight), each.bias.to(dtype)) for each in deep]
            self._several = len(crosses) > 1
            if self._several:
                self._last_of_request = weights[-1][:shared].contiguous(), biases[-1][:shared]
                self._last = self._transposed(weights[-1][shared:]), biases[-1][shared:].to(dtype)
            output = network.output.weight[0]
            self._output, self._deep_output = output[:width][order], output[width:].numpy()
            self._output_bias = float(network.output.bias)

    def _transposed(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.T.to(self.dtype).contiguous()

    @torch.inference_mode()
    def __call__(self, features: RequestFeatures) -> NDArray[np.float32]:
        """The log-odds of all candidates, float32 [m]."""
        requests = self.request(features.requests).flatten(1)
        candidates = self.candidate(features.candidates).flatten(1)
        scores = np.empty(len(candidates), np.float32)
        for request, some in zip(requests, features.slices(), strict=True):
            bias = torch.addmv(self._first_bias, self._first_of_request, request).to(self.dtype)
            weights, constant = self._output, self._output_bias
            if self._several:
                weight, of_request = self._last_of_request
                wanted = weights[: len(request)] * request
                weights, constant = weights + wanted @ weight, constant + float(wanted @ of_request)
            for start in range(some.start, some.stop, _TILE):
                tile = slice(start, min(start + _TILE, some.stop))
                found = self._products(request, candidates[tile], bias, weights.numpy())
                scores[tile] = found + np.float32(constant)
        return scores

    def _products(
        self,
        request: torch.Tensor,
        candidates: torch.Tensor,
        bias: torch.Tensor,
        weights: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """The log-odds without what is the same for all, float32 [n].

        Args:
            request, candidates: float32 [s] and [n, c], their parts of x_0.
            bias: of the first layers.
            weights: float32 [s + c], of x_{L-1}.
        """
        u, c, width = request.numpy(), candidates.numpy(), len(weights)
        y = torch.addmm(bias, candidates.to(self.dtype), self._first)
        x, sums = crossed(_numbers(y), u, c, None, weights)
        for matrix, added in self._middle:
            products = torch.addmm(added, self._tensor(x), matrix)
            x, sums = crossed(_numbers(products), u, c, x, weights)
        if self._several:
            matrix, added = self._last
            products = torch.addmm(added, self._tensor(x), matrix)
            add_products(_numbers(products), c, self._output[len(u) :].numpy(), sums)
        hidden = y[:, width:]
        for matrix, added in self._deep:
            hidden = torch.addmm(added, hidden.relu(), matrix)
        add_relu(_numbers(hidden), self._deep_output, sums)
        return sums

    def _tensor(self, numbers: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(numbers).view(self.dtype)


def _numbers(tensor: torch.Tensor) -> NDArray[Any]:
    """A tensor as the kernels take it: the bits of bfloat16."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    numbers: NDArray[Any] = tensor.numpy()
    return numbers


def _linears(module: nn.Module) -> list[nn.Linear]:
    """The linear layers of a module, in order."""
    return [each for each in module.modules() if isinstance(each, nn.Linear)]
