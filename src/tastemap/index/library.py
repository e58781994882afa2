"""Indices of the library faiss, which is an optional extra."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import MissingExtraError, ReleaseError
from tastemap.features.batch import Ragged
from tastemap.hyperparameters import assigned_by_fit
from tastemap.index.base import Index
from tastemap.index.scanning import nearest_by_scan
from tastemap.index.usable import Usable
from tastemap.kernels.left_out import without
from tastemap.storage import Stored

__all__ = ["FaissIndex", "faiss"]

# So many more are asked for where a few do not come out.
_MORE = 100
# So many numbers, 4 MB, of the vectors that a mask lets through stay in memory.
_NUMBERS_KEPT = 1 << 20


def faiss() -> Any:
    """The library (Douze et al. 2024, The Faiss library).

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import faiss as library
    except ImportError:
        raise MissingExtraError(
            "an approximate index needs faiss: pip install 'tastemap[ann]'"
        ) from None
    return library


class FaissIndex(Index):
    """An index that faiss holds. A subclass makes it in `_create` and asks it in `_ask`."""

    _library_index: Any = assigned_by_fit()

    @abstractmethod
    def _ask(
        self, queries: NDArray[np.float32], k: int, room: int, share: float, selector: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions int64 [B, k] (-1: none) and inner products.

        Args:
            room: how many positions, besides k, may lie nearer and not come out.
            share: of all positions, those that the selector lets through; a search goes the further
                the fewer they are.
            selector: of faiss, None for all.
        """

    def _nearest(
        self,
        queries: NDArray[np.float32],
        k: int,
        usable: Usable | None,
        left_out: Ragged,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        share = 1.0 if usable is None else max(usable.share, 1e-9)
        most = int(left_out.counts.max(initial=0))
        if most <= max(k, _MORE):
            # A selector for each query apart costs more than to ask for a few more, of all queries
            # at once, and to pass over those that are left out.
            selector = None if usable is None else faiss().IDSelectorBitmap(usable.bits)
            near, products = self._ask(queries, self._at_most(k + most), 0, share, selector)
            return without(near, products, left_out.offsets, left_out.rows, k)
        if usable is None:
            usable = Usable(np.ones(self._held_positions(), np.bool_))
        bits = usable.bits.copy()
        selector = faiss().IDSelectorBitmap(bits)
        found = np.empty((len(queries), k), np.int64)
        scores = np.empty((len(queries), k), np.float32)
        for row in range(len(queries)):
            # The selector sees the bits of this query: those left out are off until it is answered.
            out = left_out.rows[left_out.offsets[row] : left_out.offsets[row + 1]]
            before = bits[out >> 3]
            np.bitwise_and.at(bits, out >> 3, ~(1 << (out & 7)).astype(np.uint8))
            found[row], scores[row] = self._ask(
                queries[row : row + 1], k, len(out), share, selector
            )
            bits[out >> 3] = before
        return found, scores

    def _scan(
        self, queries: NDArray[np.float32], k: int, usable: Usable, left_out: Ragged
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        places, kept = usable.positions, usable.vectors
        if usable.count * self.dim > _NUMBERS_KEPT:
            return super()._scan(queries, k, usable, left_out)
        if kept is None:
            # To take them out of the library takes several times as long as the search.
            kept = usable.vectors = self._vectors(places)

        def vectors_at(some: NDArray[np.int64]) -> NDArray[np.float32]:
            first = np.searchsorted(places, some[0])
            return kept[first : first + len(some)]

        return nearest_by_scan(queries, k, places, vectors_at, left_out)

    def _at_most(self, k: int) -> int:
        return min(k, self._held_positions())

    def _held_positions(self) -> int:
        return int(self._library_index.ntotal)

    def _tensors(self) -> dict[str, dict[str, NDArray[Any]]]:
        return {"": {"faiss": faiss().serialize_index(self._library_index)}}

    def _restore(self, stored: Stored, group: str) -> None:
        library = faiss()
        # Read part by part, so that it does not stand in memory twice.
        reader = library.PyCallbackIOReader(_read(stored.mapped(group, "faiss")))
        try:
            self._library_index = library.read_index(reader)
        except RuntimeError as error:
            raise ReleaseError(f"{stored.path}: faiss cannot read the index: {error}") from error


def _read(array: NDArray[np.uint8]) -> Callable[[int], bytes]:
    """Reads an array's next so many bytes, as a file's `read`."""
    read, view = 0, array.data

    def some(size: int) -> bytes:
        nonlocal read
        part = bytes(view[read : read + size])
        read += len(part)
        return part

    return some
