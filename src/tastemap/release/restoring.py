"""From a checked directory to the model, ranker, pipeline or index that was saved in it."""

from __future__ import annotations

from typing import Any

from tastemap.errors import DataError, ParameterError, ReleaseError
from tastemap.storage import Stored

__all__ = ["restore"]


def restore(stored: Stored) -> Any:
    """The object that was saved.

    Raises:
        ReleaseError: of a kind or a model that this version does not know, or its parts are not
            all there.
    """
    try:
        # Imported here so that listing and checking releases does not load the models.
        if stored.kind == "model":
            from tastemap.retrieval.saved import load_model

            return load_model(stored)
        if stored.kind == "ranker":
            from tastemap.ranking.saved import load_ranker

            return load_ranker(stored)
        if stored.kind == "pipeline":
            from tastemap.pipeline.saved import load_pipeline

            return load_pipeline(stored)
        if stored.kind == "index":
            from tastemap.index import load_index

            return load_index(stored)
    except (ParameterError, DataError) as error:
        raise ReleaseError(
            f"{stored.path} does not fit this version of tastemap ({stored.record.written_by} "
            f"wrote it): {error}"
        ) from error
    raise ReleaseError(
        f"{stored.path} holds a {stored.kind!r:.40}, and this version of tastemap loads models, "
        "rankers, pipelines and indices. Upgrade with `pip install --upgrade tastemap`"
    )
