"""What every ranker has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from tastemap.errors import NotFittedError, ParameterError, SchemaError
from tastemap.features.batch import FeatureBatch
from tastemap.features.frames import FrameEncoder
from tastemap.features.requests import RequestFeatures
from tastemap.features.schema import Schema
from tastemap.hyperparameters import Hyperparameters, hyperparameter
from tastemap.ranking.calibration import CALIBRATIONS, Calibration
from tastemap.ranking.labelled import Labelled, RowColumns
from tastemap.ranking.tasks import Tasks
from tastemap.training.run import Run

__all__ = ["Ranker"]

# What the names of a calibration's tensors begin with.
_CALIBRATION = "calibration."


class Ranker(Hyperparameters, ABC):
    """Stage two: the probability of a click from all features of a row.

    A subclass writes `_fit`, `_fit_again`, `_score`, `tensors` and `_restore`.
    """

    name: ClassVar[str]
    """The name on the command line."""
    paper: ClassVar[str]
    """Where the model was published."""

    objective: Literal["pointwise", "pairwise", "listwise"] = hyperparameter(
        default="pointwise", help="what is learned: how probable a click is, or the order of the "
        "rows of a request, by pairs or by all of them together"
    )  # fmt: skip
    calibration: Literal["none", "platt", "isotonic"] = hyperparameter(
        default="none", help="what makes probabilities of scores, learned from the validation "
        "rows: a line before the logistic function, or rising steps", tuned=False,
    )  # fmt: skip
    refit: bool = hyperparameter(
        default=False, help="with validation: when its rows have said how long to learn, learn "
        "anew for as long from them too; where they are the newest ones, they tell most",
        tuned=False,
    )  # fmt: skip

    _schema: Schema
    _encoder: FrameEncoder | None
    _calibration: Calibration | None
    _tasks: Tasks | None

    def check_installed(self) -> None:
        """Whether what it takes to fit it is there, so that it is said before hours of training.

        Raises:
            MissingExtraError: a library is not installed; the message names the extra.
        """

    @property
    def schema(self) -> Schema:
        """The features that it was fitted on.

        Raises:
            NotFittedError: before `fit_frame` or `fit_batch`.
        """
        if not hasattr(self, "_schema"):
            raise NotFittedError(f"{type(self).__name__} has not been fitted yet; call fit_frame")
        return self._schema

    @property
    def tasks(self) -> Tasks | None:
        """What is foretold, where it was fitted on several labels.

        Raises:
            NotFittedError: before a fit.
        """
        return self._tasks if self.schema else None

    @property
    def encoder(self) -> FrameEncoder | None:
        """What turns frames into its features; None where it was fitted by `fit_batch`.

        Raises:
            NotFittedError: before a fit.
        """
        return self._encoder if self.schema else None

    def fit_frame(
        self,
        train: Any,
        label: str | Sequence[str] = "click",
        *,
        weights: Mapping[str, float] | None = None,
        group: str | None = None,
        position: str | None = None,
        validation: Any = None,
        kinds: Mapping[str, str] | None = None,
        min_rows: int = 2,
        hashed: int = 0,
        run: Run | None = None,
    ) -> Self:
        """Learns from the rows of a pandas, Polars or Arrow frame.

        Args:
            train: the rows; every column but the label is a feature, see `FrameEncoder`.
            label: the column that is 1 (or true) for a click and 0 for none; or the columns of
                several tasks, such as a click, a like, and the share that was watched, with values
                from 0 to 1. A row's answer is then the weighted mean of what is foretold for each,
                and `predict_tasks` gives all of them.
            weights: by label what a task counts, in training and in an answer; 1 by default.
            group: the column that is equal for rows of one request, for objectives that learn
                their order; it is no feature, unless `kinds` says which.
            position: the column that says at which place, from 1, a row was shown, or nothing
                where that is not known. What is looked at first is clicked more, however good it
                is; this share of a click is learned apart, and is no part of an answer.
            validation: more such rows, whose loss early stopping looks at, and a calibration; with
                `refit` the model that stays has learned from them, knows values that only they
                have, and nothing can be measured on them any more.
            kinds: by column "categorical", "multi_valued", "numeric", "time", "text", "vector",
                "ignored" or, for lists of what the column "item" holds, the oldest first,
                "sequence of item", where the column's type says another.
            min_rows: how many training rows a category needs to be told from the unknown ones.
            hashed: rows of each column that such categories, and those seen later, share by their
                hash; with none they are the unknown.
            run: where and how: device, progress, run folder, time budget.

        Raises:
            DataError: no frame, no rows, a column that is missing or cannot be a feature, a
                label that is not 0 or 1, or a position that is no whole number from 1.
            ParameterError: `kinds` names an unknown column or kind, there is no `group` for an
                objective that needs one, a weight is of no label, or there are several labels and
                a calibration or another objective than the pointwise one.
        """
        columns = RowColumns(label, group, position)
        tasks = None if isinstance(label, str) else Tasks.of(label, weights)
        if tasks is None and weights is not None:
            raise ParameterError(
                f"{type(self).__name__}: weights are of several labels; give label= a list of them"
            )
        features = () if group is None or group not in (kinds or ()) else (group,)
        encoder = FrameEncoder.fit(
            train,
            exclude=[name for name in columns.names if name not in features],
            kinds=kinds,
            min_rows=min_rows,
            hashed=hashed,
        )
        held = None if validation is None else columns.labelled(validation, encoder)
        again = self._learn(columns.labelled(train, encoder), held, tasks, run)
        self._encoder = encoder
        if again is not None:
            both = train, validation
            wider = encoder.with_values(both, min_rows)
            rows = Labelled.joined([columns.labelled(frame, wider) for frame in both])
            if self._learn_again(rows, again):
                self._encoder = wider
        return self

    def predict_frame(self, test: Any) -> NDArray[np.float64]:
        """The probability of a click of each row of a frame, float64 [n], in row order; of several
        labels the weighted mean.

        A value that the training rows did not have is answered as an unknown one, and so is a null.

        Raises:
            NotFittedError: before `fit_frame`.
            ParameterError: the objective gives scores that are no log-odds, and nothing was
                calibrated.
            DataError: no frame, or a column of the training rows is missing.
        """
        features = self._encoded(test)
        if self._calibration is None and self.objective != "pointwise":
            raise ParameterError(
                f"{type(self).__name__}: scores of objective={self.objective!r} order the rows of "
                "a request and are no log-odds; fit it with calibration='platt' and validation "
                "rows, or take score_batch(ranker.encoder.encode(frame))"
            )
        scores = self.score_batch(features).astype(np.float64)
        if self._calibration is not None:
            return self._calibration.probabilities(scores)
        odds: NDArray[np.float64] = expit(scores)
        return odds

    def predict_tasks(self, test: Any) -> pl.DataFrame:
        """What is foretold of each row of a frame for each of several labels: a column of
        probabilities, or of shares, with the name of each, float64, in row order.

        Raises:
            NotFittedError: before `fit_frame`.
            ParameterError: it was fitted on one label.
            DataError: no frame, or a column of the training rows is missing.
        """
        if self.tasks is None:
            raise ParameterError(
                f"{type(self).__name__} was fitted on one label; call predict_frame, or "
                "fit_frame with label= a list"
            )
        features = self._encoded(test)
        odds = self._score(features) if len(features) else np.empty((0, len(self.tasks)))
        return pl.DataFrame(
            expit(odds.astype(np.float64)), schema=list(self.tasks.names), orient="row"
        )

    def _encoded(self, frame: Any) -> FeatureBatch:
        encoder = self.encoder
        if encoder is None:
            raise NotFittedError(
                f"{type(self).__name__} was fitted by fit_batch, so it does not know columns of "
                "frames; call score_batch, or fit_frame first"
            )
        return encoder.encode(frame)

    def fit_batch(
        self,
        features: FeatureBatch,
        labels: NDArray[Any],
        *,
        groups: NDArray[Any] | None = None,
        positions: NDArray[np.int64] | None = None,
        tasks: Tasks | None = None,
        validation: tuple[FeatureBatch, NDArray[Any], *tuple[NDArray[Any] | None, ...]]
        | None = None,
        run: Run | None = None,
    ) -> Self:
        """Learns from rows of features.

        Args:
            features: [n].
            labels: [n], 1 for a click and 0 for none, of any dtype; or [n, tasks], from 0 to 1.
            groups: [n], equal for rows of one request, of any type that can be sorted; None where
                the objective looks at each row alone.
            positions: int64 [n], the place from 1 at which each row was shown, 0 where it is not
                known; None where it is known of no row.
            tasks: what the columns of labels are, where there are several.
            validation: rows, labels and, where needed, groups and positions, whose loss early
                stopping looks at, and a calibration; of `refit` see `fit_frame`.
            run: where and how: device, progress, run folder, time budget.

        Raises:
            DataError: no rows, labels that are not 0 or 1, or a position below 0.
            ParameterError: there are no groups or no validation rows, and the objective or the
                calibration needs them; or only one of both kinds of rows has positions; or there
                are tasks and what `fit_frame` says of several labels.
            SchemaError: a value outside its feature's vocabulary, or validation rows of other
                features.
        """
        train = Labelled.of(features, labels, groups, positions)
        held = None if validation is None else Labelled.of(*validation)
        again = self._learn(train, held, tasks, run)
        if again is not None and held is not None:
            self._learn_again(Labelled.joined((train, held)), again)
        return self

    def _learn(
        self, train: Labelled, held: Labelled | None, tasks: Tasks | None, run: Run | None
    ) -> Run | None:
        """Learns from rows that are checked here; gives the run of learning anew from all of them,
        None where that is not to be."""
        for rows in (train,) if held is None else (train, held):
            rows.features.check_rows()
            self._check_rows(rows, tasks)
        if held is not None and held.features.schema != train.features.schema:
            raise SchemaError("the validation rows have other features than the training rows")
        if held is not None and (held.positions is None) != (train.positions is None):
            raise ParameterError(
                f"{type(self).__name__}: give positions of the training rows and of the validation "
                "rows, or of neither; 0 is a position that is not known"
            )
        if held is None and self.calibration != "none":
            raise ParameterError(
                f"{type(self).__name__}: calibration={self.calibration!r} is learned from "
                "rows that the model is not; give validation="
            )
        self._schema, self._encoder, self._calibration = train.features.schema, None, None
        self._tasks = tasks
        run = Run.of(run)
        if held is None:
            self._fit(train, None, run)
            return None
        first, again = run.repeated() if self.refit else (run, run)
        self._fit(train, held, first)
        if self.calibration != "none":
            # Of the scores of a model that had not learned from these rows, also with `refit`.
            scores = self._score(held.features)
            self._calibration = CALIBRATIONS[self.calibration]().fit(scores, held.labels)
        return again if self.refit else None

    def _learn_again(self, rows: Labelled, run: Run) -> bool:
        """Learns anew from all rows, which may be of larger vocabularies; whether it did, and is
        not as it was, since Ctrl-C has ended it."""
        before, done = self._schema, False
        self._schema = rows.features.schema
        try:
            done = self._fit_again(rows, run)
        finally:
            if not done:
                self._schema = before
        return done

    def _check_rows(self, rows: Labelled, tasks: Tasks | None) -> None:
        name = type(self).__name__
        if rows.groups is None and self.objective != "pointwise":
            raise ParameterError(
                f"{name}: objective={self.objective!r} learns the order of the rows "
                "of a request; say which rows belong together with groups=, or, of a frame, "
                "by group= and the name of a column"
            )
        if rows.labels.shape[1:] != (() if tasks is None else (len(tasks),)):
            raise ParameterError(
                f"{name}: labels of shape {list(rows.labels.shape)} are not those of "
                f"{'one task' if tasks is None else ', '.join(tasks.names)}; give a column for "
                "each of tasks="
            )
        if tasks is not None and (self.objective, self.calibration) != ("pointwise", "none"):
            raise ParameterError(
                f"{name}: several labels are foretold row by row and as they are; take "
                "objective='pointwise' and calibration='none'"
            )

    def score_batch(self, features: FeatureBatch) -> NDArray[np.float32]:
        """The log-odds of a click, float32 [n], or, of an objective that learns an order, numbers
        that are higher for what comes first. Of several labels it is the log-odds of the weighted
        mean of their probabilities. A row's score does not depend on the others.

        Raises:
            NotFittedError: before `fit_batch`.
            SchemaError: other features than it was fitted on, or a value outside its vocabulary.
        """
        self._check_schema(features.schema)
        features.check_rows()
        if len(features) == 0:
            return np.empty(0, np.float32)
        scores = self._score(features)
        return scores if self._tasks is None else self._tasks.combined(scores)

    def score_requests(self, features: RequestFeatures) -> NDArray[np.float32]:
        """What `score_batch` gives for the candidates of all requests, float32 [m]; a ranker that
        can works on what candidates share once. For features that `PointInTime` made: values are
        not looked at one by one.

        Raises:
            NotFittedError, SchemaError: as `score_batch`.
        """
        return self.score_batch(features.joined())

    def _check_schema(self, schema: Schema) -> None:
        if schema is not self.schema and schema != self.schema:
            raise SchemaError(
                f"{type(self).__name__} was fitted on the features "
                f"{', '.join(self.schema.names)}, and got other ones or sizes: "
                f"{', '.join(schema.names)}"
            )

    @abstractmethod
    def _fit(self, train: Labelled, validation: Labelled | None, run: Run) -> None:
        """Learns; `self.schema` is that of the rows."""

    @abstractmethod
    def _fit_again(self, rows: Labelled, run: Run) -> bool:
        """Learns anew from these rows, for as long as was best in the last `_fit`; whether it did,
        and is not as it was, since Ctrl-C has ended it."""

    @abstractmethod
    def _score(self, features: FeatureBatch) -> NDArray[np.float32]:
        """The log-odds, float32 [n], of rows that have been checked; [n, tasks] of several."""

    def described(self, train: Labelled) -> dict[str, Any]:
        """What the run folder keeps about a fit."""
        from tastemap import __version__

        clicks = train.labels.sum(0).tolist()
        return {
            "model": {"class": type(self).__name__, "tastemap": __version__},
            "hyperparameters": self.hyperparameter_values(),
            "data": {
                "rows": len(train),
                "clicks": int(clicks)
                if self._tasks is None
                else dict(zip(self._tasks.names, clicks, strict=True)),
                "features": self.schema.described(),
            },
        }

    # -- saving ---------------------------------------------------------------------------------

    @abstractmethod
    def tensors(self) -> dict[str, NDArray[Any]]:
        """What was learned, by name."""

    @abstractmethod
    def _restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Takes back what `tensors` gave; `self.schema` stands already."""

    def stored(self) -> dict[str, NDArray[Any]]:
        """All that is stored as tensors: what was learned, and the calibration."""
        found = {} if self._calibration is None else self._calibration.tensors()
        return {**self.tensors(), **{_CALIBRATION + name: each for name, each in found.items()}}

    @classmethod
    def restored(
        cls,
        schema: Schema,
        encoder: FrameEncoder | None,
        hyperparameters: Mapping[str, Any],
        tensors: Mapping[str, NDArray[Any]],
        tasks: Tasks | None = None,
    ) -> Self:
        """The ranker that all these were taken from, `tensors` by `stored`."""
        ranker = cls(**hyperparameters)
        ranker._tasks = tasks
        ranker._schema, ranker._encoder, ranker._calibration = schema, encoder, None
        found = {
            name.removeprefix(_CALIBRATION): each
            for name, each in tensors.items()
            if name.startswith(_CALIBRATION)
        }
        if found:
            ranker._calibration = CALIBRATIONS[ranker.calibration].restored(found)
        ranker._restore({n: each for n, each in tensors.items() if not n.startswith(_CALIBRATION)})
        return ranker

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the fitted ranker to a directory that `tastemap.load` reads.

        Raises:
            NotFittedError: before a fit.
            ReleaseError: something else is in the way.
        """
        from tastemap.ranking.saved import save_ranker

        return save_ranker(self, Path(path), overwrite=overwrite)
