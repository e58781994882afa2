"""Items that begin with the vectors of an `Item2Vec`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.data.queries import Holdout
from tastemap.hyperparameters import hyperparameter
from tastemap.retrieval.item2vec import Item2Vec
from tastemap.retrieval.parts.fitting import TrainedInEpochs
from tastemap.training.loop import State, Trainable
from tastemap.training.run import Run

__all__ = ["PretrainedItems"]

# Of the numbers in the vectors that items begin with.
_DEVIATION = 0.1


class PretrainedItems(TrainedInEpochs):
    """A model trained in epochs whose tables of items can begin with what an `Item2Vec` of the same
    length has learned of what stands near each other. A subclass writes `item_tables`."""

    item2vec_epochs: int | None = hyperparameter(
        default=0,
        help="passes of the Item2Vec whose vectors the items begin with; 0 for a random start, "
        "none for as many as it makes by itself",
        ge=0,
        tuned=False,
    )

    @abstractmethod
    def item_tables(self, state: State) -> list[NDArray[np.float32]]:
        """The tables of items in a trainer's state, views of [item rows, dim] each."""

    def _fit_in_epochs(
        self,
        trainer: Trainable,
        epochs: int,
        validation: Holdout | None,
        run: Run,
        **how: Any,
    ) -> None:
        if self.item2vec_epochs != 0:
            first, main = run.after_another(1 / 4)
            state = trainer.state()
            tables = self.item_tables(state)
            learned = {
                length: self._pretrained(length, first) for length in {t.shape[1] for t in tables}
            }
            for table in tables:
                _begin_with(table, learned[table.shape[1]])
            trainer.restore(state)
            run = main()
        super()._fit_in_epochs(trainer, epochs, validation, run, **how)

    def _pretrained(self, length: int, run: Run) -> NDArray[np.float32]:
        """Vectors of what stands near each other, float32 [item rows, length]; 0 for items that
        were never chosen. On the CPU, whose compiled passes learn more from the same events."""
        model = Item2Vec(factors=length, epochs=self.item2vec_epochs, seed=self.seed)
        model.fit(self.data, run=replace(run, device="cpu")).training.go_on()
        return model.input_vectors


def _begin_with(table: NDArray[np.float32], vectors: NDArray[np.float32]) -> None:
    """Puts vectors into a table, brought to one scale; where one is 0 the table keeps its own."""
    known = vectors.any(1)
    table[known] = vectors[known] * (_DEVIATION / vectors[known].std(ddof=1))
