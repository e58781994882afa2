"""A field-aware factorization machine."""

from __future__ import annotations

from tastemap.hyperparameters import hyperparameter
from tastemap.nn.field_aware import field_aware_products
from tastemap.ranking.fm import FMNetwork
from tastemap.ranking.parts.fields import field_count
from tastemap.ranking.parts.neural import NeuralRanker

__all__ = ["FFM"]


class FFM(NeuralRanker):
    """As FM, but each value has a vector of its own for each other feature (Juan et al. 2016).

    The weights w, which the paper leaves out and LIBFFM's readers add, are there. Adam takes the
    place of AdaGrad.
    """

    name = "ffm"
    paper = "Juan et al. 2016, Field-aware factorization machines for CTR prediction"

    regularization: float = hyperparameter(
        default=0.02, help="of the squared vectors of each row's features", ge=0, log=True,
        search=(1e-3, 0.3),
    )  # fmt: skip
    dim: int = hyperparameter(default=4, help="length of the vectors", ge=1, le=256, log=True)

    def make_network(self) -> FMNetwork:
        # For each feature the vectors for all features, one after the other.
        width = field_count(self.schema) * self.dim
        return FMNetwork(self.make_fields(width), self.make_fields(1), field_aware_products)
