"""One column of a frame as features: of which kind it is, and what its values become."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import blake2b

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tastemap.data.arrow_types import decoded, is_number, is_text, plain
from tastemap.data.columns import parse_times, parse_values
from tastemap.data.text import folded
from tastemap.data.vocabulary import Vocabulary
from tastemap.errors import DataError
from tastemap.features.batch import Ragged
from tastemap.features.clock import HOURS, WEEKDAYS, clock
from tastemap.features.schema import Categorical, Feature, MultiValued, Numeric, Sequence, Vector

__all__ = ["Column", "Kind", "column_of", "kind_of", "sequence_of"]

_DAY = 86_400.0
# Whole numbers with at most so many values are categories, such as hours and days of a month; ages
# and years of birth, whose order says more, are numbers.
_FEW = 32
_ID_ENDINGS = ("id", "ids", "_key", "code")


class Kind(Enum):
    """What becomes of a column."""

    CATEGORICAL = "categorical"
    MULTI_VALUED = "multi_valued"
    NUMERIC = "numeric"
    TIME = "time"
    SEQUENCE = "sequence"
    TEXT = "text"
    VECTOR = "vector"
    IGNORED = "ignored"


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a frame that has been looked at.

    Attributes:
        name: of the column.
        kind: what becomes of it.
        vocabulary: its values, where it is categorical or multi-valued, or the words of a text;
            empty for other kinds.
        of: the categorical column whose vocabulary a sequence shares; "" for other kinds.
        hashed: rows after those of the vocabulary, which values outside it share by their hash;
            with none they are the unknown.
        size: numbers of a vector; 0 for other kinds.
    """

    name: str
    kind: Kind
    vocabulary: Vocabulary
    of: str = ""
    hashed: int = 0
    size: int = 0

    @property
    def features(self) -> tuple[Feature, ...]:
        """A time is the number of days since 1970, its hour and its weekday (UTC), and a text the
        words that it has."""
        match self.kind:
            case Kind.CATEGORICAL:
                return (Categorical(self.name, len(self.vocabulary) + self.hashed),)
            case Kind.MULTI_VALUED | Kind.TEXT:
                return (MultiValued(self.name, len(self.vocabulary) + self.hashed),)
            case Kind.NUMERIC:
                return (Numeric(self.name),)
            case Kind.TIME:
                hour, weekday = f"{self.name} (hour)", f"{self.name} (weekday)"
                return Numeric(self.name), Categorical(hour, HOURS), Categorical(weekday, WEEKDAYS)
            case Kind.SEQUENCE:
                return (Sequence(self.name, self.of),)
            case Kind.VECTOR:
                return (Vector(self.name, self.size),)
            case Kind.IGNORED:
                return ()

    def categories(self, values: pa.Array) -> list[NDArray[np.int64]]:
        """The rows, int64 [n], of each categorical feature."""
        match self.kind:
            case Kind.CATEGORICAL:
                return [self._rows(values)]
            case Kind.TIME:
                return [*clock(self._seconds(values))]
            case _:
                return []

    def numbers(self, values: pa.Array) -> list[NDArray[np.float32]]:
        """The values, float32 [n], of each numeric feature; NaN where there is none."""
        match self.kind:
            case Kind.NUMERIC:
                numbers, _ = parse_values(values, self.name)
                return [np.where(np.isfinite(numbers), numbers, np.nan).astype(np.float32)]
            case Kind.TIME:
                return [(self._seconds(values) / _DAY).astype(np.float32)]
            case _:
                return []

    def lists(self, values: pa.Array) -> list[Ragged]:
        """The rows of each multi-valued feature; a null is an empty list."""
        match self.kind:
            case Kind.MULTI_VALUED:
                return [self._ragged(values)]
            case Kind.TEXT:
                return [self._ragged(_words(values, self.name))]
            case _:
                return []

    def vectors(self, values: pa.Array) -> list[NDArray[np.float32]]:
        """The numbers, float32 [n, size], of each vector; NaN where there is none."""
        return [_matrix(values, self.name, self.size)] if self.kind is Kind.VECTOR else []

    def sequences(self, values: pa.Array) -> list[Ragged]:
        """The rows of each sequence; a null is an empty one."""
        return [self._ragged(values)] if self.kind is Kind.SEQUENCE else []

    def with_values(self, parts: Iterable[pa.Array], min_rows: int) -> Column:
        """The same column with the vocabulary of other values, those of several parts together."""
        match self.kind:
            case Kind.CATEGORICAL:
                flat = list(parts)
            case Kind.MULTI_VALUED:
                flat = [pc.list_flatten(_as_lists(values, self.name)) for values in parts]
            case Kind.TEXT:
                words = (_words(values, self.name) for values in parts)
                flat = [pc.list_flatten(_as_lists(values, self.name)) for values in words]
            case _:
                return self
        keys = [_keys(values, whole=self.vocabulary.is_integer) for values in flat]
        if len({each.type for each in keys}) > 1:
            # A vocabulary of text understands integers too.
            keys = [each.cast(pa.large_string()) for each in keys]
        return replace(self, vocabulary=_vocabulary(pa.concat_arrays(keys), min_rows))

    def _ragged(self, values: pa.Array) -> Ragged:
        lists = _as_lists(values, self.name)
        counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        return Ragged(offsets, self._rows(pc.list_flatten(lists)))

    def _rows(self, values: pa.Array) -> NDArray[np.int64]:
        keys = _keys(values, whole=self.vocabulary.is_integer)
        rows = self.vocabulary.rows(keys).astype(np.int64)
        if self.hashed:
            new = (rows == 0) & keys.is_valid().to_numpy(zero_copy_only=False)
            rows[new] = len(self.vocabulary) + _hashes(keys.filter(pa.array(new)), self.hashed)
        return rows

    def _seconds(self, values: pa.Array) -> NDArray[np.float64]:
        seconds, flaws = parse_times(values, self.name)
        for flaw in flaws:
            seconds = np.where(flaw.rows, np.nan, seconds)
        return seconds


def kind_of(values: pa.Array, name: str) -> Kind:
    """What becomes of a column by its type, where nobody says it.

    Text, truth values and enumerations are categorical, and so are whole numbers of which there are
    few, or whose name says that they are ids; other numbers are numeric. Lists are multi-valued,
    and those of fractions vectors.

    Raises:
        DataError: a column of a type that is none of these.
    """
    values = plain(values)
    type_ = values.type
    if pa.types.is_null(type_):
        return Kind.IGNORED
    if is_text(type_) or pa.types.is_boolean(type_):
        return Kind.CATEGORICAL
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
        return Kind.TIME
    if _is_list(type_):
        return Kind.VECTOR if pa.types.is_floating(type_.value_type) else Kind.MULTI_VALUED
    if pa.types.is_integer(type_) or _was_integer(values):
        is_id = name.lower().endswith(_ID_ENDINGS) or name.lower() in ("user", "item")
        few = pc.count_distinct(values).as_py() <= _FEW
        return Kind.CATEGORICAL if is_id or few else Kind.NUMERIC
    if is_number(type_):
        return Kind.NUMERIC
    raise DataError(
        f"a column of {type_} cannot be a feature", column=name,
        remedy=f"Convert it, or leave it out with kinds={{{name!r}: 'ignored'}}",
    )  # fmt: skip


def column_of(values: pa.Array, name: str, kind: Kind, min_rows: int, hashed: int = 0) -> Column:
    """A column with the vocabulary of its values: those that at least `min_rows` rows have, the
    most frequent first; others share `hashed` rows.

    Raises:
        DataError: the values cannot be of that kind.
    """
    if kind is Kind.CATEGORICAL:
        return Column(name, kind, _vocabulary(_own_keys(values), min_rows), hashed=hashed)
    if kind in (Kind.MULTI_VALUED, Kind.TEXT):
        lists = _words(values, name) if kind is Kind.TEXT else values
        flat = pc.list_flatten(_as_lists(lists, name))
        return Column(name, kind, _vocabulary(_own_keys(flat), min_rows), hashed=hashed)
    if kind is Kind.VECTOR:
        lists = _vectors(values, name)
        size = pc.max(pc.list_value_length(lists)).as_py()
        if not size:
            raise DataError(
                "the column holds no vector", column=name,
                remedy=f"Leave it out with kinds={{{name!r}: 'ignored'}}",
            )  # fmt: skip
        _matrix(lists, name, size)  # refuses other lengths
        return Column(name, kind, Vocabulary(), size=size)
    column = Column(name, kind, Vocabulary())
    # Refuses a type that is no number; of text some may be none, but not all of it.
    for numbers in column.numbers(values):
        given = plain(values).drop_null()
        if len(given) and is_text(given.type) and np.isnan(numbers).all():
            raise DataError(
                f"the column is said to be {kind.value}, and no text in it is a "
                f"{'number' if kind is Kind.NUMERIC else 'time'}",
                column=name, value=str(given[0].as_py()),
                remedy=f"Convert it, or say what it is with kinds={{{name!r}: …}}",
            )  # fmt: skip
    return column


def sequence_of(values: pa.Array, name: str, of: Column) -> Column:
    """A column of lists of what another one holds, the oldest first.

    Raises:
        DataError: the values are no lists, or the other column is not categorical.
    """
    if of.kind is not Kind.CATEGORICAL:
        raise DataError(
            f"a sequence must be of a categorical column, and {of.name!r} is {of.kind.value}",
            column=name, remedy=f"Say so with kinds={{{of.name!r}: 'categorical'}}",
        )  # fmt: skip
    _as_lists(values, name)
    return Column(name, Kind.SEQUENCE, of.vocabulary, of.name, of.hashed)


def _own_keys(values: pa.Array) -> pa.Array:
    return _keys(values, whole=_was_integer(plain(values)))


def _vocabulary(keys: pa.Array, min_rows: int) -> Vocabulary:
    counted = pc.value_counts(keys)
    kept = pc.and_(
        pc.greater_equal(counted.field("counts"), min_rows), pc.is_valid(counted.field("values"))
    )
    counted = counted.filter(kept)
    order = np.argsort(-counted.field("counts").to_numpy(), kind="stable")
    return Vocabulary(counted.field("values").take(pa.array(order)))


def _keys(values: pa.Array, *, whole: bool) -> pa.Array:
    """Values as what a vocabulary holds, integers or text; floats become integers where `whole`,
    and those that are none become null."""
    values = plain(values)
    type_ = values.type
    if _is_list(type_) or pa.types.is_struct(type_):
        raise DataError(f"a category must be one value, and the column holds {type_}")
    if pa.types.is_uint64(type_):
        return values.cast(pa.large_string())
    if pa.types.is_integer(type_):
        return values.cast(pa.int64())
    if whole and pa.types.is_floating(type_):
        numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        sound = (np.floor(numbers) == numbers) & (np.abs(numbers) < 2**53)
        return pa.array(np.where(sound, numbers, 0).astype(np.int64), mask=~sound)
    return decoded(values)[0].cast(pa.large_string())


def _hashes(keys: pa.Array, n: int) -> NDArray[np.int64]:
    """A number below n for each key, int64 [m]: the same in every process, and for an integer the
    same as for its text."""
    coded = keys.cast(pa.large_string()).dictionary_encode()
    digests = (
        blake2b(key.encode(), digest_size=8).digest() for key in coded.dictionary.to_pylist()
    )
    distinct = np.array([int.from_bytes(each, "little") % n for each in digests], np.int64)
    of_keys: NDArray[np.int64] = distinct[coded.indices.to_numpy()]
    return of_keys


def _was_integer(values: pa.Array) -> bool:
    """Whether values are integers, or floats since one of them is missing, as pandas makes them."""
    if not pa.types.is_floating(values.type):
        return bool(pa.types.is_integer(values.type))
    numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    missing = np.isnan(numbers)
    return bool(missing.any() and (np.floor(numbers) == numbers)[~missing].all())


def _is_list(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
    )


def _as_lists(values: pa.Array, name: str) -> pa.Array:
    values = plain(values)
    if pa.types.is_null(values.type):
        return values.cast(pa.large_list(pa.large_string()))
    if not _is_list(values.type):
        raise DataError(
            f"the column must hold lists, and this holds {values.type}", column=name,
            remedy="Split it into lists first",
        )  # fmt: skip
    inner = values.type.value_type
    if not (is_text(plain(pa.array([], inner)).type) or pa.types.is_integer(inner)
            or pa.types.is_null(inner)):  # fmt: skip
        raise DataError(
            f"lists must be of text or integers, and these are of {inner}", column=name,
            remedy=f"Convert them, or leave them out with kinds={{{name!r}: 'ignored'}}",
        )  # fmt: skip
    return values.cast(pa.large_list(inner))


def _words(values: pa.Array, name: str) -> pa.Array:
    """The words of each text, as lists; none of a null."""
    values = plain(values)
    if pa.types.is_null(values.type):
        return values
    if not is_text(values.type):
        raise DataError(
            f"the column must hold text, and this holds {values.type}", column=name,
            remedy=f"Say what it is with kinds={{{name!r}: …}}",
        )  # fmt: skip
    text = pl.Series(decoded(values)[0].cast(pa.large_string()), dtype=pl.String)
    return folded(text).str.extract_all(r"\w+").to_arrow()


def _vectors(values: pa.Array, name: str) -> pa.Array:
    """Lists of numbers."""
    values = plain(values)
    if pa.types.is_null(values.type):
        return values.cast(pa.large_list(pa.float32()))
    if not (_is_list(values.type) and is_number(values.type.value_type)):
        raise DataError(
            f"the column must hold lists of numbers, and this holds {values.type}", column=name,
            remedy="Make each a list of as many numbers",
        )  # fmt: skip
    return values.cast(pa.large_list(pa.float32()))


def _matrix(values: pa.Array, name: str, size: int) -> NDArray[np.float32]:
    """Lists of numbers as float32 [n, size]; NaN where there is none, an empty one, or one with a
    number that is none."""
    lists = _vectors(values, name)
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    wrong = (counts > 0) & (counts != size)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"a vector of {counts[row]} numbers, and others have {size}", row=row + 1, column=name,
            remedy="Give each as many numbers, and null where there is no vector",
        )  # fmt: skip
    vectors = np.full((len(lists), size), np.nan, np.float32)
    numbers = pc.list_flatten(lists).to_numpy(zero_copy_only=False).reshape(-1, size)
    vectors[counts > 0] = np.where(np.isfinite(numbers).all(1, keepdims=True), numbers, np.nan)
    return vectors
