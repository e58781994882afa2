"""What is told of a film beside title, year and genres: its makers, its country, its plot."""

import pickle
import re
from dataclasses import replace
from typing import Any

import polars as pl

from benchmarks.data import fetched
from tastemap.data.dataset import Dataset

# What OMDb says of the films of movielens-1m, as vectorsss collected it. No licence is stated:
# fetched, never passed on.
_URL = (
    "https://raw.githubusercontent.com/vectorsss/movielens_100k_1m_extension/"
    "06f84de0b69e0e99e4fb6eb71b6d866df35e6bd8/data/ml-1m/metadata.pkl"
)
_SHA256 = "46745f3f4170d0b5aa5879f631cdf03be0be07144747f07f120311372ee18205"
_LISTS = {
    "directors": "Director", "writers": "Writer", "actors": "Actors", "countries": "Country",
    "languages": "Language",
}  # fmt: skip


class _PlainValues(pickle.Unpickler):
    """Reads texts, numbers and containers, the only things that the file holds; never a class, so
    that reading runs nothing."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


def with_details(dataset: Dataset) -> Dataset:
    """movielens-1m with directors, writers, actors, countries, languages (lists), rating by age,
    and plot (text) of its films, where they are known.

    What came of a film later, such as votes and awards, is left out: a new film has none.
    """
    with fetched(_URL, _SHA256, "movielens-1m-details.pkl").open("rb") as file:
        films = _PlainValues(file).load()
    details = pl.DataFrame(
        [{"item": title, **_details(said)} for (_, title, _), said in films],
        infer_schema_length=None,
    )
    details = details.unique("item", keep="first")
    assert dataset.item_table is not None
    table = dataset.item_table.join(details, on="item", how="left", maintain_order="left")
    return replace(dataset, item_table=table)


def _details(said: dict[str, Any]) -> dict[str, list[str] | str | None]:
    lists = {column: _names(_told(said, key)) for column, key in _LISTS.items()}
    return {**lists, "rated": _told(said, "Rated"), "plot": _told(said, "Plot")}


def _told(said: dict[str, Any], key: str) -> str | None:
    value = said.get(key)
    return None if value in (None, "N/A") else str(value)


def _names(text: str | None) -> list[str] | None:
    """Each name once, without what stands in brackets: "Joss Whedon (screenplay by)"."""
    if text is None:
        return None
    return list(dict.fromkeys(re.sub(r"\(.*?\)", "", name).strip() for name in text.split(",")))
