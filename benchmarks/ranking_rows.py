"""Rated films as rows with a label, and the two ways in which they are parted."""

from dataclasses import dataclass

import numpy as np
import polars as pl

import tastemap as tm

__all__ = ["SPLITS", "Rows", "labelled_rows"]

LABEL = "liked"
SPLITS = ("each user's last fifth", "last fifth of all")


@dataclass(frozen=True)
class Rows:
    """Labelled rows, each part in order of time: `train` and `validation` are known before."""

    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame


def labelled_rows(dataset: str, split: str) -> Rows:
    """All ratings of a MovieLens data set: liked is 4 or better, with what is known of user, film
    and moment, and nothing of what else the user did.

    The test is each user's last fifth, and the last tenth of what is left the validation, or both
    are cut by time over all users: 72, 8 and 20 in a hundred.
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
    if split == SPLITS[0]:
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


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The share of pairs of a liked and another row that are in the right order; ties count half.

    NaN where all labels are alike.
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]
    liked = labels == 1
    n, m = int(liked.sum()), int((~liked).sum())
    if n == 0 or m == 0:
        return float("nan")
    return float((rank[liked].sum() - n * (n + 1) / 2) / (n * m))


def gauc(users: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> float:
    """The AUC within each user who has rows of both labels, weighted by their rows (Zhu et al.
    2017)."""
    order = np.argsort(users, kind="stable")
    borders = np.flatnonzero(np.diff(users[order])) + 1
    groups = np.split(order, borders)
    values = np.array([auc(labels[group], scores[group]) for group in groups])
    weights = np.array([len(group) for group in groups])
    both = np.isfinite(values)
    return float(np.average(values[both], weights=weights[both]))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    p = np.clip(probabilities, 1e-15, 1 - 1e-15)
    return float(-np.mean(np.where(labels == 1, np.log(p), np.log1p(-p))))
