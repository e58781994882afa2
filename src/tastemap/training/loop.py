"""The one training loop: epochs, early stopping, the best state, time budget, Ctrl-C."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import ParameterError
from tastemap.training.run import About, Run

__all__ = ["State", "Trainable", "Training", "train"]

State = dict[str, NDArray[Any]]


class Trainable(Protocol):
    """What the loop drives: compiled epochs on the CPU and torch optimizers alike."""

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        """One pass over the training data; epochs count from 0.

        Returns what was measured on the way, such as the training loss, by name.
        """

    def state(self) -> State:
        """A copy of what has been learned so far."""

    def restore(self, state: State) -> None:
        """Goes back to what `state` gave."""


@dataclass
class Training:
    """How a training went.

    Attributes:
        stopped: why it ended.
        best_epoch: the epoch whose state was kept, from 1.
        history: for each epoch its number, the seconds since the start, and all metrics.
    """

    stopped: Literal["finished", "patience", "time budget", "interrupted"] = "finished"
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def go_on(self) -> None:
        """Called where another training begins with this one, which Ctrl-C is to end as well.

        Raises:
            KeyboardInterrupt: Ctrl-C has ended this one.
        """
        if self.stopped == "interrupted":
            raise KeyboardInterrupt


def train(
    trainable: Trainable,
    *,
    epochs: int,
    seed: int,
    run: Run | None = None,
    about: About | None = None,
    validate: Callable[[], Mapping[str, float]] | None = None,
    monitor: str | None = None,
    higher_is_better: bool = True,
    patience: int = 5,
) -> Training:
    """Trains in epochs and leaves the trainable in its best state.

    With `validate`, the best state is that of the epoch with the best `monitor`, and training stops
    after `patience` epochs without a better one. Without, it is that of the last epoch. Ctrl-C ends
    training with the best state so far; before the end of the first epoch there is none, and
    KeyboardInterrupt goes on to the caller.

    Args:
        trainable: what to train, in place.
        epochs: at most so many.
        seed: of the random numbers that `train_epoch` gets, its own stream for every epoch.
        run: progress bar, run folder, time budget, tracker.
        about: nested settings that the run folder and the tracker keep, or what gives them.
        validate: measures the current state after every epoch.
        monitor: the name of the metric of `validate` to go by; required with it.
        higher_is_better: whether more of it is better.
        patience: epochs to wait for a better one.

    Raises:
        ParameterError: a metric of training is not finite any more.
    """
    if validate is not None and monitor is None:
        raise ParameterError("train: validate needs the name of a metric to monitor")
    run = Run.of(run)
    training = Training()
    best_value, best_state = -math.inf, None
    start = time.perf_counter()
    with run.recorder(about or {}, epochs) as recorder:
        try:
            for epoch in range(1, epochs + 1):
                rng = np.random.default_rng([seed, epoch])
                measured = dict(trainable.train_epoch(epoch - 1, rng))
                _check_finite(epoch, measured)
                if validate is not None:
                    measured.update(validate())
                seconds = time.perf_counter() - start
                training.history.append({"epoch": epoch, "seconds": seconds, **measured})
                recorder.epoch(training.history[-1])
                if monitor is None:
                    training.best_epoch = epoch
                else:
                    value = measured[monitor] if higher_is_better else -measured[monitor]
                    if best_state is None or value > best_value:
                        best_value, best_state = value, trainable.state()
                        training.best_epoch = epoch
                    elif epoch - training.best_epoch >= patience:
                        training.stopped = "patience"
                        break
                if run.time_budget is not None and seconds >= run.time_budget and epoch < epochs:
                    training.stopped = "time budget"
                    break
        except KeyboardInterrupt:
            if training.best_epoch == 0:
                raise
            training.stopped = "interrupted"
        if best_state is not None:
            trainable.restore(best_state)
        recorder.finish(training.stopped, training.best_epoch)
    return training


def _check_finite(epoch: int, measured: Mapping[str, float]) -> None:
    for name, value in measured.items():
        if not math.isfinite(value):
            raise ParameterError(
                f"training diverged in epoch {epoch} ({name} is {value}); lower learning_rate, "
                "or, where the values are no ratings of a few points, bring them to a small scale"
            )
