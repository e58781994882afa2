"""What every ranker promises, the boosted trees included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.errors import DataError, NotFittedError, ParameterError, ReleaseError, SchemaError
from tastemap.features.frames import FrameEncoder
from tastemap.ranking.base import Ranker
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.neural import NeuralRanker
from tastemap.ranking.table import ranker_class, ranker_names

LETTERS = list("abcd")
NEURAL = {"learning_rate": 0.03, "regularization": 1e-4, "epochs": 12, "batch_size": 128}
DEEP = {"hidden": 32, "layer_rate": 1.0, "dropout": 0.0, "input_dropout": 0.0, "dim": 8}


def blended(epochs: int) -> str:
    said = {**NEURAL, "dim": 8, "epochs": epochs, "patience": 2}
    fm = ", ".join(f"{name}={value}" for name, value in said.items())
    return f"fm({fm}) + lightgbm(trees=5, without=left|seen)"


SETTINGS: dict[str, dict[str, Any]] = {
    "fm": {**NEURAL, "dim": 8},
    "stagedfm": {**NEURAL, "dim": 8, "ids_from": 4},
    "ffm": NEURAL,
    "widedeep": {**DEEP, "batch_size": 64, "epochs": 12, "l1": 1e-4},
    "deepfm": {**NEURAL, **DEEP, "members": 2},
    "dcnv2": {**NEURAL, **DEEP},
    "gdcn": {**NEURAL, **DEEP},
    "neumfranker": {**NEURAL, **DEEP, "user": "left", "item": "right"},
    "din": {**NEURAL, **DEEP},
    "finalmlp": {**NEURAL, **DEEP, "heads": 2, "learning_rate": 0.01},
    "mmoe": {**NEURAL, **DEEP, "experts": 2, "tower": 8},
    # Without the left letter the second member says next to nothing.
    "blendranker": {"models": blended(12)},
    "catboost": {"trees": 60, "learning_rate": 0.2},
    "lightgbm": {"trees": 100, "learning_rate": 0.2, "l2": 0.1, "min_rows": 5},
}


def rows(n: int, seed: int) -> pl.DataFrame:
    """A click where the places of two letters in the alphabet are both even or both odd, which
    neither of them says alone; beside it columns of every other kind that say nothing."""
    rng = np.random.default_rng(seed)
    left, right = rng.integers(0, 4, (2, n))
    return pl.DataFrame(
        {
            "left": [LETTERS[place] for place in left],
            "right": [LETTERS[place] for place in right],
            "price": rng.normal(size=n),
            "tags": [rng.choice(LETTERS, rng.integers(0, 3)).tolist() for _ in range(n)],
            "member": rng.random(n) < 0.5,
            "shelf": rng.choice(["x", "y"], n),
            "seen": [rng.choice(["x", "y"], rng.integers(0, 4)).tolist() for _ in range(n)],
            "picture": rng.normal(size=(n, 3)).tolist(),
            "note": rng.choice(["A note.", "another note", ""], n),
            "click": ((left + right) % 2 == 0).astype(np.int8),
        }
    )


KINDS = {"seen": "sequence of shelf", "note": "text"}
TRAIN, TEST = rows(800, 1), rows(300, 2)


@pytest.fixture(scope="module", params=ranker_names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(name: str, **more: Any) -> Ranker:
    return ranker_class(name)(**{**SETTINGS[name], **more})


def quick(name: str, **more: Any) -> Ranker:
    shortened: dict[str, Any] = {"epochs": 2, "trees": 5, "models": blended(2)}
    return make(name, **of(name, **shortened), **more)


def of(name: str, **given: Any) -> dict[str, Any]:
    """Those hyper-parameters that a ranker has."""
    known = ranker_class(name).hyperparameters()
    return {each: value for each, value in given.items() if each in known}


@pytest.fixture(scope="module")
def fitted(name: str) -> Ranker:
    return make(name).fit_frame(TRAIN, kinds=KINDS)


def test_is_public_under_its_name(name: str) -> None:
    cls = ranker_class(name)
    assert cls.name == name
    assert cls.paper
    assert getattr(tm, cls.__name__) is cls


def test_learns_by_heart_what_needs_two_columns(fitted: Ranker) -> None:
    predicted = fitted.predict_frame(TEST)
    assert predicted.dtype == np.float64
    assert predicted.shape == (TEST.height,)
    assert ((predicted > 0.5) == (TEST["click"] == 1).to_numpy()).mean() > 0.97


@pytest.mark.parametrize("name", ["fm", "deepfm", "widedeep"])
def test_large_tables_learn_by_sparse_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tastemap.ranking.parts.fields._SPARSE_FROM", 1)
    ranker = make(name).fit_frame(TRAIN, kinds=KINDS)
    assert isinstance(ranker, NeuralRanker)
    fields = [module for module in ranker.network.modules() if isinstance(module, Fields)]
    assert all(each.table.weight.grad.is_sparse for each in fields)  # type: ignore[union-attr]
    assert ((ranker.predict_frame(TEST) > 0.5) == (TEST["click"] == 1).to_numpy()).mean() > 0.97


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("fm", {"tables": "hashed", "table_rows": 16}),
        ("dcnv2", {"tables": "multiplexed", "table_rows": 500}),
    ],
)
def test_tables_can_be_shared(name: str, tables: dict[str, Any], tmp_path: Path) -> None:
    # The words of notes would not find room.
    rows, kinds = TRAIN.drop("note"), {"seen": "sequence of shelf"}
    ranker = make(name, **tables).fit_frame(rows, kinds=kinds)
    predicted = ranker.predict_frame(TEST)
    assert ((predicted > 0.5) == (TEST["click"] == 1).to_numpy()).mean() > 0.97
    ranker.save(tmp_path / "ranker")
    np.testing.assert_array_equal(tm.load(tmp_path / "ranker").predict_frame(TEST), predicted)


def test_saved_and_loaded_it_answers_alike(fitted: Ranker, tmp_path: Path) -> None:
    fitted.save(tmp_path / "ranker")
    loaded = tm.load(tmp_path / "ranker")
    assert type(loaded) is type(fitted)
    assert loaded.hyperparameter_values() == fitted.hyperparameter_values()
    np.testing.assert_array_equal(loaded.predict_frame(TEST), fitted.predict_frame(TEST))
    with pytest.raises(ReleaseError, match="exists already"):
        fitted.save(tmp_path / "ranker")


def test_other_rows_in_the_batch_change_nothing(fitted: Ranker) -> None:
    together = fitted.predict_frame(TEST[:30])
    alone = [fitted.predict_frame(TEST[place : place + 1])[0] for place in range(30)]
    np.testing.assert_allclose(alone, together, atol=1e-6)
    assert len(fitted.predict_frame(TEST[:0])) == 0


def test_unseen_values_and_nulls_are_answered(fitted: Ranker) -> None:
    odd = pl.DataFrame(
        {
            "left": ["never seen", None, "a", "a"],
            "right": ["b", "b", None, "b"],
            "price": [1e30, None, float("nan"), float("inf")],
            "tags": [["never seen"], None, [], [None]],
            "member": [None, True, None, False],
            "shelf": ["x", "never seen", None, "y"],
            "seen": [["never seen", "x"], None, [], [None]],
            "picture": [[1e30, 0.0, 0.0], None, [float("nan"), 0.0, 0.0], []],
            "note": ["never seen", None, "", "Note"],
        },
        schema_overrides={"tags": pl.List(pl.String)},
    )
    predicted = fitted.predict_frame(odd)
    assert np.isfinite(predicted).all()
    assert ((predicted >= 0) & (predicted <= 1)).all()
    # Of unknown letters it cannot say which of the two it is.
    assert abs(predicted[1] - 0.5) < abs(predicted[3] - 0.5)
    nothing = pl.DataFrame({column: [None] for column in odd.columns})
    assert np.isfinite(fitted.predict_frame(nothing)).all()


def test_a_seed_makes_the_same_model(name: str) -> None:
    predicted = [
        quick(name, seed=seed).fit_frame(TRAIN, kinds=KINDS).predict_frame(TEST)
        for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(predicted[0], predicted[1])
    if name != "lightgbm":  # which draws nothing unless rows or columns are sampled
        assert not np.array_equal(predicted[0], predicted[2])


def test_frames_and_batches_are_the_same_rows(name: str) -> None:
    encoder = FrameEncoder.fit(TRAIN, exclude=["click"], kinds=KINDS)
    labels = TRAIN["click"].to_numpy()
    by_batch = quick(name).fit_batch(encoder.encode(TRAIN), labels)
    scores = by_batch.score_batch(encoder.encode(TEST))
    assert scores.dtype == np.float32
    by_frame = quick(name).fit_frame(TRAIN.to_pandas(), kinds=KINDS)
    odds = by_frame.predict_frame(TEST.to_pandas())
    np.testing.assert_allclose(1 / (1 + np.exp(-scores.astype(float))), odds, atol=1e-7)
    with pytest.raises(NotFittedError, match="fit_frame"):
        by_batch.predict_frame(TEST)
    other = FrameEncoder.fit(TRAIN, exclude=["click", "left"], kinds=KINDS).encode(TRAIN)
    with pytest.raises(SchemaError, match=r"left, right.*got other ones"):
        by_batch.score_batch(other)


def test_validation_rows_stop_it_early(name: str) -> None:
    # Labels that nothing says: what is learned of them can only make the validation rows worse.
    noise = np.random.default_rng(0).integers(0, 2, TRAIN.height)
    train = TRAIN.with_columns(click=pl.Series(noise))
    held = TEST.with_columns(click=pl.Series(1 - noise[: TEST.height]))
    stopped, went_on = (
        make(name, **of(name, patience=2)).fit_frame(train, kinds=KINDS, **more).predict_frame(TEST)
        for more in ({"validation": held}, {})
    )
    assert stopped.std() < 0.95 * went_on.std()


def test_it_learns_validation_rows_when_they_have_stopped_it(name: str) -> None:
    # That "a" is clicked as "b" is, only the validation rows tell, which are more.
    def clicked(frame: pl.DataFrame, *letters: str) -> pl.DataFrame:
        return frame.with_columns(click=pl.col("left").is_in(letters))

    train, held = clicked(TRAIN, "b"), clicked(rows(1200, 3), "a", "b")
    asked = clicked(TEST.filter(pl.col("left") != "b"), "a")

    def auc(**more: Any) -> float:
        ranker = make(name, **more).fit_frame(train, validation=held, kinds=KINDS)
        return tm.metrics.click_auc(ranker.predict_frame(asked), asked["click"].to_numpy())

    assert auc() < 0.8
    assert auc(refit=True) > 0.9


def test_what_is_wrong_with_a_frame_is_said(name: str, fitted: Ranker) -> None:
    with pytest.raises(DataError, match=r"column 'left': the column is missing"):
        fitted.predict_frame(TEST.drop("left"))
    with pytest.raises(DataError, match=r"there is no column 'liked'.*label="):
        quick(name).fit_frame(TRAIN, label="liked", kinds=KINDS)
    stars = TRAIN.with_columns(click=pl.Series([0, 1, 5, *[1] * (TRAIN.height - 3)]))
    with pytest.raises(DataError, match=r"row 3, value 5.0: a label must be 0 or 1"):
        quick(name).fit_frame(stars, kinds=KINDS)
    gaps = TRAIN.with_columns(click=pl.Series([0, None, *[1] * (TRAIN.height - 2)]))
    with pytest.raises(DataError, match=r"row 2, column 'click'.*missing"):
        quick(name).fit_frame(gaps, kinds=KINDS)
    with pytest.raises(DataError, match="no rows"):
        quick(name).fit_frame(TRAIN[:0], kinds=KINDS)
    with pytest.raises(DataError, match=r"row 1.*a label must be 0 or 1"):
        quick(name).fit_frame(TRAIN, validation=stars[2:], kinds=KINDS)


def test_before_a_fit_there_is_no_answer(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="not been fitted"):
        make(name).predict_frame(TEST)
    with pytest.raises(NotFittedError, match="not been fitted"):
        make(name).save(tmp_path / "ranker")
    with pytest.raises(ParameterError, match="seed must be"):
        make(name, seed=-1)


def test_true_and_false_are_labels_too(name: str) -> None:
    told = TRAIN.with_columns(pl.col("click").cast(pl.Boolean))
    same = [
        quick(name).fit_frame(frame, kinds=KINDS).predict_frame(TEST) for frame in (TRAIN, told)
    ]
    np.testing.assert_array_equal(same[0], same[1])


def test_who_and_what_have_to_be_there() -> None:
    with pytest.raises(SchemaError, match=r"no categorical feature 'item'.*name it with item="):
        tm.NeuMFRanker(user="left").fit_frame(TRAIN, kinds=KINDS)
    with pytest.raises(SchemaError, match="did you mean 'left'"):
        tm.NeuMFRanker(user="lefts", item="right").fit_frame(TRAIN, kinds=KINDS)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ParameterError, match="did you mean 'deepfm'"):
        ranker_class("depfm")


def test_rows_of_one_label_are_learned_or_refused_in_our_words() -> None:
    alike = TRAIN[:40].with_columns(click=pl.lit(1))
    with pytest.raises(DataError, match=r"CatBoost cannot learn from these rows .*one unique"):
        quick("catboost").fit_frame(alike, kinds=KINDS)
    found = quick("lightgbm").fit_frame(alike, kinds=KINDS).predict_frame(alike)
    assert (found > 0.5).all()
