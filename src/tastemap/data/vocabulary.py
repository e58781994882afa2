"""External ids and the row numbers they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tastemap.errors import DataError, UnknownIdError

__all__ = ["Id", "Vocabulary"]

Id = str | int

# Below this a dict look-up costs less than hashing the whole vocabulary, as Arrow's index_in does.
_SMALL = 4096
# An Arrow array of so few ids, such as the profile of one request, is better looked up one by one.
_FEW = 16


class Vocabulary:
    """Turns external ids into row numbers and back.

    Row 0 stands for the unknown; the ids have rows 1, 2, … in the order given. Ids are all strings
    or all integers. Since ids come as text over HTTP and from a command line, a vocabulary of
    integers also finds the decimal text of its ids, and one of strings finds integers.

    Args:
        ids: distinct ids: an Arrow array of strings or integers, or a sequence of `str` or `int`.

    Raises:
        DataError: ids of mixed or other types, a null, or a duplicate.
    """

    def __init__(self, ids: pa.Array | Sequence[Id] | NDArray[Any] = ()) -> None:
        self.ids_array: pa.Array = _as_ids(ids)
        distinct = pc.count_distinct(self.ids_array, mode="all").as_py()
        if distinct != len(self.ids_array):
            counts = pc.value_counts(self.ids_array)
            repeated = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
            raise DataError("the id occurs more than once", value=repeated)

    @property
    def is_integer(self) -> bool:
        """Whether the ids are integers (else they are strings)."""
        return bool(pa.types.is_integer(self.ids_array.type))

    def __len__(self) -> int:
        """The number of rows, with row 0 for the unknown."""
        return len(self.ids_array) + 1

    def __contains__(self, id_: object) -> bool:
        return self._row(id_) != 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.ids_array.equals(other.ids_array)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        kind = "integer" if self.is_integer else "string"
        return f"Vocabulary({len(self.ids_array):,} {kind} ids)"

    @cached_property
    def _rows_by_id(self) -> dict[Id, int]:
        return {id_: row for row, id_ in enumerate(self.ids_array.to_pylist(), start=1)}

    def _row(self, id_: object) -> int:
        key = id_
        if isinstance(key, np.generic):
            key = key.item()
        if self.is_integer and isinstance(key, str):
            # Only the canonical text: "007" and "7" are two strings, so they cannot both mean 7.
            digits = key.removeprefix("-")
            key = int(key) if len(digits) < 20 and digits.isdecimal() else None
            if str(key) != id_:
                return 0
        elif not self.is_integer and isinstance(key, int) and not isinstance(key, bool):
            key = str(key)
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            return 0
        return self._rows_by_id.get(key, 0)

    def rows(self, ids: pa.Array | Iterable[Id] | NDArray[Any]) -> NDArray[np.int32]:
        """Row numbers of ids, int32 [n]; 0 where an id is unknown."""
        if not isinstance(ids, (pa.Array, pa.ChunkedArray)):
            listed = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
            if len(listed) <= _SMALL or "_rows_by_id" in self.__dict__:
                return np.fromiter((self._row(id_) for id_ in listed), np.int32, len(listed))
            try:
                ids = pa.array(listed)
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
                return np.fromiter((self._row(id_) for id_ in listed), np.int32, len(listed))
        if isinstance(ids, pa.ChunkedArray):
            ids = ids.combine_chunks()
        few = len(ids) <= _FEW and len(self) <= _SMALL
        same = pa.types.is_integer(ids.type) if self.is_integer else _is_string(ids.type)
        if few or not same:
            return np.fromiter((self._row(id_) for id_ in ids.to_pylist()), np.int32, len(ids))
        ids = ids.cast(self.ids_array.type, safe=not self.is_integer)
        found = pc.index_in(ids, value_set=self.ids_array).fill_null(-1)
        rows: NDArray[np.int32] = found.to_numpy(zero_copy_only=False).astype(np.int32) + 1
        return rows

    def known_rows(self, ids: Iterable[Id], what: str) -> NDArray[np.int32]:
        """Row numbers of ids that must be known.

        Raises:
            UnknownIdError: naming the first id that is not; `what` says what the ids are of.
        """
        listed = list(ids)
        rows = self.rows(listed)
        if (rows == 0).any():
            unknown = listed[int(np.argmin(rows))]
            raise UnknownIdError(f"unknown {what}: {str(unknown)[:80]!r}")
        return rows

    def ids(self, rows: Iterable[int] | NDArray[Any]) -> list[Any]:
        """External ids of row numbers; None for row 0."""
        return self.take(rows).to_pylist()  # type: ignore[no-any-return]

    def take(self, rows: Iterable[int] | NDArray[Any]) -> pa.Array:
        """External ids of row numbers as an Arrow array; null for row 0."""
        index = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), dtype=np.int64) - 1
        return self.ids_array.take(pa.array(index, mask=index < 0))

    def extend(self, ids: pa.Array | Sequence[Id]) -> Vocabulary:
        """A vocabulary with the ids that were not yet known added behind; rows stay as they are."""
        new = _as_ids(ids).unique()
        if len(new) == 0:
            return self
        if len(self.ids_array) == 0:
            return Vocabulary(new)
        if pa.types.is_integer(new.type) != self.is_integer:
            raise DataError(
                "string and integer ids cannot be mixed", value=new[0].as_py(),
                remedy="Write all ids as strings",
            )  # fmt: skip
        unknown = new.filter(pa.array(self.rows(new) == 0))
        return Vocabulary(pa.concat_arrays([self.ids_array, unknown.cast(self.ids_array.type)]))


def _is_string(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    )


def _as_ids(ids: pa.Array | Sequence[Id] | NDArray[Any]) -> pa.Array:
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if not isinstance(ids, pa.Array):
        values = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
        if not values:
            return pa.array([], pa.large_string())
        try:
            ids = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise DataError(f"ids must be all strings or all integers ({error})") from None
    if ids.null_count:
        raise DataError("an id is null", row=int(np.argmax(ids.is_null().to_numpy(False))) + 1)
    if pa.types.is_integer(ids.type):
        try:
            return ids.cast(pa.int64())
        except pa.ArrowInvalid:
            raise DataError("an integer id does not fit 64 bits") from None
    if _is_string(ids.type):
        return ids.cast(pa.large_string())
    raise DataError(f"ids must be strings or integers, not {ids.type}")
