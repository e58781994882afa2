"""Item2vec: what stands near each other in histories lies near each other on the map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout, Queries
from tastemap.data.vocabulary import Id
from tastemap.errors import DataError
from tastemap.hyperparameters import hyperparameter
from tastemap.retrieval.base import cosines
from tastemap.retrieval.item2vec_training import (
    KernelTrainer,
    TorchTrainer,
    first_vectors,
)
from tastemap.retrieval.parts.factor_model import BiasedVectors
from tastemap.retrieval.parts.fitting import TrainedInEpochs
from tastemap.training.loop import State
from tastemap.training.run import Run

__all__ = ["Item2Vec"]

# The bias of items that were never chosen, of which their vectors say nothing.
_NEVER_CHOSEN = -20.0


class Item2Vec(TrainedInEpochs, BiasedVectors):
    """Skip-gram with negative sampling over histories, in place of sentences.

    Each event (output o) is to be told from the events near it in its history (inputs i): for each
    such pair SGD takes a step on

        -ln σ(u_i · v_o) - sum_j ln σ(-u_i · v_j)

    with `negatives` items j drawn in proportion to n_j^α (n: how often an item was chosen; α:
    `popularity_exponent`), and a step size that falls linearly to 0 (Mikolov et al. 2013, equation
    4). Near is what lies at most b places away, with b drawn from 1 to `window` for each event.
    With `ordered` off, a history is a set, put into a new order at random in each epoch, as by
    Barkan & Koenigstein (2016, section 3). Events of frequent items are left out at random: one of
    an item with the share f of all events is kept with the probability sqrt(t/f) + t/f, where t is
    `subsample`. This is what word2vec computes in place of equation 5, sqrt(t/f).

    Trained so, u_i · v_o comes to ln P(o | i) - α ln n_o and a constant (Levy & Goldberg 2014,
    Neural Word Embedding as Implicit Matrix Factorization, section 3.1). So the score of an item is

        p · v_o + β ln n_o

    with p the mean of the inputs' vectors u_i of a history, where each event counts half of what
    the one `half_life` events later does, and β the `popularity_weight`. Nothing is learned of a
    user: one more event changes the answer without training.

    The defaults were chosen to foretell the next event. Where the order of events says little, sets
    (`ordered` off), a wide window and a long half-life are better.

    On the CPU compiled kernels train, the same whatever the number of threads; elsewhere torch, in
    batches.

    Attributes:
        input_vectors: float32 [item rows, factors], u; 0 for items that were never chosen.
        item_factors: float32 [item rows, factors], v; 0 for items that were never chosen.
        item_biases: float32 [item rows], β ln n_o.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "item2vec"
    paper: ClassVar[str] = (
        "Barkan & Koenigstein 2016, Item2vec: Neural Item Embedding for Collaborative Filtering "
        "(MLSP); Mikolov et al. 2013, Distributed Representations of Words and Phrases and their "
        "Compositionality (NeurIPS)"
    )
    learned: ClassVar[tuple[str, ...]] = (
        "input_vectors", "item_factors", "item_biases",
    )  # fmt: skip

    factors: int = hyperparameter(
        default=128, help="length of the vectors", ge=1, le=4096, log=True
    )
    window: int = hyperparameter(
        default=5, help="events to each side that are near, at most", ge=1, log=True
    )
    ordered: bool = hyperparameter(
        default=True, help="whether near means near in time; if not, histories are sets"
    )
    session_gap_minutes: float | None = hyperparameter(
        default=None,
        help="a longer pause cuts a history in two, and nothing is near across it; none for no cut",
        gt=0,
        log=True,
        tuned=False,
    )
    negatives: int = hyperparameter(
        default=5, help="items drawn for each pair", ge=1, le=1000, log=True
    )
    popularity_exponent: float = hyperparameter(
        default=0.75, help="α, how much more often popular items are drawn", ge=0, le=2
    )
    subsample: float = hyperparameter(
        default=1e-3,
        help="t, the share of all events from which on an item counts as frequent; 0 for none",
        ge=0,
        log=True,
        search=(1e-5, 1e-1),
    )
    epochs: int | None = hyperparameter(
        default=None,
        help="passes over the events; none for 10, and up to 40 where items are chosen seldom",
        ge=1,
        log=True,
        tuned=False,
    )
    learning_rate: float = hyperparameter(
        default=0.025, help="first step size, falling to 0", gt=0, log=True
    )
    half_life: float = hyperparameter(
        default=1.5,
        help="events after which an event counts half in the vector of a history",
        gt=0,
        log=True,
    )
    popularity_weight: float = hyperparameter(
        default=0.5, help="β, of the popularity in the score", ge=0, le=4
    )
    batch_size: int = hyperparameter(
        default=4096,
        help="pairs in a step where torch trains, that is on a GPU",
        ge=1,
        log=True,
        tuned=False,
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        if self.session_gap_minutes is not None and not dataset.has_times:
            raise DataError(
                "Item2Vec with sessions needs the times of events",
                remedy="Map a time column, or leave session_gap_minutes out",
            )
        device = run.kernel_device()
        start = first_vectors(dataset.item_counts, self.factors, self.seed)
        self._set_vectors(start)
        counts = self.popularity
        biases = self.popularity_weight * np.log(np.maximum(counts, 1))
        self.item_biases = np.where(counts > 0, biases, _NEVER_CHOSEN).astype(np.float32)
        trainer = (
            KernelTrainer(self, dataset.histories, start)
            if device == "cpu"
            else TorchTrainer(self, dataset.histories, start, device)
        )
        self._fit_in_epochs(
            trainer,
            trainer.corpus.epochs,
            validation,
            run,
            # What the kernels train is the model's own arrays: big ones should not be copied.
            install=None if device == "cpu" else self._set_vectors,
            resolved={"epochs": trainer.corpus.epochs},
        )

    def _set_vectors(self, state: State) -> None:
        self.input_vectors: NDArray[np.float32] = state["inputs"]
        self.item_factors = state["outputs"]

    # -- answers --------------------------------------------------------------------------------

    def vectors_of(self, items: Iterable[Id]) -> NDArray[np.float32]:
        """What was learned of some items, such as another model's table can start from.

        Args:
            items: n ids.

        Returns:
            float32 [n, factors], their u; 0 for items that are unknown or were never chosen.
        """
        return self.input_vectors[self.items.rows(list(items))]

    def _users(self, queries: Queries) -> NDArray[np.float32]:
        n_items = len(self.input_vectors)
        h = queries.histories.known(n_items)
        age = np.repeat(h.offsets[1:], h.counts) - 1 - np.arange(h.n_events)
        weights = (0.5 ** (age / self.half_life)).astype(np.float32)
        weighted = csr_array((weights, h.items, h.offsets), (len(h), n_items))
        means: NDArray[np.float32] = weighted @ self.input_vectors
        # The newest event of a history weighs 1.
        means /= np.maximum(weighted.sum(axis=1), 1)[:, None]
        return means

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # As word2vec compares words: by the angle of the vectors that speak for an item as input.
        return cosines(self.input_vectors, items)
