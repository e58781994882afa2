from __future__ import annotations

from typing import Any, Literal

import pytest

from tastemap.errors import ParameterError
from tastemap.hyperparameters import Hyperparameters, hyperparameter


class Model(Hyperparameters):
    factors: int = hyperparameter(default=8, help="length of the vectors", ge=1, le=64)
    rate: float = hyperparameter(default=0.1, help="step", gt=0, lt=1, log=True)
    loss: Literal["mse", "bpr"] = hyperparameter(default="mse", help="objective")
    window: float | None = hyperparameter(default=None, help="days", search=(1, 90))
    biased: bool = hyperparameter(default=True, help="with biases", tuned=False)
    label: str = hyperparameter(default="x", help="a text")


class Child(Model):
    rate: float = hyperparameter(default=0.2, help="step", gt=0, lt=1, log=True)
    depth: int = hyperparameter(default=2, help="layers", ge=0)


def test_defaults_and_values() -> None:
    model = Child(rate=1e-3, depth=0, window=3)
    assert model.hyperparameter_values() == {
        "factors": 8, "rate": 1e-3, "loss": "mse", "window": 3.0, "biased": True, "label": "x",
        "depth": 0,
    }  # fmt: skip
    assert isinstance(model.window, float)
    assert "depth" not in Model.hyperparameters()
    assert repr(Model(factors=4)).startswith("Model(factors=4, rate=0.1")


def test_the_own_ones_stand_before_those_of_the_base() -> None:
    assert list(Child.hyperparameters())[:4] == ["rate", "depth", "factors", "loss"]
    assert Child().rate == 0.2 and Model().rate == 0.1


def test_all_bases_have_theirs() -> None:
    class Other(Hyperparameters):
        depth: int = hyperparameter(default=3, help="of other things", ge=1)
        width: int = hyperparameter(default=4, help="units", ge=1)

    class Both(Other, Child):
        pass

    names = ["depth", "width", "rate", "factors", "loss", "window", "biased", "label"]
    assert list(Both.hyperparameters()) == names
    assert Both().depth == 3 and Both.hyperparameter("depth").ge == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"factors": 0}, r"Model: factors must be >= 1 and <= 64, got 0"),
        ({"factors": 2.5}, "factors must be a whole number"),
        ({"factors": "8"}, "factors must be a whole number"),
        ({"factors": True}, "factors must be a whole number"),
        ({"factors": None}, "factors must be int"),
        ({"rate": 0.0}, "rate must be > 0 and < 1"),
        ({"rate": float("nan")}, "rate must be a finite number"),
        ({"loss": "hinge"}, "loss must be one of 'mse', 'bpr'"),
        ({"biased": 1}, "biased must be true or false"),
        ({"label": 3}, "label must be a string"),
        ({"factor": 3}, "no hyper-parameter 'factor'; did you mean 'factors'"),
    ],
)
def test_wrong_values_name_the_field(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Model(**values)


def test_texts_of_a_command_line() -> None:
    model = Model.from_text({"factors": "16", "rate": "1e-2", "window": "none", "biased": "no"})
    assert (model.factors, model.rate, model.window, model.biased) == (16, 0.01, None, False)
    assert Model.from_text({"window": "7"}).window == 7.0
    for name, text in (("factors", "many"), ("rate", "2"), ("biased", "maybe"), ("nope", "1")):
        with pytest.raises(ParameterError, match=name):
            Model.from_text({name: text})


def test_what_help_shows() -> None:
    shown = Model.hyperparameters()
    assert shown["factors"].bounds == ">= 1 and <= 64"
    assert shown["window"].type_name == "float | none"
    assert shown["loss"].type_name == "mse | bpr"
    assert shown["rate"].log


def test_what_a_search_is_told() -> None:
    declared = Model.hyperparameters()
    assert declared["window"].search == (1, 90)
    assert [name for name, each in declared.items() if not each.tuned] == ["biased"]
