"""LightGBM as a ranker."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import MissingExtraError
from tastemap.features.batch import FeatureBatch
from tastemap.hyperparameters import hyperparameter
from tastemap.ranking.labelled import Labelled
from tastemap.ranking.parts.boosted import BoostedRanker, columns_of

__all__ = ["LightGBMRanker"]


class LightGBMRanker(BoostedRanker):
    """Trees that grow leaf by leaf over histograms (Ke et al. 2017), by the library `lightgbm`.

    Where it learns from places, a tree looks at the place or at features, never at both. So a place
    adds the same to all rows, as the shallow tower of Zhao et al. 2019 does.

    Raises:
        MissingExtraError: when it is fitted or loaded, where `lightgbm` is not installed.
    """

    name = "lightgbm"
    paper = "Ke et al. 2017, LightGBM: a highly efficient gradient boosting decision tree"

    objectives: ClassVar[dict[str, str]] = {
        "pointwise": "binary",
        "pairwise": "lambdarank",
        "listwise": "rank_xendcg",
    }
    shares = "cross_entropy"
    stored_as = "text"
    asked_places = 1
    metrics: ClassVar[dict[str, str]] = {
        "binary": "binary_logloss",
        "cross_entropy": "cross_entropy",
        "lambdarank": "ndcg",
        "rank_xendcg": "ndcg",
    }
    """By objective what early stopping looks at."""

    leaves: int = hyperparameter(default=31, help="of a tree", ge=2, le=65536, log=True)
    min_rows: int = hyperparameter(default=20, help="rows of a leaf, at least", ge=1, log=True)

    def check_installed(self) -> None:
        _library()

    def _boosted(self, train: Labelled, validation: Labelled | None, trees: int) -> Any:
        library = _library()
        objective = self.objective_for(train, validation)
        categorical = list(range(len(train.features.schema.categorical)))
        train, sizes = self.by_request(train)
        matrix = _matrix(train.features, train.positions)
        apart = {}
        if train.positions is not None:
            *others, place = range(matrix.shape[1])
            apart = {"interaction_constraints": [others, [place]]}
        rows = library.Dataset(
            matrix, train.labels.ravel(), group=sizes, categorical_feature=categorical,
            free_raw_data=True,
        )  # fmt: skip
        held, stops = [], []
        if validation is not None:
            validation, sizes = self.by_request(validation)
            matrix = _matrix(validation.features, validation.positions)
            held = [rows.create_valid(matrix, validation.labels.ravel(), group=sizes)]
            stops = [library.early_stopping(self.patience, verbose=False)]
        settings = {
            "objective": objective,
            "metric": self.metrics[objective],
            "eval_at": [10],
            "max_depth": self.depth,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.min_rows,
            "learning_rate": self.learning_rate,
            "lambda_l2": self.l2,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            **apart,
        }
        return library.train(settings, rows, trees, held, callbacks=stops)

    @staticmethod
    def _trees_of(booster: Any) -> int:
        # It is above 0 only where something stopped it.
        return int(booster.best_iteration if booster.best_iteration > 0 else booster.num_trees())

    def _raw(
        self, booster: Any, features: FeatureBatch, positions: NDArray[np.int64] | None
    ) -> NDArray[np.float32]:
        scores = booster.predict(_matrix(features, positions), raw_score=True)
        return np.asarray(scores, np.float32)

    @staticmethod
    def _bytes_of(booster: Any) -> bytes:
        text: str = booster.model_to_string(num_iteration=booster.best_iteration)
        return text.encode()

    @staticmethod
    def _of_bytes(stored: bytes) -> Any:
        return _library().Booster(model_str=stored.decode())


def _matrix(features: FeatureBatch, positions: NDArray[np.int64] | None) -> NDArray[np.float64]:
    categories, numbers = columns_of(features, positions)
    return np.concatenate([categories.astype(np.float64), numbers.astype(np.float64)], 1)


def _library() -> Any:
    try:
        import lightgbm
    except ImportError:
        raise MissingExtraError(
            "LightGBMRanker needs LightGBM: pip install 'tastemap[lightgbm]'"
        ) from None
    return lightgbm
