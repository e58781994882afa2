"""Neural matrix factorization: GMF and the perceptron under one output layer."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.retrieval.gmf import GMF, GMFNetwork
from tastemap.retrieval.ncf_mlp import NCFMLP, MLPNetwork, Tower
from tastemap.retrieval.parts.ncf import NeuralCollaborativeFilter, Similarity, new_table
from tastemap.training.loop import State
from tastemap.training.run import Run

__all__ = ["NeuMF", "NeuMFNetwork"]


class NeuMFNetwork(Similarity):
    """h · [p^G ∘ q^G ; z_L] + b; a vector is its part for GMF, then its part for the tower.

    Args:
        n_users, n_items: rows.
        factors, layers: of the tower; GMF has as many factors.
    """

    def __init__(self, n_users: int, n_items: int, factors: int, layers: int) -> None:
        super().__init__()
        self.factors = factors
        self.tower = Tower(factors, layers)
        self.users = new_table(n_users, factors + self.tower.width)
        self.items = new_table(n_items, factors + self.tower.width)
        self.output = nn.Linear(2 * factors, 1)

    def user_keys(self, vectors: torch.Tensor) -> torch.Tensor:
        p, tower = vectors[..., : self.factors], vectors[..., self.factors :]
        h = self.output.weight[0, : self.factors]
        return torch.cat([p * h, self.tower.of_user(tower)], dim=-1)

    def item_keys(self, vectors: torch.Tensor) -> torch.Tensor:
        q, tower = vectors[..., : self.factors], vectors[..., self.factors :]
        return torch.cat([q, self.tower.of_item(tower)], dim=-1)

    def logits(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        f = self.factors
        z = self.tower(users[..., f:], items[..., f:])
        h = self.output.weight[0, f:]
        logits: torch.Tensor = (users[..., :f] * items[..., :f]).sum(-1) + z @ h + self.output.bias
        return logits

    @torch.no_grad()
    def begin_with(self, gmf: GMFNetwork, mlp: MLPNetwork, alpha: float) -> None:
        """Takes what GMF and MLP have learned (He et al. 2017, equation 13)."""
        self.users.copy_(torch.cat([gmf.users, mlp.users], dim=1))
        self.items.copy_(torch.cat([gmf.items, mlp.items], dim=1))
        self.tower.load_state_dict(mlp.tower.state_dict())
        outputs = alpha * gmf.output.weight, (1 - alpha) * mlp.output.weight
        self.output.weight.copy_(torch.cat(outputs, dim=1))
        self.output.bias.copy_(alpha * gmf.output.bias + (1 - alpha) * mlp.output.bias)


class NeuMF(NeuralCollaborativeFilter):
    """GMF and MLP, each with vectors of its own, whose last layers are weighed by one output.

        P(u chooses i) = σ(h · [p^G_u ∘ q^G_i ; z_L(p^M_u, q^M_i)])

    (He et al. 2017, equation 12). As in section 3.4.1, a GMF and an MLP are trained by Adam first;
    what they have learned is where NeuMF begins, its output h = [α h_GMF; (1 - α) h_MLP], and it is
    then trained on by plain SGD, since Adam's momentum could not be taken over. Without
    pre-training NeuMF is trained by Adam from a random start.
    """

    name: ClassVar[str] = "neumf"
    paper: ClassVar[str] = "He et al. 2017, Neural Collaborative Filtering (WWW)"

    network: NeuMFNetwork = assigned_by_fit()

    factors: int = hyperparameter(
        default=16, help="predictive factors of GMF, and as many of the MLP", ge=1, log=True
    )
    layers: int = hyperparameter(
        default=3, help="hidden layers, each half as wide as the one below", ge=1, le=8
    )
    epochs: int = hyperparameter(
        default=5, help="passes over the events after pre-training", ge=1, log=True, tuned=False
    )
    regularization: float = hyperparameter(
        default=1e-6, help="L2 penalty on vectors and on layers' weights", ge=0, log=True
    )
    pretraining_epochs: int = hyperparameter(
        default=15, help="of GMF and of MLP, each, before they are joined; 0 for a random start",
        ge=0, tuned=False,
    )  # fmt: skip
    alpha: float = hyperparameter(
        default=0.5, help="α, what pre-trained GMF weighs against MLP at the start", ge=0, le=1
    )
    sgd_rate: float = hyperparameter(
        default=0.1,
        help="first step size of SGD, which follows pre-training, falling to 0",
        gt=0,
        log=True,
    )

    def make_network(self) -> NeuMFNetwork:
        return NeuMFNetwork(len(self.users), len(self.items), self.factors, self.layers)

    def item_tables(self, state: State) -> list[NDArray[np.float32]]:
        if self.pretraining_epochs > 0:
            return []  # They begin as those of GMF and MLP, which began so themselves.
        return [state["items"][:, : self.factors], state["items"][:, self.factors :]]

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        if self.pretraining_epochs == 0:
            super()._fit(dataset, validation, run)
            return
        part, main = run.after_another(1 / 3)
        shared = {name: getattr(self, name) for name in NeuralCollaborativeFilter.hyperparameters()}
        shared["epochs"] = self.pretraining_epochs
        gmf = GMF(**shared).fit(dataset, validation=validation, run=part)
        gmf.training.go_on()
        mlp = NCFMLP(**shared, layers=self.layers).fit(dataset, validation=validation, run=part)
        mlp.training.go_on()

        self.start_network(self.seed, run.torch_device())
        self.network.begin_with(gmf.network, mlp.network, self.alpha)
        sgd = torch.optim.SGD(self.network.parameters(), lr=self.sgd_rate)
        self._train(sgd, dataset, validation, main())
