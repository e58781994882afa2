"""CatBoost as a ranker."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import DataError, MissingExtraError
from tastemap.features.batch import FeatureBatch
from tastemap.ranking.labelled import Labelled
from tastemap.ranking.parts.boosted import BoostedRanker, columns_of

__all__ = ["CatBoostRanker"]


class CatBoostRanker(BoostedRanker):
    """Ordered boosting of symmetric trees, with statistics of the label for each category
    (Prokhorenkova et al. 2018), by the library `catboost`.

    Raises:
        MissingExtraError: when it is fitted or loaded, where `catboost` is not installed.
        DataError: when it is fitted on rows that all have the same label, or the same features.
    """

    name = "catboost"
    paper = "Prokhorenkova et al. 2018, CatBoost: unbiased boosting with categorical features"

    objectives: ClassVar[dict[str, str]] = {
        "pointwise": "Logloss",
        "pairwise": "YetiRank",
        "listwise": "QuerySoftMax",
    }

    shares = "CrossEntropy"
    stored_as = "cbm"
    # Its trees cannot be kept from joining places and features.
    asked_places = 10

    def check_installed(self) -> None:
        _library()

    def _boosted(self, train: Labelled, validation: Labelled | None, trees: int) -> Any:
        booster = _library().CatBoost(
            {
                "loss_function": self.objective_for(train, validation),
                "iterations": trees,
                "depth": self.depth,
                "learning_rate": self.learning_rate,
                "l2_leaf_reg": self.l2,
                "random_seed": self.seed,
                "allow_writing_files": False,
                "logging_level": "Silent",
            }
        )
        held = None if validation is None else self._rows(validation)
        try:
            booster.fit(
                self._rows(train),
                eval_set=held,
                early_stopping_rounds=None if held is None else self.patience,
            )
        except _library().CatBoostError as error:
            reason = str(error).rpartition(": ")[2].rstrip(".")
            raise DataError(
                f"CatBoost cannot learn from these rows ({reason})",
                remedy="Give rows with clicks and without, of which some feature differs, or take "
                "LightGBMRanker, which answers then too",
            ) from error
        return booster

    @staticmethod
    def _trees_of(booster: Any) -> int:
        return int(booster.tree_count_)

    def _raw(
        self, booster: Any, features: FeatureBatch, positions: NDArray[np.int64] | None
    ) -> NDArray[np.float32]:
        rows = self._pool(features, positions)
        scores = booster.predict(rows, prediction_type="RawFormulaVal")
        return np.asarray(scores, np.float32)

    def _rows(self, data: Labelled) -> Any:
        data, sizes = self.by_request(data)
        groups = None if sizes is None else np.repeat(np.arange(len(sizes)), sizes)
        return self._pool(data.features, data.positions, data.labels.ravel(), groups)

    @staticmethod
    def _pool(
        features: FeatureBatch,
        positions: NDArray[np.int64] | None,
        labels: NDArray[np.float32] | None = None,
        groups: NDArray[np.int64] | None = None,
    ) -> Any:
        library = _library()
        categories, numbers = columns_of(features, positions)
        text = categories.astype("S20").astype(object)
        return library.Pool(library.FeaturesData(numbers, text), labels, group_id=groups)

    @staticmethod
    def _bytes_of(booster: Any) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.cbm"
            booster.save_model(str(path), format="cbm")
            return path.read_bytes()

    @staticmethod
    def _of_bytes(stored: bytes) -> Any:
        return _library().CatBoost().load_model(blob=stored)


def _library() -> Any:
    try:
        import catboost
    except ImportError:
        raise MissingExtraError(
            "CatBoostRanker needs CatBoost: pip install 'tastemap[catboost]'"
        ) from None
    return catboost
