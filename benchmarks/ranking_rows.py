"""Rated films as rows with a label, and the two ways in which they are parted."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

import tastemap as tm
from benchmarks.contenders.protocol import LISTS, TOTALS

LABEL = "liked"
OF_USERS, OF_TIME = "users", "time"
PLAIN = (
    "user", "item", "age", "gender", "occupation", "zip_code", "genres", "year", "hour", "weekday",
)  # fmt: skip
# The last films of a list; and by how much a share of few likes is drawn to the usual share.
_LAST, _PRIOR, _MIDDLE = 100, 15, 0.55


@dataclass(frozen=True)
class Rows:
    """Labelled rows, each part in order of time: `train` and `validation` are known before."""

    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame

    @property
    def hash(self) -> str:
        """12 hexadecimal digits of all that decides which row is where."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            lists = pl.col(pl.List(pl.String)).list.join("|")
            text = part.select(lists, pl.exclude(pl.List(pl.String)))
            digest.update(text.write_csv().encode())
        return digest.hexdigest()[:12]


def labelled_rows(dataset: str, split: str) -> Rows:
    """All ratings of a MovieLens data set: liked is 4 or better, with what is known of user, film
    and moment, and nothing of what else the user did.

    Rows are parted in order of time, 72, 8 and 20 in a hundred: of each user (`OF_USERS`), or of
    all together (`OF_TIME`), where more than half of the test rows are of users never seen.
    """
    return _parted(_rated(dataset), split, PLAIN)


def rows_with_history(dataset: str, split: str) -> Rows:
    """As `labelled_rows`, with what was known of user and film before the moment, of events of all
    parts: counts and shares of likes of the user, the film and the user's films of its genres
    (`TOTALS`), and what the user liked and disliked last (`LISTS`). Nothing of the same second is
    known."""
    rows = _rated(dataset).with_row_index("row")
    rows = _before(_before(rows, ["user"], "user"), ["item"], "item")
    genres = _before(
        rows.select("row", "user", "genres", "time", LABEL).explode("genres"),
        ["user", "genres"],
        "genre",
    )
    of_genres = genres.group_by("row").agg(
        pl.col("genre_count", "genre_rate").mean(), genre_best=pl.col("genre_rate").max()
    )
    rows = rows.join(of_genres, on="row", how="left", maintain_order="left")
    return _parted(rows.with_columns(_last(rows)), split, (*PLAIN, *TOTALS, *LISTS))


def _rated(dataset: str) -> pl.DataFrame:
    """All ratings in order of time."""
    data = tm.datasets.load(dataset)
    assert data.user_table is not None and data.item_table is not None
    moment = pl.from_epoch(pl.col("time").cast(pl.Int64))
    return (
        data.to_frame()
        .sort("time", maintain_order=True)
        .join(data.user_table, on="user", how="left", maintain_order="left")
        .join(data.item_table.drop("title"), on="item", how="left", maintain_order="left")
        .with_columns(
            hour=moment.dt.hour().cast(pl.Int32),
            weekday=moment.dt.weekday().cast(pl.Int32),
            liked=(pl.col("value") >= 4).cast(pl.Int32),
        )
    )


def _before(rows: pl.DataFrame, by: list[str], name: str) -> pl.DataFrame:
    """Rows in order of time, with how many of the same `by` came before and which share of these
    was liked, drawn to the middle as by `_PRIOR` more."""
    rows = rows.with_columns(
        _count=pl.int_range(pl.len()).over(by),
        _likes=(pl.col(LABEL).cum_sum() - pl.col(LABEL)).over(by),
    )
    count, likes = (pl.col(total).first().over([*by, "time"]) for total in ("_count", "_likes"))
    found = {
        f"{name}_count": count.cast(pl.Int32),
        f"{name}_rate": (likes + _PRIOR * _MIDDLE) / (count + _PRIOR),
    }
    return rows.with_columns(**found).drop("_count", "_likes")


def _last(rows: pl.DataFrame) -> list[pl.Series]:
    """The last films that each user liked and disliked before each row, oldest first."""
    lists: tuple[list[list[str]], list[list[str]]] = ([], [])
    known: dict[str, tuple[list[str], list[str]]] = {}
    now: dict[str, tuple[float, list[tuple[str, int]]]] = {}
    for user, item, time, liked in rows.select("user", "item", "time", LABEL).iter_rows():
        before = known.setdefault(user, ([], []))
        second, waiting = now.get(user, (time, []))
        if time > second:
            for earlier, label in waiting:
                before[1 - label].append(earlier)
            waiting = []
        for found, told in zip(lists, before, strict=True):
            found.append(told[-_LAST:])
        now[user] = time, [*waiting, (item, liked)]
    return [pl.Series(name, found) for name, found in zip(LISTS, lists, strict=True)]


def _parted(rows: pl.DataFrame, split: str, columns: Sequence[str]) -> Rows:
    place = pl.int_range(pl.len())
    if split == OF_USERS:
        # From 1: the last event of n has the share 1.
        share = (place.over("user") + 1) / pl.len().over("user")
    else:
        share = (place + 1) / pl.len()
    part = (
        rows.with_columns(share=share)
        .with_columns(
            part=pl.when(pl.col("share") > 0.8 + 1e-9).then(2)
            .when(pl.col("share") > 0.72 + 1e-9).then(1).otherwise(0)
        )
    )  # fmt: skip
    parts = (part.filter(pl.col("part") == which).select(*columns, LABEL) for which in range(3))
    return Rows(*parts)


def columns(frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """The features of some rows as arrays of text or numbers; genres have "|" between them."""
    found = {}
    for name in frame.columns:
        if name != LABEL:
            column = frame[name]
            if column.dtype == pl.List(pl.String):
                column = column.list.join("|")
            if column.dtype == pl.String:
                found[name] = column.fill_null("").to_numpy().astype(str)
            else:
                found[name] = column.cast(pl.Float32).to_numpy()
    return found
