"""Indices that a server outside the process holds, for all processes that ask it."""

from __future__ import annotations

import re
import secrets
from abc import abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tastemap.errors import ParameterError, ReleaseError, UnavailableError
from tastemap.features.batch import Ragged
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.index.base import checked_rows
from tastemap.index.ivf import Lists
from tastemap.index.usable import Usable
from tastemap.storage import Stored

__all__ = ["Filter", "RemoteIndex"]

# Database names are short: 40 here, and 17 for the build.
_COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
# More are all, for pgvector and for Milvus.
_MOST_PROBES = 32_768
_BUILD = re.compile(_COLLECTION.pattern + r"_[0-9a-f]{16}")


@dataclass(frozen=True)
class Filter:
    """What may come out of a search, as it is shortest to say.

    Attributes:
        allowed: int32, row numbers.
        forbidden: int32, all other row numbers that this process knows of.
        bits: bool, by row number.
    """

    allowed: NDArray[np.int32]
    forbidden: NDArray[np.int32]
    bits: NDArray[np.bool_]


class RemoteIndex(Lists):
    """An inverted file as `IVFIndex`, on a server.

    Each build makes a collection of its own, named by `collection` and a random number, so that a
    release goes on to find what it was made with while the next one is built; `drop` removes it. A
    saved index holds the address and this name, and no vectors. Vectors are known by their row
    numbers: several processes may add and remove the same rows, and each finds those that it has
    itself been told of.

    Items to leave out are asked for too, and dropped here; a filter goes along into the search.

    Every call raises UnavailableError where the server cannot be reached, takes longer than
    `timeout`, or has lost the collection.
    """

    collection: str = hyperparameter(
        default="tastemap", help="what names of collections begin with", tuned=False
    )
    timeout: float = hyperparameter(
        default=1.0, gt=0, help="seconds that a search or a change may take", tuned=False
    )
    build_timeout: float = hyperparameter(
        default=3600.0, gt=0, help="seconds that a build may take", tuned=False
    )

    name_on_server: str = assigned_by_fit()
    """The collection of this build."""
    _seen: bool = assigned_by_fit()
    _strangers: int = assigned_by_fit()

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        if not _COLLECTION.fullmatch(self.collection):
            raise ParameterError(
                f"{type(self).__name__}: collection must be a letter and up to 39 letters, digits "
                f"and underscores, got {self.collection!r}"
            )

    def add(self, rows: ArrayLike, vectors: ArrayLike) -> None:
        held = self._held
        places, points = self._addition(rows, vectors)
        if len(places) == 0:
            return
        self._ready()
        new = places[held.of(places) < 0]
        # Known here first, so that a search does not come upon strangers; no search waits while
        # the server takes them.
        super().add(places, points)
        try:
            self._put(places, points)
        except UnavailableError:
            super().remove(new)
            raise

    def remove(self, rows: ArrayLike) -> None:
        places = checked_rows(rows)
        if len(places):
            self._ready()
            self._delete(places)
        super().remove(places)

    def _create(self, vectors: NDArray[np.float32], rows: NDArray[np.int32]) -> None:
        self.name_on_server = f"{self.collection}_{secrets.token_hex(8)}"
        self._strangers = 0
        try:
            self._make(rows, vectors, self._lists_for(len(vectors)))
        except UnavailableError:
            # What is half made is of no use to anybody.
            with suppress(UnavailableError):
                self.drop()
            raise
        self._seen = True

    def _append(self, vectors: NDArray[np.float32]) -> None:
        """Nothing: `add` has put them on the server."""

    def _found(
        self,
        queries: NDArray[np.float32],
        k: int,
        usable: Usable | None,
        left_out: Ragged,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        # Among few, too, it is the server that looks at each.
        if len(queries) == 0 or k == 0 or (usable is not None and not usable.count):
            return np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
        return self._nearest(queries, k, usable, left_out)

    def _nearest(
        self,
        queries: NDArray[np.float32],
        k: int,
        usable: Usable | None,
        left_out: Ragged,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        self._ready()
        chosen, share = self._filter(usable)
        depth = k + int(left_out.counts.max(initial=0))
        probes = int(min(_MOST_PROBES, np.ceil(self.probes / share)))
        while True:
            rows, scores = self._ask(queries, depth + self._strangers, probes, chosen)
            positions = self._held.of(rows)
            # What other processes have added is not known here, and has taken places of others.
            strangers = int(((rows > 0) & (positions < 0)).sum(axis=1).max(initial=0))
            if strangers <= self._strangers:
                break
            self._strangers = strangers
        for query, found in enumerate(positions):
            out = left_out.rows[left_out.offsets[query] : left_out.offsets[query + 1]]
            found[np.isin(found, out)] = -1
        scores[positions < 0] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(positions, best, 1), np.take_along_axis(scores, best, 1)

    def _filter(self, usable: Usable | None) -> tuple[Filter | None, float]:
        """What goes along into the search, and the share of vectors that it lets through. Rows that
        were removed are not on the server, and need no filter."""
        if usable is None or not (forbidden := self._held.alive & ~usable.mask).any():
            return None, 1.0
        rows = self._held.rows
        bits = np.zeros(self._held.n_row_numbers, np.bool_)
        bits[rows[usable.mask]] = True
        chosen = Filter(rows[usable.mask], rows[forbidden], bits)
        return chosen, len(chosen.allowed) / (len(chosen.allowed) + len(chosen.forbidden))

    def _ready(self) -> None:
        if not self._seen:
            self._check()
            self._seen = True

    def _held_positions(self) -> int:
        return len(self._held)

    def _tensors(self) -> dict[str, dict[str, NDArray[Any]]]:
        name = np.frombuffer(self.name_on_server.encode(), np.uint8)
        return {"": {"name": name}}

    def _restore(self, stored: Stored, group: str) -> None:
        self.name_on_server = stored.mapped(group, "name").tobytes().decode("ascii", "replace")
        self._strangers = 0
        if not _BUILD.fullmatch(self.name_on_server):
            raise ReleaseError(f"{stored.path} names no collection: {self.name_on_server!r:.80}")
        # A server that is away just now is looked for again by the first search.
        self._seen = False
        with suppress(UnavailableError):
            self._ready()

    def _gone(self) -> ReleaseError:
        return ReleaseError(
            f"{self.where} holds no collection {self.name_on_server} of vectors of {self.dim} "
            "numbers. Build the index anew, or serve another release"
        )

    # -- what a subclass writes -----------------------------------------------------------------

    @property
    @abstractmethod
    def where(self) -> str:
        """The server, as messages name it."""

    @abstractmethod
    def drop(self) -> None:
        """Removes the collection from the server; the index finds nothing from then on."""

    @abstractmethod
    def _make(self, rows: NDArray[np.int32], vectors: NDArray[np.float32], lists: int) -> None:
        """Makes the collection `name_on_server` of so many lists, with these vectors in it."""

    @abstractmethod
    def _check(self) -> None:
        """Raises `_gone` where the server has no such collection, or one of another `dim`."""

    @abstractmethod
    def _put(self, rows: NDArray[np.int32], vectors: NDArray[np.float32]) -> None:
        """Puts vectors in, all or none, in place of those that these rows have."""

    @abstractmethod
    def _delete(self, rows: NDArray[np.int32]) -> None:
        """Takes out the vectors of rows; some may not be there."""

    @abstractmethod
    def _ask(
        self, queries: NDArray[np.float32], depth: int, probes: int, chosen: Filter | None
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Row numbers int32 [B, depth] (0: none) and inner products float32."""
