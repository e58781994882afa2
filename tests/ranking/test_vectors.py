"""Vectors and texts as features: of rows, of the items of a pipeline, and at work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch

import tastemap as tm
from tastemap.errors import DataError, SchemaError
from tastemap.features.batch import FeatureBatch
from tastemap.features.frames import FrameEncoder
from tastemap.features.schema import MultiValued, Schema, Vector
from tastemap.features.tables import AttributeColumns
from tastemap.nn.projected import ProjectedVectors
from tastemap.pipeline.candidates import candidates_of
from tastemap.ranking.table import ranker_class
from tests.features.generated import dataset, events

RUN = tm.Run(device="cpu", progress=False)
SETTINGS: dict[str, dict[str, Any]] = {
    "fm": {"dim": 4, "learning_rate": 0.05, "regularization": 1e-4, "epochs": 8, "batch_size": 128},
    "catboost": {"trees": 60, "learning_rate": 0.2},
}


def rows(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    pictures = 100 * rng.normal(size=(n, 4))
    dragons = rng.random(n) < 0.5
    return pl.DataFrame(
        {
            "picture": pictures.tolist(),
            "title": np.where(dragons, "The Dragôn, again", "a story; the second"),
            "bright": pictures[:, 0] - pictures[:, 2] > 0,
            "dragon": dragons,
        }
    )


TRAIN, TEST = rows(1000, 0), rows(300, 1)


@pytest.mark.parametrize("name", ["fm", "catboost"])
@pytest.mark.parametrize("label", ["bright", "dragon"])
def test_what_a_vector_or_a_word_says_is_learned(name: str, label: str, tmp_path: Path) -> None:
    ranker = ranker_class(name)(**SETTINGS[name])
    kinds = {"title": "text", {"bright": "dragon", "dragon": "bright"}[label]: "ignored"}
    ranker.fit_frame(TRAIN, label, kinds=kinds, run=RUN)
    assert ranker.schema.features == (Vector("picture", 4), MultiValued("title", 7))
    predicted = ranker.predict_frame(TEST)
    assert ((predicted > 0.5) == TEST[label].to_numpy()).mean() > 0.93
    ranker.save(tmp_path / "ranker")
    np.testing.assert_array_equal(tm.load(tmp_path / "ranker").predict_frame(TEST), predicted)


def test_vectors_of_any_frame_are_numbers_and_what_is_missing_is_nan() -> None:
    nan = float("nan")
    given = [[1.0, 2.0], None, [nan, 1.0], [], [3.0, 4.0]]
    encoder = FrameEncoder.fit(pl.DataFrame({"v": given}))
    expected = [[1, 2], [nan, nan], [nan, nan], [nan, nan], [3, 4]]
    whole = [None if each is None else [2, 3] for each in given]
    for frame in (
        pl.DataFrame({"v": given}),
        pl.DataFrame({"v": given}).to_pandas(),
        pa.table({"v": pa.array(given, pa.list_(pa.float64()))}),
    ):
        np.testing.assert_array_equal(encoder.encode(frame).vectors[0], expected)
    fixed = pl.DataFrame({"v": pl.Series(whole, dtype=pl.Array(pl.Float32, 2))})
    np.testing.assert_array_equal(encoder.encode(fixed).vectors[0][:2], [[2, 3], [nan, nan]])
    # Whole numbers are a vector where that is said.
    said = FrameEncoder.fit(pl.DataFrame({"v": whole}), kinds={"v": "vector"})
    assert said.schema.features == (Vector("v", 2),)
    nothing = encoder.encode(pl.DataFrame({"v": [None, None]})).vectors[0]
    assert np.isnan(nothing).all()


def test_what_is_no_vector_or_text_is_said() -> None:
    with pytest.raises(DataError, match=r"row 2, column 'v': a vector of 1 numbers.*others have 2"):
        FrameEncoder.fit(pl.DataFrame({"v": [[1.0, 2.0], [1.0]]}))
    with pytest.raises(DataError, match="column 'v': the column holds no vector"):
        FrameEncoder.fit(pl.DataFrame({"v": [None, []]}, schema={"v": pl.List(pl.Float64)}))
    with pytest.raises(DataError, match="must hold lists of numbers"):
        FrameEncoder.fit(pl.DataFrame({"v": ["a"]}), kinds={"v": "vector"})
    with pytest.raises(DataError, match="must hold text"):
        FrameEncoder.fit(pl.DataFrame({"v": [1.5]}), kinds={"v": "text"})
    schema, none = Schema((Vector("v", 2),)), np.empty((1, 0), np.float32)
    rows = np.empty((1, 0), np.int64)
    with pytest.raises(SchemaError, match="'v' must be float32"):
        FeatureBatch(schema, rows, none, vectors=(np.ones((1, 3), np.float32),))
    half = FeatureBatch(schema, rows, none, vectors=(np.array([[1, np.nan]], np.float32),))
    with pytest.raises(SchemaError, match="NaN in all of a vector"):
        half.check_rows()


def test_a_missing_vector_is_0_and_lengths_do_not_matter() -> None:
    torch.manual_seed(0)
    project = ProjectedVectors(3, 2, 1.0)
    vectors = torch.randn(50, 3)
    vectors[0] = torch.nan
    project.look_at(vectors)
    found = project(vectors)
    assert found[0].tolist() == [0, 0]
    project.look_at(1000 * vectors)
    torch.testing.assert_close(project(1000 * vectors), found)


def test_items_bring_vectors_to_a_pipeline(tmp_path: Path) -> None:
    users, items = 40, 30
    data = dataset(events(0, 800, users, items), users, items)
    assert data.item_table is not None
    pictures = np.random.default_rng(0).normal(size=(items, 5))
    table = data.item_table.with_columns(picture=pl.Series(pictures.tolist()))
    frame = data.to_frame()
    told = tm.Dataset.from_frame(frame, context=["device"], items=table)
    pipeline = tm.Pipeline(
        [tm.Popularity()],
        candidates=20,
        ranker=tm.DCNv2(dim=4, hidden=8, epochs=2),
        rows=tm.OutOfTime(negatives=10, least=2),
    ).fit(told, run=RUN)
    stage = pipeline.stage
    assert stage is not None
    assert stage.features.schema.vectors == (Vector("item.picture", 5),)
    queries = told.queries(np.arange(1, 6))
    asked = candidates_of(pipeline.retrievers, queries, 20)
    features = stage.features.apart(queries, asked)
    row = asked.items[3]
    id_ = told.items.ids([row])[0]
    np.testing.assert_allclose(
        features.items.block.vectors[0][features.places[3]], pictures[int(id_)], rtol=1e-6
    )
    scores = stage.ranker.score_batch(features.joined())
    served = stage.ranker.score_requests(features)
    np.testing.assert_allclose(served, scores, atol=0.03 * float(np.ptp(scores)))
    pipeline.save(tmp_path / "p")
    found = pipeline.recommend([1, 2, 3], k=5)
    assert tm.load(tmp_path / "p").recommend([1, 2, 3], k=5).equals(found)


def test_few_rows_have_their_vectors_as_many_do() -> None:
    about = TRAIN.select("picture", words=pl.col("title").str.split(" "))
    columns = AttributeColumns.of("request", about)
    many = columns.encode(about, len(about))
    for n in (1, 2, 5):
        few = columns.encode(about.head(n), n)
        (vectors,), (lists,) = few.vectors, few.multi_valued
        np.testing.assert_array_equal(vectors, many.vectors[0][:n])
        np.testing.assert_array_equal(lists.rows, many.multi_valued[0].slice(0, n).rows)
