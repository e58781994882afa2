"""What every ranker has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from tastemap.errors import DataError, NotFittedError, SchemaError
from tastemap.features.batch import FeatureBatch
from tastemap.features.schema import Schema
from tastemap.hyperparameters import Hyperparameters
from tastemap.training.run import Run

__all__ = ["Labelled", "Ranker"]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows of features with what came of them.

    Attributes:
        features: [n].
        labels: float32 [n], 1 for a click and 0 for none.

    Raises:
        DataError: no rows, another number of labels than rows, or a label that is not 0 or 1.
    """

    features: FeatureBatch
    labels: NDArray[np.float32]

    def __post_init__(self) -> None:
        if len(self.features) == 0:
            raise DataError("there are no rows")
        if self.labels.shape != (len(self.features),):
            raise DataError(
                f"{len(self.features)} rows have labels of shape {list(self.labels.shape)}; "
                "give one a row"
            )
        wrong = (self.labels != 0) & (self.labels != 1)
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                "a label must be 0 or 1", row=row + 1, value=self.labels[row].item(),
                remedy="Say from which value on a row counts as a click",
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.features)


class Ranker(Hyperparameters, ABC):
    """Stage two: the probability of a click from all features of a row.

    A subclass writes `_fit`, `_score`, `tensors` and `_restore`.
    """

    name: ClassVar[str]
    """The name on the command line."""
    paper: ClassVar[str]
    """Where the model was published."""

    _schema: Schema

    @property
    def schema(self) -> Schema:
        """The features that it was fitted on.

        Raises:
            NotFittedError: before `fit_frame` or `fit_batch`.
        """
        if not hasattr(self, "_schema"):
            raise NotFittedError(f"{type(self).__name__} has not been fitted yet; call fit_frame")
        return self._schema

    def fit_batch(
        self,
        features: FeatureBatch,
        labels: NDArray[Any],
        *,
        validation: tuple[FeatureBatch, NDArray[Any]] | None = None,
        run: Run | None = None,
    ) -> Self:
        """Learns from rows of features.

        Args:
            features: [n].
            labels: [n], 1 for a click and 0 for none, of any dtype.
            validation: rows and labels whose log-loss early stopping looks at.
            run: where and how: device, progress, run folder, time budget.

        Raises:
            DataError: no rows, or labels that are not 0 or 1.
            SchemaError: a value outside its feature's vocabulary, or validation rows of other
                features.
        """
        train = self._labelled(features, labels)
        held = None if validation is None else self._labelled(*validation)
        if held is not None and held.features.schema != features.schema:
            raise SchemaError("the validation rows have other features than the training rows")
        self._schema = features.schema
        self._fit(train, held, Run() if run is None else run)
        return self

    def score_batch(self, features: FeatureBatch) -> NDArray[np.float32]:
        """The log-odds of a click, float32 [n]. A row's score does not depend on the others.

        Raises:
            NotFittedError: before `fit_batch`.
            SchemaError: other features than it was fitted on, or a value outside its vocabulary.
        """
        if features.schema != self.schema:
            raise SchemaError(
                f"{type(self).__name__} was fitted on the features "
                f"{', '.join(self.schema.names)}, and got other ones or sizes: "
                f"{', '.join(features.schema.names)}"
            )
        features.check_rows()
        if len(features) == 0:
            return np.empty(0, np.float32)
        return self._score(features)

    @staticmethod
    def probabilities(scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """float64 [n], what `score_batch` says, as probabilities."""
        odds: NDArray[np.float64] = expit(scores.astype(np.float64))
        return odds

    @staticmethod
    def _labelled(features: FeatureBatch, labels: NDArray[Any]) -> Labelled:
        features.check_rows()
        return Labelled(features, np.asarray(labels).astype(np.float32))

    @abstractmethod
    def _fit(self, train: Labelled, validation: Labelled | None, run: Run) -> None:
        """Learns; `self.schema` is that of the rows."""

    @abstractmethod
    def _score(self, features: FeatureBatch) -> NDArray[np.float32]:
        """The log-odds, float32 [n], of rows that have been checked."""

    # -- saving ---------------------------------------------------------------------------------

    @abstractmethod
    def tensors(self) -> dict[str, NDArray[Any]]:
        """What was learned, by name."""

    @abstractmethod
    def _restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Takes back what `tensors` gave; `self.schema` stands already."""
