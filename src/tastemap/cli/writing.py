"""Recommendations for everybody, to a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tastemap.cli.output import errors

if TYPE_CHECKING:
    import polars as pl

    from tastemap.retrieval.recommender import Recommender

__all__ = ["SUFFIXES", "write_answers"]

SUFFIXES = (".parquet", ".csv", ".jsonl")
_BATCH = 10_000

Write = Callable[["pl.DataFrame"], object]


def write_answers(asked: Recommender, out: Path, *, k: int, exclude_seen: bool) -> int:
    """Writes the best k items of every user to a file whose suffix says its format.

    Batch by batch, so that memory does not grow with the number of users, and beside its place, so
    that there is never half a file.

    Returns:
        The number of rows.
    """
    from rich.progress import track

    from tastemap.storage.atomic import unfinished_file

    ids = asked.users.ids_array
    rows = 0
    with unfinished_file(out) as file, ExitStack() as stack:
        write: Write | None = None
        starts = range(0, len(ids), _BATCH)
        for start in track(starts, "Recommending", console=errors(), transient=True):
            users = ids.slice(start, _BATCH).to_pylist()
            frame = asked.recommend(users=users, k=k, exclude_seen=exclude_seen)
            if write is None:
                write = _writer(out.suffix, file, frame, stack)
            write(frame)
            rows += len(frame)
    return rows


def _writer(suffix: str, file: BinaryIO, first: pl.DataFrame, stack: ExitStack) -> Write:
    if suffix == ".jsonl":
        return lambda frame: frame.write_ndjson(file)
    if suffix == ".csv":
        file.write((",".join(first.columns) + "\n").encode())
        return lambda frame: frame.write_csv(file, include_header=False)
    import pyarrow.parquet as pq

    writer = stack.enter_context(pq.ParquetWriter(file, first.to_arrow().schema))
    return lambda frame: writer.write_table(frame.to_arrow())
