"""What every index has in common: which row stands where, filters, and changes while it serves."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tastemap.data.histories import Histories
from tastemap.errors import DataError, NotFittedError, ParameterError, ReleaseError
from tastemap.features.batch import Ragged
from tastemap.hyperparameters import Hyperparameters, assigned_by_fit
from tastemap.index.positions import Positions
from tastemap.index.scanning import nearest_by_scan
from tastemap.index.sharing import SharedLock
from tastemap.index.usable import Usable
from tastemap.storage import Stored, write_directory

__all__ = ["Index", "Recall", "checked_rows"]

_RECALL_K = 100
_RECALL_QUERIES = 200
# So many vectors are added before the next search has its turn.
_ADDED_AT_ONCE = 64


@dataclass(frozen=True)
class Recall:
    """The share of the true nearest `k` that an index found, over so many queries."""

    value: float
    k: int
    queries: int


class Index(Hyperparameters):
    """Nearest neighbours by inner product, over vectors that have row numbers.

    Rows are positive, as row 0 stands for the unknown. Vectors stand at positions, 0 and up, in the
    order in which they came; a removed one stays where it is and is passed over from then on (a
    tombstone), until the index is built anew, and so does a replaced one where the library cannot
    put another in its place. Any number of threads may search while
    another one adds or removes.

    A subclass mostly knows positions only: `_create` and `_append` take vectors, `_nearest`
    searches, and `_effort` says what that costs, so that a search among few is made by looking at
    each.
    """

    name: ClassVar[str]
    """What it is called in a saved directory."""
    recall: Recall | None = None
    """Measured when the index was built."""

    dim: int = assigned_by_fit()
    _positions: Positions | None = None
    _lock: SharedLock = assigned_by_fit()

    # -- building -------------------------------------------------------------------------------

    def build(
        self, rows: ArrayLike, vectors: ArrayLike, *, queries: ArrayLike | None = None
    ) -> Self:
        """Takes vectors in place of all that it held, and measures its recall.

        Args:
            rows: int [n], their row numbers, 1 or more, each once.
            vectors: float32 [n, dim].
            queries: float32 [q, dim], such as will be asked; None measures with some of the
                vectors. At most 200 are drawn.

        Raises:
            DataError: vectors that are not finite, or do not fit the rows.
            MissingExtraError: the library that it needs is not installed.
        """
        places, points = checked_rows(rows), _checked_vectors(vectors, "vectors")
        if len(places) != len(points) or points.shape[1] == 0:
            raise DataError(
                f"an index needs a row for each vector, of 1 number or more; got {len(places)} "
                f"rows and vectors {list(points.shape)}"
            )
        if len(np.unique(places)) < len(places):
            raise DataError("an index needs rows that occur once each; some occur twice")
        asked = points if queries is None else _checked_vectors(queries, "queries", points.shape[1])
        self._lock = SharedLock()
        self.dim = points.shape[1]
        self._create(points, places)
        self._positions = Positions(places, np.ones(len(places), np.bool_))
        self.recall = self._measured(points, asked)
        return self

    def _measured(self, points: NDArray[np.float32], asked: NDArray[np.float32]) -> Recall | None:
        k = min(_RECALL_K, len(points))
        if k == 0 or len(asked) == 0:
            return None
        some = np.random.default_rng(0).permutation(len(asked))[:_RECALL_QUERIES]
        queries = asked[np.sort(some)]
        none = Ragged.of([()] * len(queries))
        true, _ = nearest_by_scan(queries, k, np.arange(len(points)), points.__getitem__, none)

        def recall() -> float:
            found, _ = self._nearest(queries, k, None, none)
            hits = [len(np.intersect1d(*pair)) for pair in zip(true, found, strict=True)]
            return float(np.mean(hits)) / k

        self._settle(recall)
        return Recall(recall(), k, len(queries))

    def _settle(self, recall: Callable[[], float]) -> None:
        """Chooses what a search costs by the recall that it then has, where that is left to it."""

    @property
    def greatest_row(self) -> int:
        """The greatest row number that it can answer with; 0 where there is none."""
        return self._held.greatest_row

    # -- asking ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many rows can be found."""
        return 0 if self._positions is None else self._positions.found

    def search(
        self,
        vectors: ArrayLike,
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        excluded: Histories | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The rows whose vectors have the greatest inner products with each query, best first.

        Args:
            vectors: float32 [B, dim].
            k: how many.
            allowed: bool, by row number; the rows that may come out (none beyond its end), or None
                for all.
            excluded: histories [B] whose items are left out, or None.

        Returns:
            rows int32 [B, k] and inner products float32 [B, k], padded with 0 and -inf where fewer
            are found.

        Raises:
            DataError: vectors that are not finite, or of another length.
            ParameterError: k below 1, or not a history for each query.
        """
        held = self._held
        queries = _checked_vectors(vectors, "queries", self.dim)
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ParameterError(f"search: k must be a whole number from 1, got {k!r}")
        if excluded is not None and len(excluded) != len(queries):
            raise ParameterError(f"search: {len(excluded)} histories for {len(queries)} queries")
        rows = np.zeros((len(queries), k), np.int32)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        with self._lock.shared():
            usable = held.usable(allowed)
            left_out = held.of_histories(
                Histories.empty(len(queries)) if excluded is None else excluded
            )
            found, found_scores = self._found(queries, min(k, len(held)), usable, left_out)
            depth = found.shape[1]
            scores[:, :depth] = np.where(found >= 0, found_scores, -np.inf)
            rows[:, :depth][found >= 0] = held.rows[found[found >= 0]]
        return rows, scores

    def _found(
        self,
        queries: NDArray[np.float32],
        k: int,
        usable: Usable | None,
        left_out: Ragged,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if len(queries) == 0 or k == 0:
            return np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
        # A filter that lets few through makes a search longer by as much, and a look at each of
        # these shorter.
        if usable is not None and usable.count**2 <= self._effort(k) * len(usable):
            return self._scan(queries, k, usable, left_out)
        return self._nearest(queries, k, usable, left_out)

    # -- changes --------------------------------------------------------------------------------

    def add(self, rows: ArrayLike, vectors: ArrayLike) -> None:
        """Takes more vectors; a row that is there already gets the new vector.

        Args:
            rows: int [n], 1 or more, each once.
            vectors: float32 [n, dim].

        Raises:
            DataError: vectors that are not finite, of another length, or do not fit the rows.
        """
        held = self._held
        places, points = self._addition(rows, vectors)
        for start in range(0, len(places), _ADDED_AT_ONCE):
            some = slice(start, start + _ADDED_AT_ONCE)
            with self._lock.alone():
                new = ~self._replaced(held.of(places[some]), points[some])
                if not new.all():
                    held.forget()
                new_rows = places[some][new]
                held.bury(new_rows)
                self._append(points[some][new])
                held.append(new_rows)

    def _addition(
        self, rows: ArrayLike, vectors: ArrayLike
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Rows that come, with their vectors, checked."""
        places = checked_rows(rows)
        points = _checked_vectors(vectors, "vectors", self.dim)
        if len(places) != len(points) or len(np.unique(places)) < len(places):
            raise DataError(
                f"add: {len(places)} rows for {len(points)} vectors; give a row for each, once"
            )
        return places, points

    def _replaced(
        self, positions: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Puts vectors where others stand (-1: nowhere), as far as that can be; says which, bool
        [n]. The others are appended, and what was there is passed over from then on."""
        return np.zeros(len(positions), np.bool_)

    def remove(self, rows: ArrayLike) -> None:
        """Rows [n] that are found no more; those that are not there are passed over."""
        held, places = self._held, checked_rows(rows)
        with self._lock.alone():
            held.bury(places)

    # -- saving ---------------------------------------------------------------------------------

    def described(self) -> dict[str, Any]:
        """What a manifest says of it: its kind, hyper-parameters, size and recall."""
        return {
            "index": self.name,
            "hyperparameters": self.hyperparameter_values(),
            "dim": self.dim,
            "rows": len(self),
            "recall": None if self.recall is None else asdict(self.recall),
        }

    def tensors(self, group: str) -> dict[str, dict[str, NDArray[Any]]]:
        """Its arrays as groups for a checked directory, with names that begin with `group`."""
        rows = {"rows": self._held.rows, "alive": self._held.alive}
        groups = self._tensors()
        return {
            group: rows | groups.pop("", {}),
            **{f"{group}.{name}": arrays for name, arrays in groups.items()},
        }

    @classmethod
    def restored(cls, stored: Stored, group: str, about: Mapping[str, Any]) -> Self:
        """The index that `described` and `tensors` were taken from.

        Raises:
            ReleaseError: a part is missing or does not fit the others.
        """
        try:
            index = cls(**about["hyperparameters"])
            rows = stored.mapped(group, "rows")
            alive = stored.mapped(group, "alive")
            if not len(rows) == len(alive) or rows.min(initial=1) < 1:
                raise ReleaseError(f"{stored.path}: rows and marks do not fit each other")
            index.dim = int(about["dim"])
            index._lock = SharedLock()
            index._restore(stored, group)
            index._positions = Positions(rows, alive)
            recall = about["recall"]
            index.recall = None if recall is None else Recall(**recall)
        except (KeyError, TypeError, ParameterError) as error:
            raise ReleaseError(f"{stored.path}: a part of the index is missing ({error})") from None
        if index._held_positions() != len(rows):
            raise ReleaseError(f"{stored.path}: the index does not hold as many vectors as rows")
        return index

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the index to a checked directory that `tastemap.load` reads.

        Raises:
            ReleaseError: something else is in the way.
        """
        with self._lock.shared():
            write_directory(
                path,
                kind="index",
                manifest=self.described(),
                tensors=self.tensors("index"),
                tables={},
                overwrite=overwrite,
            )
        return Path(path)

    # -- what a subclass writes -----------------------------------------------------------------

    @abstractmethod
    def _create(self, vectors: NDArray[np.float32], rows: NDArray[np.int32]) -> None:
        """Takes vectors [n, dim] of rows [n] for the positions from 0 on, in place of all others;
        most need not know the rows."""

    @abstractmethod
    def _append(self, vectors: NDArray[np.float32]) -> None:
        """Puts vectors [n, dim] at the next positions."""

    @abstractmethod
    def _nearest(
        self,
        queries: NDArray[np.float32],
        k: int,
        usable: Usable | None,
        left_out: Ragged,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions int64 [B, k] with inner products, padded with -1.

        Args:
            queries: float32 [B, dim], B and k at least 1.
            k: at most the number of positions.
            usable: the positions that may come out; None for all.
            left_out: positions that do not come out, of each query.
        """

    @abstractmethod
    def _effort(self, k: int) -> int:
        """About how many vectors a search for k looks at."""

    @abstractmethod
    def _vectors(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors at some positions [n], float32 [n, dim]."""

    @abstractmethod
    def _held_positions(self) -> int:
        """How many vectors the library holds."""

    @abstractmethod
    def _tensors(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Arrays to save in groups; those of the group "" stand beside the rows."""

    @abstractmethod
    def _restore(self, stored: Stored, group: str) -> None:
        """Takes back what `_tensors` gave."""

    def _scan(
        self,
        queries: NDArray[np.float32],
        k: int,
        usable: Usable,
        left_out: Ragged,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The true nearest, by looking at each vector that may come out."""
        return nearest_by_scan(queries, k, usable.positions, self._vectors, left_out)

    @property
    def _held(self) -> Positions:
        if self._positions is None:
            raise NotFittedError(f"{type(self).__name__} holds nothing yet: call build(…)")
        return self._positions


def checked_rows(rows: ArrayLike) -> NDArray[np.int32]:
    """Row numbers as int32 [n].

    Raises:
        DataError: they are not whole numbers from 1.
    """
    found = np.asarray(rows)
    if found.ndim != 1 or (len(found) and found.dtype.kind not in "iu"):
        raise DataError(f"row numbers must be a list of integers, got {found.dtype} {found.shape}")
    if len(found) and (found.min() < 1 or found.max() > np.iinfo(np.int32).max):
        wrong = int(found.min() if found.min() < 1 else found.max())
        raise DataError("row numbers of an index are from 1 to 2^31 - 1", value=wrong)
    return found.astype(np.int32)


def _checked_vectors(vectors: ArrayLike, what: str, dim: int | None = None) -> NDArray[np.float32]:
    found = np.ascontiguousarray(vectors, np.float32)
    if found.ndim != 2 or (dim is not None and found.shape[1] != dim):
        wanted = "dim" if dim is None else str(dim)
        raise DataError(f"{what} must be float32 [n, {wanted}], got {list(found.shape)}")
    finite = np.isfinite(found).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{what} must be finite numbers",
            row=int(np.argmin(finite)) + 1,
            remedy="A model that has diverged has such vectors; leave these rows out",
        )
    return found
