"""Lists of short codes in memory, and the vectors themselves on disk."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import ReleaseError
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.index.growing import Growing
from tastemap.index.ivf import ListsIndex
from tastemap.index.library import faiss
from tastemap.index.scanning import nearest_of
from tastemap.storage import Stored

__all__ = ["IVFPQIndex"]

_BITS = 4


class IVFPQIndex(ListsIndex):
    """Lists of product-quantized vectors (Jégou et al. 2011) with codes of 4 bits that are compared
    in registers (André et al. 2015, Cache locality is not enough), by faiss; the best by codes are
    ordered anew by the vectors.

    Vectors are float16 in a file that is mapped into memory, so that only those pages are held that
    searches need, and the system may take them back. Of a vector of 64 numbers the code takes 16
    bytes, and about 5 more that faiss keeps spare in its lists, and its id 8; its row takes 4 that
    are mapped, and 5 more once vectors come or go, or where rows do not count up. Vectors added
    later stand in memory until the index is saved.
    """

    name = "ivf_pq"

    code_length: int | None = hyperparameter(
        default=None, ge=1, help="parts of a vector, with 4 bits each; none: one for two numbers"
    )
    candidates: int = hyperparameter(
        default=10_000, ge=1, help="how many by codes are ordered anew, and 10 times k at least"
    )

    _mapped: NDArray[np.float16] = assigned_by_fit()
    _added: Growing[np.float16] = assigned_by_fit()

    def _create(self, vectors: NDArray[np.float32], rows: NDArray[np.int32]) -> None:
        self._mapped = _in_file(vectors)
        self._added = Growing(np.empty((0, vectors.shape[1]), np.float16))
        super()._create(vectors, rows)

    def _empty(self, dim: int, lists: int) -> Any:
        library = faiss()
        padded = self._padded_dim(dim)
        made = library.IndexIVFPQFastScan(
            library.IndexFlatIP(padded),
            padded,
            lists,
            self._parts(dim),
            _BITS,
            library.METRIC_INNER_PRODUCT,
        )
        made.by_residual = True  # codes say how a vector differs from its list's centre
        made.pq.cp.min_points_per_centroid = 1
        return made

    def _parts(self, dim: int) -> int:
        return min(dim, -(-dim // 2) if self.code_length is None else self.code_length)

    def _padded_dim(self, dim: int) -> int:
        """All parts are of one length; zeros behind the vector change no product."""
        parts = self._parts(dim)
        return -(-dim // parts) * parts

    def _for_library(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        behind = self._padded_dim(vectors.shape[1]) - vectors.shape[1]
        return np.ascontiguousarray(np.pad(vectors, ((0, 0), (0, behind))))

    def _append(self, vectors: NDArray[np.float32]) -> None:
        super()._append(vectors)
        self._added.append(vectors)

    def _ask(
        self, queries: NDArray[np.float32], k: int, room: int, share: float, selector: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        depth = min(max(self.candidates, 10 * k), self._held_positions())
        _, near = self._library_index.search(
            self._for_library(queries), depth, params=self._probed(share, selector)
        )
        return nearest_of(queries, k, near, self._vectors)

    def _vectors(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        written = len(self._mapped)
        # Rising positions, as `nearest_of` and scans ask for: those in the file stand first.
        here = int(np.searchsorted(positions, written))
        parts = (self._mapped[positions[:here]], self._added.array[positions[here:] - written])
        return np.concatenate(parts).astype(np.float32)

    def _tensors(self) -> dict[str, dict[str, NDArray[Any]]]:
        vectors = np.concatenate([self._mapped, self._added.array])
        return super()._tensors() | {"vectors": {"vectors": vectors}}

    def _restore(self, stored: Stored, group: str) -> None:
        super()._restore(stored, group)
        self._mapped = stored.mapped(f"{group}.vectors", "vectors")
        self._added = Growing(np.empty((0, self.dim), np.float16))
        if self._mapped.shape != (self._held_positions(), self.dim) or (
            self._mapped.dtype != np.float16
        ):
            raise ReleaseError(f"{stored.path}: codes and vectors do not fit each other")


def _in_file(vectors: NDArray[np.float32]) -> NDArray[np.float16]:
    """The vectors in a file without a name, which goes when nothing maps it any more."""
    if len(vectors) == 0:
        return np.empty(vectors.shape, np.float16)
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, np.float16, "w+", shape=vectors.shape)
    for start in range(0, len(vectors), 1 << 16):
        mapped[start : start + (1 << 16)] = vectors[start : start + (1 << 16)]
    return mapped
