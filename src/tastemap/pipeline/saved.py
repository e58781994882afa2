"""Pipelines as checked directories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tastemap.data.dataset import Dataset
from tastemap.errors import ReleaseError
from tastemap.features.point_in_time import PointInTime
from tastemap.index import Index
from tastemap.index.table import restored_index
from tastemap.pipeline.long_tail import LongTail
from tastemap.pipeline.pipeline import Pipeline
from tastemap.pipeline.ranking_stage import OutOfTime, RankingStage
from tastemap.pipeline.short_histories import ShortHistories
from tastemap.policy.rules import Rules
from tastemap.ranking.table import ranker_class
from tastemap.retrieval.saved import component, dataset_parts, load_dataset, restored
from tastemap.storage import Stored, write_directory

__all__ = ["load_pipeline", "save_pipeline"]


def save_pipeline(pipeline: Pipeline, path: Path, *, overwrite: bool) -> Path:
    """Writes a fitted pipeline; see `Pipeline.save`. The fallback is counted anew from the
    histories when it is loaded."""
    about, tensors, tables = dataset_parts(pipeline.data)
    for retriever in pipeline.retrievers:
        tensors[f"model.{retriever.name}"] = retriever.tensors()
    manifest: dict[str, Any] = {
        "data": about,
        "candidates": pipeline.candidates,
        "short_histories": pipeline.short_histories.hyperparameter_values(),
        "components": [
            {"name": retriever.name, **component(retriever)} for retriever in pipeline.retrievers
        ],
    }
    if pipeline.rules:
        manifest["rules"] = pipeline.rules.to_tables()
    if pipeline.indices:
        manifest["indices"] = {}
    for name, index in pipeline.indices.items():
        manifest["indices"][name] = index.described()
        tensors |= index.tensors(f"index.{name}")
    if (stage := pipeline.stage) is not None:
        manifest["ranking"], tables["features"] = _described(stage, pipeline.rows)
        tensors["ranker"] = stage.ranker.stored()
        tensors["seen"] = {str(place): seen for place, seen in enumerate(stage.seen)}
    write_directory(
        path,
        kind="pipeline",
        manifest=manifest,
        tensors=tensors,
        tables=tables,
        overwrite=overwrite,
    )
    return path


def load_pipeline(stored: Stored) -> Pipeline:
    """The pipeline that `save_pipeline` wrote.

    Raises:
        ReleaseError: a part is missing or does not fit.
    """
    data = load_dataset(stored)
    try:
        components = stored.manifest["components"]
        retrievers = [
            restored(stored, data, about, f"model.{about['name']}") for about in components
        ]
        candidates = stored.manifest["candidates"]
        indices = _restored_indices(stored, data)
        rules = Rules.from_tables(stored.manifest.get("rules", {}))
        if "ranking" not in stored.manifest:
            short = ShortHistories(**stored.manifest.get("short_histories", {}))
            return Pipeline(
                retrievers,
                candidates=candidates,
                short_histories=short,
                indices=indices,
                rules=rules,
            )
        ranking = stored.manifest["ranking"]
        stage = _restored_stage(stored, data, ranking)
        rows = OutOfTime(**ranking["rows"])
        return Pipeline.with_stage(
            retrievers, stage, candidates=candidates, rows=rows, indices=indices, rules=rules
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(f"{stored.path}: a part of the pipeline is missing ({error})") from None


def _restored_indices(stored: Stored, data: Dataset) -> dict[str, Index]:
    found = {}
    for name, about in stored.manifest.get("indices", {}).items():
        found[name] = index = restored_index(stored, f"index.{name}", about)
        if index.greatest_row >= len(data.items):
            raise ReleaseError(f"{stored.path}: the index of {name} does not fit the data set")
    return found


def _described(stage: RankingStage, rows: OutOfTime) -> tuple[dict[str, Any], pa.Table]:
    """What the manifest says of a ranking stage, and the columns that its features look at. What
    its features count is counted anew from the histories."""
    about, columns = stage.features.state()
    return {
        "ranker": stage.ranker.name,
        "hyperparameters": stage.ranker.hyperparameter_values(),
        "features": {"hyperparameters": stage.features.hyperparameter_values(), **about},
        "rows": rows.hyperparameter_values(),
        "long_tail": stage.long_tail.hyperparameter_values(),
    }, columns


def _restored_stage(stored: Stored, data: Dataset, about: Mapping[str, Any]) -> RankingStage:
    features = PointInTime.restored(
        data, about["features"]["hyperparameters"], about["features"], stored.tables("features")
    )
    ranker = ranker_class(about["ranker"]).restored(
        features.schema, None, about["hyperparameters"], stored.tensors("ranker")
    )
    seen = stored.tensors("seen")
    fits = [seen[str(place)] for place in range(len(features.schema.categorical))]
    sizes = [feature.size for feature in features.schema.categorical]
    if [len(each) for each in fits] != sizes:
        raise ReleaseError(f"{stored.path}: the ranker does not fit the data set")
    return RankingStage(ranker, features, fits, LongTail(**about["long_tail"]))
