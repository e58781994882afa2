"""User and item towers over ids and attributes, trained on triplets (user2vec, item2vec)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.retrieval.base import VectorRetriever, cosines
from tastemap.retrieval.parts.attributes import Attributes
from tastemap.retrieval.parts.pretrained_items import PretrainedItems
from tastemap.retrieval.user2vec_training import Towers, TripletTrainer
from tastemap.training.loop import State
from tastemap.training.run import Run

__all__ = ["User2Vec"]


class User2Vec(PretrainedItems, VectorRetriever):
    """Two towers that place users and items on one sphere, by ids, histories and attributes.

    With e an embedding of ids, and F and G an embedding for each number of the `Attributes` a of
    the item table and the user table, which both may be missing:

        items (item2vec)  x_i = e_i + a_i F                                      v_i = x_i / |x_i|
        users (user2vec)  y_u = e_u + a_u G + W (mean of x_j over the history)   u = y_u / |y_u|

    For each chosen item p, which for that is taken out of the history, and drawn items n,

        mean L(rank of p) max(|u - p|² - |u - n|² + α, 0)  over the n that violate the margin

    is minimised: the triplet loss of large margin nearest neighbours (Weinberger & Saul 2009) with
    vectors of unit length (Schroff et al. 2015), where those n count that FaceNet calls hard and
    semi-hard, within the margin or nearer than p. Their share of the pool estimates the rank, by
    which L (Weston et al. 2011) puts errors at the top first, as in collaborative metric learning.
    The single nearest n of the pool, FaceNet's first choice, made all vectors collapse into one
    here, as is said there of the hardest. Adam takes the steps.

    That a user is told by what lies in the history, and that items have one embedding for both
    roles, is as in item2vec (Barkan & Koenigstein 2016) and the towers of YouTube (Covington et al.
    2016), whose users are the mean of what they watched. That an embedding of an id is dropped at
    times (`id_dropout`), so that attributes and history can stand for those who have none, is as in
    DropoutNet (Volkovs et al. 2017). There is no one paper called user2vec: to join these is ours.

    So any history has a place, a profile without history has one, and so has an item that nobody
    has chosen yet: `encode_items` tells it from its attributes.

    Attributes:
        item_embeddings: float32 [item rows, factors], x.
        user_embeddings: float32 [user rows, factors], e_u; 0 where `user_ids` is false.
        history_weights: float32 [factors, factors], W.
        item_attribute_embeddings, user_attribute_embeddings: float32 [numbers, factors], F and G.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "user2vec"
    paper: ClassVar[str] = (
        "Schroff et al. 2015, FaceNet: A Unified Embedding for Face Recognition and Clustering "
        "(CVPR); Barkan & Koenigstein 2016, Item2vec: Neural Item Embedding for Collaborative "
        "Filtering (MLSP); Covington et al. 2016, Deep Neural Networks for YouTube "
        "Recommendations (RecSys)"
    )
    learned: ClassVar[tuple[str, ...]] = (
        "item_embeddings",
        "user_embeddings",
        "history_weights",
        "item_attribute_embeddings",
        "user_attribute_embeddings",
    )

    factors: int = hyperparameter(default=64, help="length of the vectors", ge=1, log=True)
    margin: float = hyperparameter(
        default=1.0,
        help="α, how much farther away others shall be, in squared distance",
        gt=0,
        le=4,
    )
    negatives: int = hyperparameter(default=256, help="items drawn for each step", ge=1, log=True)
    user_ids: bool = hyperparameter(
        default=True, help="whether users have an embedding of their own beside the history"
    )
    id_dropout: float = hyperparameter(
        default=0.1, help="share of items and of users that are seen without their id", ge=0, lt=1
    )
    regularization: float = hyperparameter(
        default=1e-4, help="L2 penalty, decoupled as in AdamW", ge=0, log=True
    )
    epochs: int = hyperparameter(
        default=20, help="passes over the users", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=0.01, help="Adam's first step size, falling to 0", gt=0, log=True
    )
    batch_size: int = hyperparameter(
        default=16, help="users in a step, each with all chosen items", ge=1, log=True, tuned=False
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        chosen = dataset.histories.to_csr(len(dataset.items))
        self._attributes = _attributes_of(dataset)
        told = self._told(dataset)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            sizes = (len(self._attributes[0]), len(self._attributes[1]))
            towers = Towers(dataset.item_counts > 0, len(dataset.users), sizes, self.factors)
        trainer = TripletTrainer(towers.to(run.torch_device()), chosen, told, self)

        def install(state: State) -> None:
            F: NDArray[np.float32] = state["item_attributes"]
            self.item_embeddings: NDArray[np.float32] = state["items"] + told[0] @ F
            self.user_embeddings: NDArray[np.float32] = state["users"]
            self.history_weights: NDArray[np.float32] = state["history"]
            self.item_attribute_embeddings: NDArray[np.float32] = F
            self.user_attribute_embeddings: NDArray[np.float32] = state["user_attributes"]

        self._fit_in_epochs(
            trainer,
            self.epochs,
            validation,
            run,
            install=install,
        )

    def item_tables(self, state: State) -> list[NDArray[np.float32]]:
        return [state["items"]]

    def _told(self, dataset: Dataset) -> tuple[csr_array, csr_array]:
        """What the tables tell of item rows and user rows."""
        items, users = self._attributes
        n_items, n_users = len(dataset.items), len(dataset.users)
        of_items = items.encode(dataset.item_attributes(), n_items - 1)
        # With row 0, of which nothing is told.
        offsets = np.concatenate([[0], of_items.indptr])
        of_items = csr_array((of_items.data, of_items.indices, offsets), (n_items, len(items)))
        return of_items, users.encode(dataset.profiles(np.arange(n_users)), n_users)

    def _restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        super()._restore(tensors)
        # The tables are saved with the model, and give the same numbers again.
        self._attributes = _attributes_of(self.data)

    # -- answers --------------------------------------------------------------------------------

    def item_vectors(self) -> NDArray[np.float32]:
        return _unit(self.item_embeddings)

    def encode_items(self, table: pl.DataFrame) -> NDArray[np.float32]:
        """The place of items that training has not seen, told from their attributes.

        Args:
            table: n rows with columns of the item table; those it lacks count as null.

        Returns:
            float32 [n, factors], to be compared with `item_vectors`; 0 where nothing is known.
        """
        told = self._attributes[0].encode(table, len(table))
        return _unit(told @ self.item_attribute_embeddings)

    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        observed = queries.histories.to_csr(len(self.item_embeddings))
        counts = np.maximum(np.diff(observed.indptr), 1).astype(np.float32)
        means = observed @ self.item_embeddings / counts[:, None]
        told = self._attributes[1].encode(queries.profile, len(queries))
        users = np.where(queries.users < len(self.user_embeddings), queries.users, 0)
        places = means @ self.history_weights + told @ self.user_attribute_embeddings
        return _unit(places + self.user_embeddings[users])

    def knows(self, queries: Queries) -> NDArray[np.bool_]:
        told = self._attributes[1].encode(queries.profile, len(queries))
        return np.asarray(super().knows(queries) | (np.diff(told.indptr) > 0))

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return cosines(self.item_embeddings, items)


def _attributes_of(dataset: Dataset) -> tuple[Attributes, Attributes]:
    """Of items and of users."""
    users = None if dataset.user_table is None else dataset.user_table.drop("user")
    items = None if dataset.item_table is None else dataset.item_table.drop("item")
    return Attributes(items), Attributes(users)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(
        vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0
    )
    return unit
