"""Rated films as rows with a label, and the two ways in which they are parted."""

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl

import tastemap as tm

LABEL = "liked"
OF_USERS, OF_TIME = "users", "time"


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
            text = part.select(pl.col("genres").list.join("|"), pl.exclude("genres"))
            digest.update(text.write_csv().encode())
        return digest.hexdigest()[:12]


def labelled_rows(dataset: str, split: str) -> Rows:
    """All ratings of a MovieLens data set: liked is 4 or better, with what is known of user, film
    and moment, and nothing of what else the user did.

    Rows are parted in order of time, 72, 8 and 20 in a hundred: of each user (`OF_USERS`), or of
    all together (`OF_TIME`), where more than half of the test rows are of users never seen.
    """
    data = tm.datasets.load(dataset)
    assert data.user_table is not None and data.item_table is not None
    moment = pl.from_epoch(pl.col("time").cast(pl.Int64))
    rows = (
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
    columns = [
        "user", "item", "age", "gender", "occupation", "zip_code", "genres", "year", "hour",
        "weekday", LABEL,
    ]  # fmt: skip
    parts = (part.filter(pl.col("part") == which).select(columns) for which in range(3))
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
