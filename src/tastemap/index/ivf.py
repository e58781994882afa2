"""Lists of vectors that lie near a centre, of which a few are looked at."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import ReleaseError
from tastemap.hyperparameters import hyperparameter
from tastemap.index.base import Index
from tastemap.index.library import FaissIndex, faiss
from tastemap.index.lifted import LiftedIndex
from tastemap.storage import Stored

__all__ = ["IVFIndex", "Lists", "ListsIndex"]

# As many vectors for each list find the centres (more hardly move them), and at least so many.
_TRAINED_ON, _LEAST = 64, 39
# The share of the vectors that are at most as long as R.
_NOT_LONGER = 0.999


class Lists(Index):
    """An inverted file (Sivic & Zisserman 2003; Jégou et al. 2011): each vector is in the list of
    the centre with which it has the greatest inner product, and the lists of a query's nearest
    centres are looked at."""

    lists: int | None = hyperparameter(
        default=None, ge=1, help="lists; none: four times the square root of the vectors"
    )
    probes: int = hyperparameter(default=96, ge=1, help="lists that a search looks at")

    def _lists_for(self, n: int) -> int:
        """How many for n vectors: as many as are wanted, where they do not stay near empty."""
        wanted = int(4 * np.sqrt(n)) if self.lists is None else self.lists
        return int(np.clip(wanted, 1, max(1, n // _LEAST)))


class ListsIndex(Lists, FaissIndex):
    """An inverted file that faiss holds."""

    def _create(self, vectors: NDArray[np.float32], rows: NDArray[np.int32]) -> None:
        n, dim = vectors.shape
        self._library_index = self._empty(dim, self._lists_for(n))
        self._library_index.cp.max_points_per_centroid = _TRAINED_ON
        # A handful is repeated until it is enough to learn from; of none all directions are alike.
        shape = (max(n, _LEAST), dim)
        any_direction = np.random.default_rng(0).standard_normal(shape, np.float32)
        learned_from = np.resize(vectors, shape) if n else any_direction
        self._library_index.train(self._for_library(learned_from))
        self._library_index.add(self._for_library(vectors))

    @abstractmethod
    def _empty(self, dim: int, lists: int) -> Any:
        """The library's index, untrained."""

    def _for_library(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors [n, dim] as the library's index takes them."""
        return vectors

    def _append(self, vectors: NDArray[np.float32]) -> None:
        self._library_index.add(self._for_library(vectors))

    def _lists_of_a_search(self) -> int:
        """Where nothing is filtered."""
        return self.probes

    def _effort(self, k: int) -> int:
        held = self._held_positions()
        return int(held * min(1.0, self._lists_of_a_search() / self._library_index.nlist))

    def _probed(self, share: float, selector: Any) -> Any:
        probes = int(min(self._lists_of_a_search() / share, self._library_index.nlist))
        return faiss().SearchParametersIVF(nprobe=max(1, probes), sel=selector)

    def _restore(self, stored: Stored, group: str) -> None:
        super()._restore(stored, group)
        expected = self._empty(self.dim, 1)
        found = self._library_index
        if type(found) is not type(expected) or found.d != expected.d:
            raise ReleaseError(f"{stored.path} holds an index of another kind or length")


class IVFIndex(LiftedIndex, ListsIndex):
    """Lists of whole vectors, by faiss.

    Lists are made of vectors with one more number, as in `HNSWIndex`, so that all have the length
    R, centres are directions, and a query comes to the lists of long vectors first. Without it the
    greatest inner products with centres tell little where lengths differ much, as of ALS: of a
    million items most of which hardly anybody took, 96 lists of 4000 had .18 of the nearest, and
    with it 24 have .99. R is the length of all but a thousandth of the vectors, so that a few very
    long ones do not make all others alike.

    How many lists it takes differs between data, so that is tried when the index is built: twice as
    many as find enough of what is nearest to some queries, since more may be asked for than then.
    """

    name = "ivf"

    probes: int = hyperparameter(default=64, ge=1, help="lists that a search looks at, at most")
    enough: float | None = hyperparameter(
        default=0.99, gt=0, le=1, help="share of the nearest that fewer lists than `probes` must "
        "find; none to look at so many always"
    )  # fmt: skip

    _settled: int | None = None

    def _create(self, vectors: NDArray[np.float32], rows: NDArray[np.int32]) -> None:
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
        self._radius = float(np.quantile(lengths, _NOT_LONGER)) if len(lengths) else 0.0
        super()._create(vectors, rows)
        self._make_room()

    def _empty(self, dim: int, lists: int) -> Any:
        library = faiss()
        made = library.IndexIVFFlat(
            library.IndexFlatIP(dim + 1), dim + 1, lists, library.METRIC_INNER_PRODUCT
        )
        made.cp.spherical = True
        made.make_direct_map(True)  # says in which list a vector stands
        return made

    def _for_library(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._lift(vectors)

    def _replaced(
        self, positions: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        there = positions >= 0
        if there.any():
            self._library_index.update_vectors(positions[there], self._lift(vectors[there]))
        return there

    def _lists_of_a_search(self) -> int:
        if self.enough is None or self._settled is None:
            return self.probes
        return min(self._settled, self.probes)

    def _settle(self, recall: Callable[[], float]) -> None:
        if self.enough is None:
            return
        self._settled = 1
        while self._settled < self.probes and recall() < self.enough:
            self._settled *= 2
        self._settled *= 2

    def _ask(
        self, queries: NDArray[np.float32], k: int, room: int, share: float, selector: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        products, found = self._library_index.search(
            self._lift_queries(queries), k, params=self._probed(share, selector)
        )
        return found, products

    def _vectors(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self._library_index.reconstruct_batch(positions)
        return vectors[:, : self.dim]

    def _tensors(self) -> dict[str, dict[str, NDArray[Any]]]:
        groups = super()._tensors()
        groups[""]["settled"] = np.array([self._settled or 0])
        return groups

    def _restore(self, stored: Stored, group: str) -> None:
        super()._restore(stored, group)
        self._settled = int(stored.mapped(group, "settled")[0]) or None
        self._make_room()

    def _make_room(self) -> None:
        """Lets every list take more vectors where it lies. One without room moves to a block of
        twice its size when a vector comes to it, and nothing else fits well into the block that it
        leaves: by vectors that move between lists, memory grew until each list had moved once."""
        lists = faiss().downcast_InvertedLists(self._library_index.invlists)
        for number in range(self._library_index.nlist):
            size = lists.list_size(number)
            lists.resize(number, size + 1)
            lists.resize(number, size)
