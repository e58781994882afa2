"""Several rankers as one: the weighted mean of their log-odds."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import ParameterError
from tastemap.features.batch import FeatureBatch
from tastemap.features.requests import RequestFeatures
from tastemap.features.schema import Schema
from tastemap.hyperparameters import hyperparameter
from tastemap.members import Member, parse_members, tensors_of, tensors_of_member
from tastemap.ranking.base import Ranker
from tastemap.ranking.labelled import Labelled
from tastemap.ranking.table import ranker_class
from tastemap.training.run import Run

__all__ = ["BlendRanker"]

# What is said of the blend, since it is of all members together.
_SHARED = ("objective", "calibration", "refit")
_WITHOUT = "without"


class BlendRanker(Ranker):
    """The mean of the log-odds of several rankers, Σ w_m logit p_m / Σ w_m, known as logarithmic
    opinion pool (Genest & Zidek 1986): rankers that err differently, such as networks and trees,
    are better together than the best of them alone.

    The members are named by a text, as those of `Blend` are: "deepfm(members=4) + catboost". Each
    learns by itself, with the validation rows and with `refit`; in Python the fitted ones are
    `members`. They take the blend's objective, and its seed where the text gives them none. A
    member that is to err differently can be kept from seeing some features:
    "deepfm + dcnv2(without=user|item)" names them with "|" between, and histories of such a
    feature are kept from it too.

    Of an objective that learns an order the scores are averaged; those of trees have a scale of
    their own, so say weights.

    Raises:
        ParameterError: at construction, for a text that names no members, or a setting in it that
            is the blend's.
        SchemaError: when it is fitted, where a member is to do without a feature that is not there.
        MissingExtraError: when it is fitted or loaded, where a member's library is not installed.
    """

    name: ClassVar[str] = "blendranker"
    paper: ClassVar[str] = (
        "Genest & Zidek 1986, Combining probability distributions: a critique and an annotated "
        "bibliography (Statistical Science)"
    )

    models: str = hyperparameter(
        default="deepfm + stagedfm",
        help="members with their weights, their settings in brackets, and what they do not look "
        "at: 0.5 deepfm(members=4) + 0.5 dcnv2(without=user|item)",
    )
    seed: int = hyperparameter(default=0, help="of the members", ge=0, tuned=False)

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        said = parse_members(self.models, type(self).__name__)
        self.weights = [member.weight for member in said]
        self.members: Sequence[Ranker] = [self._made(member) for member in said]
        self._without = [_names(member) for member in said]

    def _made(self, said: Member) -> Ranker:
        for name in _SHARED:
            if name in said.settings:
                raise ParameterError(
                    f"{type(self).__name__}: {name} of {said.model!r} is the blend's: say it "
                    f"beside models, as in {type(self).__name__}(models=…, {name}=…)"
                )
        own = {name: text for name, text in said.settings.items() if name != _WITHOUT}
        member = replace(said, settings=own)
        return member.make(ranker_class, seed=self.seed, objective=self.objective)

    def check_installed(self) -> None:
        for member in self.members:
            member.check_installed()

    def _fit(self, train: Labelled, validation: Labelled | None, run: Run) -> None:
        for member, schema, own in self._each(run):
            held = None if validation is None else _narrowed(validation, schema)
            member._learn(_narrowed(train, schema), held, self._tasks, own)

    def _fit_again(self, rows: Labelled, run: Run) -> bool:
        # Of copies, so that all are as they were where one is ended.
        again = copy.deepcopy(list(self.members))
        for member, (_, schema, own) in zip(again, self._each(run), strict=True):
            if not member._learn_again(_narrowed(rows, schema), own):
                return False
        self.members = again
        return True

    def _each(self, run: Run) -> Iterator[tuple[Ranker, Schema, Run]]:
        """Each member with the features that it sees and its part of a run."""
        runs = run.parted([member.name for member in self.members])
        return zip(self.members, self._schemas(), runs, strict=True)

    def _schemas(self) -> list[Schema]:
        """The features that each member sees."""
        return [self.schema.without(names) for names in self._without]

    def _score(self, features: FeatureBatch) -> NDArray[np.float32]:
        return self._mean([m._score(features.narrowed(m.schema)) for m in self.members])

    def score_requests(self, features: RequestFeatures) -> NDArray[np.float32]:
        self._check_schema(features.schema)
        if self._tasks is not None:
            return super().score_requests(features)
        return self._mean([m.score_requests(features.narrowed(m.schema)) for m in self.members])

    def _mean(self, scores: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        mean: NDArray[np.float64] = np.average(scores, axis=0, weights=self.weights)
        return mean.astype(np.float32)

    def tensors(self) -> dict[str, NDArray[Any]]:
        return tensors_of(self.members)

    def _restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.members = [
            type(member).restored(
                schema,
                None,
                member.hyperparameter_values(),
                tensors_of_member(tensors, number),
                self._tasks,
            )
            for number, (member, schema) in enumerate(
                zip(self.members, self._schemas(), strict=True)
            )
        ]


def _names(said: Member) -> list[str]:
    """The features that a member does not see."""
    names = (name.strip() for name in said.settings.get(_WITHOUT, "").split("|"))
    return [name for name in names if name]


def _narrowed(rows: Labelled, schema: Schema) -> Labelled:
    return replace(rows, features=rows.features.narrowed(schema))
