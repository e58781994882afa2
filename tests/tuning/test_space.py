"""Search spaces from declarations, and what people ask for instead."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from tastemap.errors import ParameterError
from tastemap.hyperparameters import Hyperparameters, hyperparameter
from tastemap.retrieval.table import model_class, model_names
from tastemap.tuning.space import Choices, Range, space_of


class Model(Hyperparameters):
    factors: int = hyperparameter(default=64, help="h", ge=1, le=200, log=True)
    rate: float = hyperparameter(default=0.3, help="h", gt=0, log=True)
    shrinkage: float = hyperparameter(default=10.0, help="h", ge=0)
    exponent: float = hyperparameter(default=0.5, help="h", ge=0, le=1)
    dropout: float = hyperparameter(default=0.5, help="h", ge=0, lt=1)
    rounds: int = hyperparameter(default=10, help="h", ge=1)
    offset: float = hyperparameter(default=0.0, help="h")
    penalty: float | None = hyperparameter(default=None, help="h", gt=0)
    declared: float | None = hyperparameter(default=None, help="h", log=True, search=(0.1, 1))
    loss: Literal["mse", "bpr"] = hyperparameter(default="mse", help="h")
    weigh: bool | None = hyperparameter(default=None, help="h")
    debug: bool = hyperparameter(default=False, help="h", tuned=False)
    label: str = hyperparameter(default="x", help="h")
    epochs: int = hyperparameter(default=20, help="h", ge=1, tuned=False)
    seed: int = hyperparameter(default=0, help="h", ge=0, tuned=False)


def test_ranges_lie_around_the_default_and_within_the_bounds() -> None:
    assert space_of(Model) == {
        "factors": Range(8, 200, log=True, integer=True),
        "rate": Range(0.03, 3.0, log=True, integer=False),
        "shrinkage": Range(0.0, 40.0, log=False, integer=False),
        "exponent": Range(0.0, 1.0, log=False, integer=False),
        "dropout": Range(0.0, 0.95, log=False, integer=False),
        "rounds": Range(1, 40, log=False, integer=True),
        "declared": Range(0.1, 1, log=True, integer=False),
        "loss": Choices(("mse", "bpr")),
        "weigh": Choices((None, False, True)),
    }


def test_what_is_asked_for_replaces_and_adds() -> None:
    asked: dict[str, Any] = {
        "factors": "16..128",
        "rate": (0.1, 0.2),
        "epochs": "5,10",
        "penalty": [None, 0.5],
        "debug": "true,false",
    }
    space = space_of(Model, asked, fixed=["loss", "weigh"])
    assert space["factors"] == Range(16, 128, log=True, integer=True)
    assert space["rate"] == Range(0.1, 0.2, log=True, integer=False)
    assert space["epochs"] == Choices((5, 10))
    assert space["penalty"] == Choices((None, 0.5))
    assert space["debug"] == Choices((True, False))
    assert not {"loss", "weigh", "seed"} & set(space)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"factor": "1..2"}, "did you mean 'factors'"),
        ({"factors": "16"}, "one value is fixed by --set"),
        ({"factors": "64..16"}, r"factors: the range 64..16 is empty"),
        ({"factors": "16..1000"}, "factors must be >= 1 and <= 200, got 1000"),
        ({"rate": "0.1..many"}, "rate must be a number, got 'many'"),
        ({"loss": "mse..bpr"}, "has no range; list its values"),
        ({"loss": "mse,warp"}, "loss must be one of"),
        ({"weigh": "no..yes"}, "has no range; list its values"),
        ({"declared": "0..1"}, "searched by factors, so its range must begin above 0"),
        ({"rate": 3}, r"give a tuple \(low, high\) or a list"),
        ({"seed": "0..5"}, "seed is both fixed and searched"),
    ],
)
def test_what_cannot_be_searched_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        space_of(Model, asked, fixed=["seed"])


class Ends:
    """Suggests one end of every range, or the first choice."""

    def __init__(self, upper: bool) -> None:
        self.upper = upper

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        assert isinstance(low, int) and isinstance(high, int)
        assert low > 0 or not log
        return high if self.upper else low

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        assert low > 0 or not log
        return high if self.upper else low

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[-1] if self.upper else choices[0]


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("name", model_names())
def test_every_model_takes_the_ends_of_its_space(name: str, upper: bool) -> None:
    cls = model_class(name)
    space = space_of(cls)
    drawn = {each: dimension.suggest(Ends(upper), each) for each, dimension in space.items()}
    model = cls(**drawn)
    assert {n: v for n, v in model.hyperparameter_values().items() if n in drawn} == drawn


@pytest.mark.parametrize("name", model_names())
def test_how_a_model_is_trained_is_not_searched_unasked(name: str) -> None:
    training = {
        "seed",
        "epochs",
        "pretraining_epochs",
        "item2vec_epochs",
        "patience",
        "batch_size",
        "min_steps",
    }
    assert not training & set(space_of(model_class(name)))


def test_numbers_that_are_tried_can_be_read() -> None:
    class Third:
        suggest_int = suggest_categorical = None

        def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
            return 1 / 3

    assert Range(0.1, 1.0, log=False, integer=False).suggest(Third(), "x") == 0.333  # type: ignore[arg-type]
    assert Range(0.3333, 1.0, log=False, integer=False).suggest(Third(), "x") == 0.3333  # type: ignore[arg-type]
