"""Models and their data sets as checked directories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.vocabulary import Vocabulary
from tastemap.errors import ParameterError, ReleaseError
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.table import model_class
from tastemap.storage import Stored, write_directory

__all__ = ["component", "dataset_parts", "load_dataset", "load_model", "restored", "save_model"]

_TABLES = ("item_table", "user_table", "context")
_HISTORY_ARRAYS = ("offsets", "items", "times", "values", "kinds")


def dataset_parts(
    dataset: Dataset,
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], dict[str, pa.Table]]:
    """What of a data set is stored: a part of the manifest, tensors, and tables.

    Histories are a file of their own, apart from what the models learned.
    """
    manifest = {
        "fingerprint": dataset.fingerprint,
        "events": dataset.n_events,
        "users": dataset.n_users,
        "items": dataset.n_items,
        "kind_names": list(dataset.kind_names),
        "has_times": dataset.has_times,
        "weighted": dataset.weighted,
    }
    tensors = {"histories": {name: getattr(dataset.histories, name) for name in _HISTORY_ARRAYS}}
    tables = {
        "users": pa.table({"user": dataset.users.ids_array}),
        "items": pa.table({"item": dataset.items.ids_array}),
    }
    for name in _TABLES:
        if (table := getattr(dataset, name)) is not None:
            tables[name] = table.to_arrow(compat_level=pl.CompatLevel.oldest())
    return manifest, tensors, tables


def load_dataset(stored: Stored) -> Dataset:
    """The data set of `dataset_parts`.

    Raises:
        ReleaseError: a part is missing or does not fit the others.
    """

    def optional_table(name: str) -> pl.DataFrame | None:
        if name not in stored.table_names:
            return None
        frame = pl.from_arrow(stored.tables(name))
        assert isinstance(frame, pl.DataFrame)
        return frame

    try:
        about = stored.manifest["data"]
        arrays = stored.tensors("histories")
        histories = Histories(*(arrays[name] for name in _HISTORY_ARRAYS))
        users = Vocabulary(stored.tables("users")["user"])
        items = Vocabulary(stored.tables("items")["item"])
        kind_names = tuple(about["kind_names"])
        has_times, weighted = bool(about["has_times"]), bool(about["weighted"])
    except (KeyError, TypeError) as error:
        raise ReleaseError(f"{stored.path}: a part of the data set is missing ({error})") from None
    fits = (
        len(histories) == len(users)
        and histories.offsets[-1] == len(histories.items)
        and (histories.n_events == 0 or histories.items.min() >= 0)
        and (histories.n_events == 0 or histories.items.max() < len(items))
    )
    context = optional_table("context")
    fits = fits and (context is None or context.height == histories.n_events)
    if not fits:
        raise ReleaseError(f"{stored.path}: histories and vocabularies do not fit each other")
    return Dataset(
        users,
        items,
        histories,
        kind_names,
        has_times,
        context,
        optional_table("item_table"),
        optional_table("user_table"),
        weighted=weighted,
    )


def component(model: Retriever) -> dict[str, Any]:
    """What the manifest says of a model: its name and hyper-parameters."""
    return {"model": model.name, "hyperparameters": model.hyperparameter_values()}


def restored(stored: Stored, data: Dataset, about: Mapping[str, Any], tensors: str) -> Retriever:
    """The model that `component` and the group `tensors` describe.

    Raises:
        ReleaseError: the model is unknown here or does not fit what was stored.
    """
    try:
        model = model_class(about["model"])
        return model.restored(data, about.get("hyperparameters", {}), stored.tensors(tensors))
    except (ParameterError, KeyError) as error:
        raise ReleaseError(f"{stored.path}: the stored model cannot be restored: {error}") from None


def save_model(model: Retriever, path: Path, *, overwrite: bool) -> Path:
    """Writes a fitted model; see `Retriever.save`."""
    about, tensors, tables = dataset_parts(model.data)
    write_directory(
        path,
        kind="model",
        manifest={"data": about, **component(model)},
        tensors={**tensors, "model": model.tensors()},
        tables=tables,
        overwrite=overwrite,
    )
    return path


def load_model(stored: Stored) -> Retriever:
    """The model that `save_model` wrote."""
    return restored(stored, load_dataset(stored), stored.manifest, "model")
