"""The table of indices, and which one a catalogue gets."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tastemap.errors import ReleaseError
from tastemap.index.base import Index
from tastemap.storage import Stored

__all__ = ["index_class", "index_for", "index_names", "load_index", "restored_index"]

_INDICES: dict[str, str] = {
    "exact": "tastemap.index.exact:ExactIndex",
    "hnsw": "tastemap.index.hnsw:HNSWIndex",
    "ivf": "tastemap.index.ivf:IVFIndex",
    "ivf_pq": "tastemap.index.ivf_pq:IVFPQIndex",
    "milvus": "tastemap.index.milvus:MilvusIndex",
    "pgvector": "tastemap.index.pgvector:PgVectorIndex",
}

# Up to here a look at every vector takes about as long as one at the lists that a query needs; up
# to there whole vectors, 270 bytes for each of 64 numbers, are no burden.
_EXACT, _WHOLE = 50_000, 5_000_000


def index_names() -> list[str]:
    """All names of indices."""
    return list(_INDICES)


def index_for(n: int) -> Index:
    """An index for n vectors, empty: exact for few, lists for many, lists of codes for very many;
    exact for all where faiss is not installed."""
    if n <= _EXACT or find_spec("faiss") is None:
        return index_class("exact")()
    return index_class("ivf" if n <= _WHOLE else "ivf_pq")()


def load_index(stored: Stored) -> Index:
    """The index that `Index.save` wrote.

    Raises:
        ReleaseError: it is of a kind that this version does not know, or its parts do not fit.
        MissingExtraError: the library that it needs is not installed.
    """
    return restored_index(stored, "index", stored.manifest)


def restored_index(stored: Stored, group: str, about: Mapping[str, Any]) -> Index:
    """The index that the group `group` of arrays holds, and `about` describes; as `load_index`."""
    name = about.get("index")
    if not isinstance(name, str) or name not in _INDICES:
        raise ReleaseError(
            f"{stored.path} holds an index {name!r:.60}, and this version of tastemap knows "
            f"{', '.join(_INDICES)}"
        )
    return index_class(name).restored(stored, group, about)


def index_class(name: str) -> type[Index]:
    """The class of an index."""
    module, _, attribute = _INDICES[name].partition(":")
    found: type[Index] = getattr(import_module(module), attribute)
    return found
