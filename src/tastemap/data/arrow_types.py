"""Arrow columns of whatever type, made plain; Python objects and bytes as Arrow columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tastemap.errors import DataError

__all__ = ["decoded", "from_python", "is_number", "is_text", "nulls", "plain", "wrong_type"]


def plain(values: pa.Array) -> pa.Array:
    """The values without dictionary encoding or chunks, views as plain strings."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_dictionary(values.type):
        # Not a cast, which Arrow has for few extension types.
        values = values.dictionary_decode()
    if pa.types.is_string_view(values.type):
        values = values.cast(pa.large_string())
    return values


def decoded(values: pa.Array) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Text of bytes, with null where it is not UTF-8, and where that is."""
    broken = np.zeros(len(values), bool)
    if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        return values, broken
    try:
        return values.cast(pa.string()), broken
    except pa.ArrowInvalid:
        texts = [None if raw is None else _utf8(raw) for raw in values.to_pylist()]
        result = pa.array(texts, pa.large_string())
        return result, nulls(result) & ~nulls(values)


def _utf8(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def from_python(values: Sequence[Any]) -> tuple[pa.Array, list[tuple[int, str]]]:
    """A column of Python objects, and (place, text) of those that are lists or mappings.

    Numbers among text become text, so that 7 and "7" are one id.
    """
    odd = [
        (place, str(value))
        for place, value in enumerate(values)
        if isinstance(value, (list, dict, tuple, set))
    ]
    scalars = list(values)
    for place, _ in odd:
        scalars[place] = None
    if not any(isinstance(value, bool) for value in scalars):
        try:
            return pa.array(scalars, from_pandas=True), odd
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass
    missing = [value is None or value != value for value in scalars]
    texts = [
        None if gone else _as_text(value) for gone, value in zip(missing, scalars, strict=True)
    ]
    return pa.array(texts, pa.large_string()), odd


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def nulls(values: pa.Array) -> NDArray[np.bool_]:
    # NaN in a float column is pandas' word for a missing value, but not ours: only nulls count.
    if values.null_count == 0:
        return np.zeros(len(values), bool)
    nulls: NDArray[np.bool_] = values.is_null().to_numpy(zero_copy_only=False)
    return nulls


def is_text(type_: pa.DataType) -> bool:
    return type_ in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def is_number(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)
    )


def wrong_type(values: pa.Array, column: str, problem: str) -> DataError:
    first = pc.index(values.is_valid(), True).as_py()
    return DataError(
        f"{problem}, and the column holds {values.type}",
        column=column,
        value=str(values[first].as_py()) if first >= 0 else None,
        remedy="Convert the column, or map another one",
    )
