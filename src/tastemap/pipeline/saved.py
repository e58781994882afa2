"""Pipelines as checked directories."""

from __future__ import annotations

from pathlib import Path

from tastemap.errors import ReleaseError
from tastemap.pipeline.pipeline import Pipeline
from tastemap.retrieval.saved import component, dataset_parts, load_dataset, restored
from tastemap.storage import Stored, write_directory

__all__ = ["load_pipeline", "save_pipeline"]


def save_pipeline(pipeline: Pipeline, path: Path, *, overwrite: bool) -> Path:
    """Writes a fitted pipeline; see `Pipeline.save`. The fallback is counted anew from the
    histories when it is loaded."""
    about, tensors, tables = dataset_parts(pipeline.data)
    for retriever in pipeline.retrievers:
        tensors[f"model.{retriever.name}"] = retriever.tensors()
    write_directory(
        path,
        kind="pipeline",
        manifest={
            "data": about,
            "candidates": pipeline.candidates,
            "components": [
                {"name": retriever.name, **component(retriever)}
                for retriever in pipeline.retrievers
            ],
        },
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
        return Pipeline(retrievers, candidates=stored.manifest["candidates"])
    except (KeyError, TypeError) as error:
        raise ReleaseError(f"{stored.path}: a part of the pipeline is missing ({error})") from None
