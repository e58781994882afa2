"""Rows that could not be used, kept in a file with the reasons."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tastemap.errors import DataError, ParameterError

__all__ = ["RejectFile", "RejectedRowsWarning"]

_FIELDS = ("source", "row", "reason", "record")


class RejectedRowsWarning(UserWarning):
    """Some rows of the input were not used; the message says how many and where they are."""


class RejectFile:
    """Writes rejected rows as CSV, or as JSON lines where the path ends in .jsonl or .ndjson.

    A line says the source, the row's number, why it was rejected, and what it held (JSON of the
    columns that were read, or the line as it stood). The file appears, whole, at the end of a
    `with` block, and only where a row was rejected.

    Raises:
        DataError: the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.count = 0
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._file: IO[str] | None = None
        self._write: Callable[[dict[str, Any]], Any] = lambda record: None
        if self.path.suffix not in (".csv", ".jsonl", ".ndjson"):
            raise ParameterError(f"rejects: {path} must end in .csv, .jsonl or .ndjson")

    @staticmethod
    def beside(source: str | Path) -> Path:
        """The default place for the rejects of a file: `log.csv.gz` has `log.rejected.csv`."""
        source = Path(source)
        return source.with_name(f"{source.name.partition('.')[0] or source.name}.rejected.csv")

    def add(self, source: str, row: int, reason: str, record: Any) -> None:
        """Keeps one rejected row."""
        if self._file is None:
            self._open()
        self._write(dict(zip(_FIELDS, (source, row, reason, record), strict=True)))
        self.count += 1

    def _open(self) -> None:
        try:
            # Undecodable bytes of the input came in as surrogates, and go out as they were.
            self._file = self._partial.open("w", encoding="utf-8", newline="", errors="replace")
        except OSError as error:
            raise DataError(
                f"cannot write rejected rows ({error.strerror})",
                source=self.path,
                remedy="Say where with rejects=PATH",
            ) from None
        file = self._file
        if self.path.suffix == ".csv":
            rows = csv.DictWriter(file, _FIELDS)
            rows.writeheader()
            self._write = lambda line: rows.writerow(
                line | {"record": line["record"] if isinstance(line["record"], str)
                        else json.dumps(line["record"], default=str, ensure_ascii=False)}
            )  # fmt: skip
        else:
            self._write = lambda line: file.write(
                json.dumps(line, default=str, ensure_ascii=False) + "\n"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is None:
            return
        self._file.close()
        self._file = None
        # Where the input is unusable as a whole, the rejected rows are what explains it.
        os.replace(self._partial, self.path)
