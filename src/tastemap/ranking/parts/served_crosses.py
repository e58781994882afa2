"""DCN-v2 at work: what candidates share is computed once, and matrices are of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.features.block import Block
from tastemap.features.requests import RequestFeatures
from tastemap.kernels.crosses import Maps, Vectors, crossed, crossed_again, scored
from tastemap.kernels.quantization import multiplied, quantized_16, rectified
from tastemap.ranking.parts.item_memory import ItemMemory
from tastemap.ranking.parts.served_attention import ServedAttention
from tastemap.ranking.parts.served_fields import ServedFields
from tastemap.ranking.parts.served_matrix import ServedMatrix

if TYPE_CHECKING:
    from tastemap.ranking.dcn_v2 import ParallelNetwork

__all__ = ["ServedCrosses"]

# So many candidates are worked on at a time: of fewer, calls would take longer than sums, and what
# more of them are made into would leave the processor's own cache.
_TILE = 512


class ServedCrosses:
    """The log-odds of a network of parallel structure with cross layers of full rank.

    Of the last cross layer only the product with the output's weights w is needed,

        w · x_L = w · (x_0 ∘ (V x + b) + x) = (Vᵀ (w∘x_0) + w) · x + (w∘b) · x_0      x = x_{L-1}

    so that not only the first layers, but the last one too is a linear map of x_0, and with two
    layers there is nothing between them. All these maps together are one layer A x_0 + a. The
    vectors of a row are x_0 = [u; i; c], of the request, of the item and of the two together, so
    that A_u u + a is the same for all candidates of a request, and A_i i for all requests that have
    the item among their candidates: it is remembered until what is known of items changes.

    Args:
        network: that has learned.
        features: of the kind that will be asked about.
        exact: with matrices of float32, whatever the processor has.

    Attributes:
        network: the same.
    """

    def __init__(
        self, network: ParallelNetwork, features: RequestFeatures, *, exact: bool = False
    ) -> None:
        self.network = network
        fields, schema = network.fields, features.schema
        of_request, of_pair = features.requests.features, features.pairs.features
        self._attention = None
        if len(fields.attentions):
            # What a candidate makes of a sequence is its own.
            self._attention = ServedAttention(fields, features)
            of_request = tuple(each for each in of_request if each not in schema.sequences)
            of_pair = (*of_pair, *schema.sequences)
        attended = self._attention is not None
        self._request = ServedFields(fields, schema, of_request)
        self._item = ServedFields(fields, schema, features.items.block.features)
        self._pair = ServedFields(fields, schema, of_pair, attended=attended)
        crosses = _linears(network.crosses)
        hidden, *deep = _linears(network.deep)
        parts = self._request, self._item, self._pair
        places = torch.cat([each.places for each in parts])
        width = crosses[0].in_features
        dim = width // len(places)
        # x_0 with all of the request first, then of the item.
        order = (places[:, None] * dim + torch.arange(dim)).flatten()
        with torch.inference_mode():
            weights = [each.weight[order][:, order] for each in crosses]
            biases = [each.bias[order] for each in crosses]
            output = network.output.weight[0]
            last, self._deep_output = output[:width][order], output[width:]
            # Before the last layer x is x_0 where there is no other.
            first = [(weights[0], biases[0])] if len(crosses) > 1 else []
            maps = [
                *first,
                (hidden.weight[:, order], hidden.bias),
                (weights[-1].T * last, last),
            ]
            whole = torch.cat([weight for weight, _ in maps])
            self._bias = torch.cat([bias for _, bias in maps])
            self._widths = width if first else 0, len(hidden.weight)
            widths = [each.width for each in parts]
            by_part = torch.split_with_sizes(whole, widths, 1)
            self._of_request = by_part[0].T.contiguous()
            self._of_item, self._of_pair = (
                ServedMatrix(each.numpy(), exact=exact) for each in by_part[1:]
            )
            self._exact = exact
            kind = np.float32 if exact else np.int16
            self._memory = ItemMemory(
                [(self._item.width, np.float32), (len(whole), kind), (1, np.float32)]
            )
            self._middle = [
                (ServedMatrix(weight.numpy(), exact=exact), bias.numpy())
                for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True)
            ]
            self._deep = [
                (
                    ServedMatrix(each.weight.detach().numpy(), exact=exact),
                    each.bias.detach().numpy(),
                )
                for each in deep
            ]
            self._of_first = (last * biases[-1]).numpy()
            self._output_bias = network.output.bias.detach()

    @torch.inference_mode()
    def __call__(self, features: RequestFeatures) -> NDArray[np.float32]:
        """The log-odds of all candidates, float32 [m]."""
        requests = self._request(features.requests)
        biases = torch.addmm(self._bias, torch.from_numpy(requests), self._of_request).numpy()
        scores = np.empty(len(features.places), np.float32)
        with self._memory.of(features.items, self._made_of_items) as (rows, made):
            items, of_items, by_item = made
            places = rows[features.places]
            attended = None
            if self._attention is not None:
                attended = self._attention(features, items, places)
            pairs = self._pair(features.pairs, attended)
            for request, bias, some in zip(requests, biases, features.slices(), strict=True):
                for start in range(some.start, some.stop, _TILE):
                    tile = slice(start, min(start + _TILE, some.stop))
                    x_0 = Vectors(request, items, places[tile], pairs[tile])
                    maps = Maps(bias, of_items, by_item, self._of_pair(pairs[tile]))
                    scores[tile] = self._scored(x_0, maps)
        return scores

    def _made_of_items(self, block: Block) -> list[NDArray[Any]]:
        """i, float32 [n, item's width], and A_i i, [n, columns], with by what each row of it is to
        be multiplied, float32 [n, 1]."""
        items = self._item(block)
        maps = multiplied(self._of_item(items))
        # What is remembered is read from far away, and takes half the time in half the bytes.
        rows, by_row = (maps, np.ones(len(maps), np.float32)) if self._exact else quantized_16(maps)
        return [items, rows, by_row[:, None]]

    def _scored(self, x_0: Vectors, maps: Maps) -> NDArray[np.float32]:
        """The log-odds, float32 [n], of candidates, from what the layers next to x_0 make."""
        n_crosses, n_hidden = self._widths
        if self._middle:
            candidates, hidden = crossed(
                x_0, maps, self._of_first, n_hidden, layers=len(self._middle)
            )
            for matrix, bias in self._middle:
                crossed_again(candidates, matrix(candidates.x), bias)
            scores = candidates.scores
        else:
            scores, hidden = scored(x_0, maps, n_crosses, self._of_first, n_hidden)
        for matrix, bias in self._deep:
            hidden = rectified(matrix(hidden), bias)
        deep = torch.addmv(self._output_bias, torch.from_numpy(hidden), self._deep_output)
        found: NDArray[np.float32] = deep.numpy() + scores
        return found


def _linears(module: nn.Module) -> list[nn.Linear]:
    """The linear layers of a module, in order."""
    return [each for each in module.modules() if isinstance(each, nn.Linear)]
