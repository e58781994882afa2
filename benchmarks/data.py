"""The data sets of the benchmarks, in the order of their files."""

import hashlib
import io
import urllib.request
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.environments import cache
from benchmarks.splits import Ratings
from tastemap import datasets

NAMES = ("movielens-100k", "movielens-1m")
# Choices in their order, without times, and nothing that anybody rated.
SEQUENCES = (*NAMES, "amazon-beauty", "amazon-beauty-shuffled")

# The reviews of McAuley's 5-core as the authors of S3-Rec (Zhou et al. 2020) put them in order, at
# the commit that everybody compares on. They state no licence: fetched, never passed on.
_BEAUTY = (
    "https://raw.githubusercontent.com/RUCAIBox/CIKM2020-S3Rec/"
    "2a81540ae18615d88ef88227b0c066e5b74781e5/data/Beauty.txt"
)
_BEAUTY_SHA256 = "226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8"
# The days of the same reviews, line by line, as the authors of TiCoSeRec (Dang et al. 2023) keep
# them: their numbers of items are others, and match those of S3-Rec day by day without exception.
_BEAUTY_DAYS = (
    "https://raw.githubusercontent.com/KingGugu/TiCoSeRec/"
    "302b2959f27bb16bb77acae5a471de82819bd1bd/data/Beauty/Beauty_time_org_rank.txt"
)
_BEAUTY_DAYS_SHA256 = "4e6a6e30f9dba1985ad9adae79a891df6b403e2132f0422a6f6e88f67d1fcc75"

# Baltrunas et al. 2015, as CARSKit keeps it. For research only, and never passed on.
_FRAPPE = (
    "https://raw.githubusercontent.com/irecsys/CARSKit/"
    "0a1789fb0804b067cabd223c4b8fd8b4d2f6e881/context-aware_data_sets/Mobile_Frappe.zip"
)
_FRAPPE_SHA256 = "4adc616de57170f282397f6e6e30215f97fa7ad1b7f40bd12ef5dceaaf3e9b4e"


def load(name: str) -> Ratings:
    """The events of a data set, fetched first where it is not cached."""
    if name == "amazon-beauty":
        return _beauty(name)
    if name == "amazon-beauty-shuffled":
        return _by_days(_beauty(name))
    events = pl.read_parquet(datasets.fetch(name) / "events.parquet")
    users, user_rows = np.unique(events["user"].to_numpy(), return_inverse=True)
    items, item_rows = np.unique(events["item"].to_numpy(), return_inverse=True)
    return Ratings(
        name,
        user_rows.astype(np.int32),
        item_rows.astype(np.int32),
        events["value"].to_numpy(),
        len(users),
        len(items),
        events["time"].to_numpy().astype(np.float64),
    )


def _beauty(name: str) -> Ratings:
    """A line for each user: the user's number, then those of the items; the place is the time."""
    rows = _lines(fetched(_BEAUTY, _BEAUTY_SHA256, "amazon-beauty.txt"))
    counts = np.array([len(row) for row in rows])
    items, item_rows = np.unique(np.concatenate(rows), return_inverse=True)
    n = int(counts.sum())
    return Ratings(
        name,
        np.repeat(np.arange(len(rows), dtype=np.int32), counts),
        item_rows.astype(np.int32),
        np.ones(n, np.float32),
        len(rows),
        len(items),
        np.arange(n, dtype=np.float64),
    )


def _by_days(ratings: Ratings) -> Ratings:
    """The same at the time of its day, where a day's events of a user stand as drawn: reviews have
    no hour, so that the order within a day is one of the file and not of what people did."""
    rows = _lines(fetched(_BEAUTY_DAYS, _BEAUTY_DAYS_SHA256, "amazon-beauty-days.txt"))
    drawn = np.random.default_rng(0).permutation(len(ratings.users))
    return replace(
        ratings,
        users=ratings.users[drawn],
        items=ratings.items[drawn],
        times=np.concatenate(rows).astype(np.float64)[drawn],
    )


def _lines(path: Path) -> list[NDArray[np.int64]]:
    """What stands behind the user's number in each line."""
    return [np.array(line.split()[1:], np.int64) for line in path.read_text().splitlines()]


def frappe(path: Path | None = None) -> pl.DataFrame:
    """Which apps people used in which circumstances, a row for each use of a kind, in the file's
    order: user, item, cnt, and the circumstances as text.

    Args:
        path: `frappe.csv`, where it lies here already; else it is fetched.
    """
    if path is None:
        with zipfile.ZipFile(fetched(_FRAPPE, _FRAPPE_SHA256, "frappe.zip")) as archive:
            text = archive.read("Mobile_Frappe/frappe/frappe.csv")
    else:
        text = path.read_bytes()
    # A city is a number, and no amount.
    return pl.read_csv(io.BytesIO(text), separator="\t", schema_overrides={"city": pl.String})


def fetched(url: str, sha256: str, name: str) -> Path:
    """The file behind an address, kept in the cache under a name.

    Raises:
        RuntimeError: the file has another SHA-256.
    """
    path = cache() / "data" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=60) as answer:
            path.write_bytes(answer.read())
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise RuntimeError(f"{path} is not the file of {url}; delete it and try again")
    return path
