"""The model that a task asks for."""

from typing import Any

import tastemap as tm
from benchmarks.contenders.protocol import Next, Rate, TopN


def asked_for(task: TopN | Rate | Next) -> Any:
    """A new one: `model` among the parameters is the class's name, the others are its
    hyper-parameters; the seed is the task's, where the model has one."""
    parameters = dict(task.parameters)
    make = getattr(tm, parameters.pop("model"))
    if "seed" in make.hyperparameters():
        parameters["seed"] = task.seed
    return make(**parameters)
