"""Rankers as checked directories."""

from __future__ import annotations

from pathlib import Path

from tastemap.errors import ParameterError, ReleaseError, SchemaError
from tastemap.features.frames import FrameEncoder
from tastemap.features.schema import Schema
from tastemap.ranking.base import Ranker
from tastemap.ranking.table import ranker_class
from tastemap.ranking.tasks import Tasks
from tastemap.storage import Stored, write_directory

__all__ = ["load_ranker", "save_ranker"]


def save_ranker(ranker: Ranker, path: Path, *, overwrite: bool) -> Path:
    """Writes a fitted ranker; see `Ranker.save`."""
    encoder = ranker.encoder
    write_directory(
        path,
        kind="ranker",
        manifest={
            "model": ranker.name,
            "hyperparameters": ranker.hyperparameter_values(),
            "features": ranker.schema.described(),
            "tasks": None if ranker.tasks is None else ranker.tasks.described(),
            "columns": None if encoder is None else encoder.described(),
        },
        tensors={"ranker": ranker.stored()},
        tables={} if encoder is None else encoder.tables(),
        overwrite=overwrite,
    )
    return path


def load_ranker(stored: Stored) -> Ranker:
    """The ranker that `save_ranker` wrote.

    Raises:
        ReleaseError: the ranker is unknown here or does not fit what was stored.
    """
    about = stored.manifest
    try:
        make = ranker_class(about["model"])
        schema = Schema.of_description(about["features"])
        encoder = None
        if about["columns"] is not None:
            tables = {name: stored.tables(name) for name in stored.table_names}
            encoder = FrameEncoder.restored(about["columns"], tables)
            if encoder.schema != schema:
                raise SchemaError("columns and features do not fit each other")
        given = about.get("tasks")
        tasks = None if given is None else Tasks(tuple(given["names"]), tuple(given["weights"]))
        tensors = stored.tensors("ranker")
        return make.restored(schema, encoder, about["hyperparameters"], tensors, tasks)
    except (ParameterError, SchemaError, KeyError, TypeError, ValueError) as error:
        raise ReleaseError(
            f"{stored.path}: the stored ranker cannot be restored: {error}"
        ) from None
