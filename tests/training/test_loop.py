"""The loop on a trainable whose course is known beforehand."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tastemap as tm
from tastemap.errors import MissingExtraError, ParameterError
from tastemap.training.loop import State, train
from tastemap.training.run import Run

QUIET = Run(device="cpu", progress=False)


class Counting:
    """Counts epochs; its validation metric follows a script."""

    def __init__(self, script: list[float] | None = None, fails_in: int | None = None) -> None:
        self.done, self.script, self.fails_in = 0, script or [], fails_in
        self.draws: list[float] = []
        self.error: BaseException = KeyboardInterrupt()

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        assert epoch == self.done
        if epoch == self.fails_in:
            raise self.error
        self.done += 1
        self.draws.append(rng.random())
        return {"train_loss": 1 / self.done}

    def state(self) -> State:
        return {"done": np.array(self.done)}

    def restore(self, state: State) -> None:
        self.done = int(state["done"])

    def validate(self) -> dict[str, float]:
        return {"score": self.script[self.done - 1]}


def test_without_validation_all_epochs_run_and_the_last_is_kept() -> None:
    trainable = Counting()
    training = train(trainable, epochs=4, seed=0, run=QUIET)
    assert (training.stopped, training.best_epoch, trainable.done) == ("finished", 4, 4)
    assert [m["train_loss"] for m in training.history] == [1, 1 / 2, 1 / 3, 1 / 4]
    assert [m["epoch"] for m in training.history] == [1, 2, 3, 4]


@pytest.mark.parametrize("sign", [1, -1])
def test_patience_stops_and_the_best_state_comes_back(sign: int) -> None:
    trainable = Counting([sign * x for x in (0.1, 0.3, 0.2, 0.2, 0.9)])
    training = train(
        trainable, epochs=5, seed=0, run=QUIET, validate=trainable.validate, monitor="score",
        higher_is_better=sign > 0, patience=2,
    )  # fmt: skip
    assert (training.stopped, training.best_epoch) == ("patience", 2)
    assert len(training.history) == 4
    assert trainable.done == 2


def test_the_best_state_comes_back_at_the_end_too() -> None:
    trainable = Counting([0.1, 0.5, 0.4])
    training = train(
        trainable, epochs=3, seed=0, run=QUIET, validate=trainable.validate, monitor="score"
    )
    assert (training.stopped, training.best_epoch, trainable.done) == ("finished", 2, 2)


def test_ctrl_c_keeps_the_best_so_far() -> None:
    trainable = Counting([0.5, 0.1, 0.2, 0.3], fails_in=3)
    training = train(
        trainable, epochs=9, seed=0, run=QUIET, validate=trainable.validate, monitor="score"
    )
    assert (training.stopped, training.best_epoch, trainable.done) == ("interrupted", 1, 1)
    trainable = Counting(fails_in=3)
    training = train(trainable, epochs=9, seed=0, run=QUIET)
    assert (training.stopped, training.best_epoch, trainable.done) == ("interrupted", 3, 3)


def test_ctrl_c_in_the_first_epoch_leaves_nothing_to_keep() -> None:
    with pytest.raises(KeyboardInterrupt):
        train(Counting(fails_in=0), epochs=9, seed=0, run=QUIET)


def test_the_time_budget_ends_training_after_an_epoch() -> None:
    trainable = Counting()
    training = train(trainable, epochs=9, seed=0, run=Run(progress=False, time_budget=1e-9))
    assert (training.stopped, training.best_epoch, trainable.done) == ("time budget", 1, 1)


def test_a_seed_gives_the_same_random_numbers_an_own_stream_for_every_epoch() -> None:
    first, second, other = Counting(), Counting(), Counting()
    for trainable, seed in ((first, 1), (second, 1), (other, 2)):
        train(trainable, epochs=3, seed=seed, run=QUIET)
    assert first.draws == second.draws
    assert len({*first.draws, *other.draws}) == 6


def test_divergence_is_an_error_that_says_what_to_do() -> None:
    class Diverging(Counting):
        def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
            return {"train_loss": float("nan") if epoch else 1.0}

    with pytest.raises(ParameterError, match=r"epoch 2 .* lower learning_rate"):
        train(Diverging(), epochs=3, seed=0, run=QUIET)


def test_validation_needs_a_monitor() -> None:
    with pytest.raises(ParameterError, match="monitor"):
        train(Counting(), epochs=1, seed=0, run=QUIET, validate=dict)


def test_the_run_folder(tmp_path: Path) -> None:
    trainable = Counting([0.1, 0.5, 0.4])
    folder = tmp_path / "runs" / "first"
    about: dict[str, Any] = {
        "hyperparameters": {"factors": 8, "epochs": None},
        "data": {"fingerprint": "abc"},
    }
    for _ in range(2):
        trainable.done = 0
        train(
            trainable, epochs=3, seed=0, run=Run(folder, progress=False), about=lambda: about,
            validate=trainable.validate, monitor="score",
        )  # fmt: skip
    written = tomllib.loads((folder / "run.toml").read_text())
    assert written["hyperparameters"] == {"factors": 8, "epochs": "none"}
    assert written["data"] == {"fingerprint": "abc"}
    assert written["run"]["status"] == "finished"
    assert written["run"]["best_epoch"] == 2
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["score"] for line in lines] == [0.1, 0.5, 0.4]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_run_folder_says_how_it_failed(tmp_path: Path) -> None:
    trainable = Counting(fails_in=1)
    trainable.error = MemoryError()
    with pytest.raises(MemoryError):
        train(trainable, epochs=3, seed=0, run=Run(tmp_path, progress=False))
    written = tomllib.loads((tmp_path / "run.toml").read_text())
    assert written["run"]["status"] == "failed: MemoryError"
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_progress_is_shown_when_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    train(Counting(), epochs=3, seed=0, run=Run(progress=True))
    shown = capfd.readouterr()
    assert "3/3" in shown.err and "train_loss" in shown.err
    train(Counting(), epochs=3, seed=0, run=QUIET)
    assert capfd.readouterr() == ("", "")


def test_bad_runs_are_named() -> None:
    with pytest.raises(ParameterError, match="time_budget"):
        Run(time_budget=0)
    with pytest.raises(ParameterError, match="tracker"):
        Run(tracker="abacus")  # type: ignore[arg-type]
    for device in ("abacus", "gpuu", 7.5):
        with pytest.raises(ParameterError, match=r"device .* is not one of torch's"):
            Run(device=device)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="no device 'cuda:99'"):
        Run(device="cuda:99").torch_device()
    assert Run(device="cpu").torch_device() == "cpu"


def test_what_is_no_run_is_named(movies: tm.Dataset) -> None:
    for fitted in (tm.EASE(), tm.Pipeline([tm.EASE()])):
        with pytest.raises(ParameterError, match=r"run is a tm\.Run, .* not a dict"):
            fitted.fit(movies, run={"device": "cpu"})  # type: ignore[arg-type]


def test_compiled_passes_are_left_for_a_device_that_was_asked_for_only() -> None:
    assert Run().kernel_device() == Run(device="cpu").kernel_device() == "cpu"
    assert Run(device="cpu:0").kernel_device() == "cpu:0"
    with pytest.raises(ParameterError, match="no device 'cuda:99'"):
        Run(device="cuda:99").kernel_device()


def test_a_tracker_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tastemap\[mlflow\]'") as caught:
        train(Counting(), epochs=1, seed=0, run=Run(tracker="mlflow", progress=False))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("already_open", [False, True])
def test_mlflow_gets_settings_metrics_and_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, already_open: bool
) -> None:
    # The real one, with the store that needs no database.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow

    mlflow.set_tracking_uri((tmp_path / "tracked").as_uri())
    run = Run(tmp_path / "run", tracker="mlflow", progress=False)

    def trained() -> None:
        about = {"hyperparameters": {"factors": 8}}
        train(Counting(), epochs=2, seed=0, run=run, about=lambda: about)

    if already_open:
        with mlflow.start_run(run_name="mine") as mine:
            trained()
            # A run that the caller has opened stays open.
            assert mlflow.active_run().info.run_id == mine.info.run_id
    else:
        trained()
    assert mlflow.active_run() is None
    (tracked,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["hyperparameters.factors"] == "8"
    client = mlflow.MlflowClient()
    name = next(name for name in tracked.data.metrics if name != "seconds")
    history = client.get_metric_history(tracked.info.run_id, name)
    assert [point.step for point in history] == [1, 2]
    files = {file.path for file in client.list_artifacts(tracked.info.run_id)}
    assert {"metrics.jsonl", "run.toml"} <= files


def test_every_epoch_is_told_and_what_is_raised_ends_it(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    told: list[Mapping[str, float]] = []

    def listen(measured: Mapping[str, float]) -> None:
        told.append(measured)
        if measured["epoch"] == 2:
            raise Enough

    run = Run(device="cpu", progress=False, folder=tmp_path, on_epoch=listen)
    with pytest.raises(Enough):
        train(Counting([0.1, 0.2, 0.3]), epochs=3, seed=0, run=run)
    assert [m["epoch"] for m in told] == [1, 2]
    assert [m["train_loss"] for m in told] == [1, 1 / 2]
    assert tomllib.loads((tmp_path / "run.toml").read_text())["run"]["status"] == "failed: Enough"
