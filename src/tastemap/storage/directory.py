"""A checked directory: a manifest, tensors as safetensors, tables as Parquet.

It is written under a hidden name beside its place and renamed, and every file is compared with its
checksum before anything of it is used. There is no pickle in it, and nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import safetensors.numpy

from tastemap.errors import ReleaseError
from tastemap.storage.atomic import move_into_place, staging_directory
from tastemap.storage.manifest import (
    CHECKSUM_NAME,
    FILE_PATTERN,
    MANIFEST_NAME,
    NAME_PATTERN,
    RESTORE,
    FileRecord,
    Manifest,
    open_inside,
    read_manifest,
    write_manifest,
)

__all__ = [
    "Stored",
    "check_directory",
    "is_directory",
    "read_directory",
    "rewrite_directory",
    "write_directory",
]

# What can be mapped, by the names of the safetensors format.
_DTYPES = {
    "F16": "f2",
    "F32": "f4",
    "F64": "f8",
    "U8": "u1",
    "I32": "i4",
    "I64": "i8",
    "BOOL": "?",
}

FileIdentity = tuple[int, int, int, int]


@dataclass(frozen=True)
class Stored:
    """A checked directory, open for reading.

    Attributes:
        path: the directory.
        record: its manifest with format, creation time and file list.
    """

    path: Path
    record: Manifest
    _checked: Mapping[str, FileIdentity]

    @property
    def kind(self) -> str:
        """What the directory holds: "model" or "pipeline"."""
        return self.record.kind

    @property
    def manifest(self) -> dict[str, Any]:
        """What the writer gave as manifest; tuples have become lists."""
        return self.record.contents

    @property
    def tensor_names(self) -> list[str]:
        """The names that `tensors` takes."""
        return _stems(self._checked, ".safetensors")

    @property
    def table_names(self) -> list[str]:
        """The names that `tables` takes."""
        return _stems(self._checked, ".parquet")

    def tensors(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """One group of arrays, with the dtypes and shapes they were written with.

        Raises:
            ReleaseError: there is no such group, or its file has changed since it was checked.
        """
        file = self._file(name, self.tensor_names, "tensors", ".safetensors")
        try:
            arrays = safetensors.numpy.load_file(file)
        except (safetensors.SafetensorError, OSError, KeyError) as error:
            raise ReleaseError(f"{file} cannot be read: {error}. {RESTORE}") from error
        self._refuse_if_changed(file)
        return arrays

    def mapped(self, name: str, tensor: str) -> npt.NDArray[Any]:
        """One array of a group, mapped into memory for reading: only the pages that are looked at
        are held. The file may be replaced or removed meanwhile; the array stays.

        Raises:
            ReleaseError: there is no such array, or its file has changed since it was checked.
        """
        file = self._file(name, self.tensor_names, "tensors", ".safetensors")
        try:
            with open_inside(self.path, file.name) as opened:
                self._refuse_another(opened, file)
                # The format: the length of the header, the header, and the arrays' bytes.
                length = int.from_bytes(opened.read(8), "little")
                about = json.loads(opened.read(length))[tensor]
                dtype = np.dtype(_DTYPES[about["dtype"]]).newbyteorder("<")
                start, shape = 8 + length + about["data_offsets"][0], tuple(about["shape"])
                if 0 in shape:
                    return np.empty(shape, dtype)
                return np.memmap(opened, dtype, "r", start, shape)
        except (KeyError, ValueError, OSError) as error:
            raise ReleaseError(f"{file} cannot be read: {error}. {RESTORE}") from error

    def tables(self, name: str) -> pa.Table:
        """One Arrow table, with the schema it was written with.

        Raises:
            ReleaseError: there is no such table, or its file has changed since it was checked.
        """
        file = self._file(name, self.table_names, "tables", ".parquet")
        try:
            with pq.ParquetFile(file) as parquet:
                table = parquet.read()
        except (pa.ArrowException, OSError) as error:
            raise ReleaseError(f"{file} cannot be read: {error}. {RESTORE}") from error
        self._refuse_if_changed(file)
        return table

    def _file(self, name: str, names: list[str], what: str, ending: str) -> Path:
        if name not in names:
            raise ReleaseError(
                f"{self.path} holds no {what} named {name!r}; it holds: {', '.join(names) or '-'}"
            )
        return self.path / f"{name}{ending}"

    def _refuse_if_changed(self, file: Path) -> None:
        # Another process may have saved over the directory since the files were checked.
        with open_inside(self.path, file.name) as opened:
            self._refuse_another(opened, file)

    def _refuse_another(self, opened: BufferedReader, file: Path) -> None:
        if _identity(opened.fileno()) != self._checked[file.name]:
            raise ReleaseError(f"{file} was replaced while it was being read. Load it again")


def write_directory(
    path: str | Path,
    *,
    kind: str,
    manifest: Mapping[str, Any],
    tensors: Mapping[str, Mapping[str, npt.NDArray[Any]]],
    tables: Mapping[str, pa.Table],
    overwrite: bool = False,
) -> None:
    """Write a checked directory; it appears at `path` whole or not at all.

    Args:
        path: where; missing parents are made. An empty directory there is used.
        kind: what it is, "model" or "pipeline"; asked for again when reading.
        manifest: strings, booleans, numbers, dates, and lists and mappings of them, whose
            entries may be None.
        tensors: groups of named arrays (booleans, integers, floats), one file a group.
        tables: Arrow tables, one file each.
        overwrite: replace a checked directory that stands at `path`. Anything else is left alone.

    Raises:
        ReleaseError: something else stands at `path`, a name, dtype or value cannot be stored, or
            the disk refuses.
    """
    path = Path(path).resolve()
    try:
        _refuse_what_is_not_ours(path, overwrite=overwrite)
        with staging_directory(path) as staged:
            for name, arrays in tensors.items():
                _write_tensors(staged / f"{_plain_name(name)}.safetensors", arrays)
            for name, table in tables.items():
                _write_table(staged / f"{_plain_name(name)}.parquet", table)
            files = {file.name: _file_record(file) for file in staged.iterdir()}
            write_manifest(staged, kind=kind, contents=manifest, files=files)
            move_into_place(staged, path, overwrite=overwrite)
    except OSError as error:
        raise ReleaseError(
            f"{path} could not be written: {error.strerror or error}. What stood there before is "
            "unchanged"
        ) from error


def rewrite_directory(
    stored: Stored,
    path: str | Path,
    *,
    manifest: Mapping[str, Any],
    tensors: Mapping[str, Mapping[str, npt.NDArray[Any]]],
    tables: Mapping[str, pa.Table],
    overwrite: bool = False,
) -> None:
    """Write a copy of a checked directory with some of its parts replaced or added.

    The files that stay are shared with the original where the file system can (hard links), so that
    a change of a small part is cheap. It appears at `path`, which may be the original's own place,
    whole or not at all, with the original's moment of creation.

    Args:
        stored: the original.
        path: where.
        manifest: entries to replace.
        tensors: groups to replace.
        tables: tables to replace.
        overwrite: replace a checked directory that stands at `path`.

    Raises:
        ReleaseError: something else stands at `path`, a part cannot be stored, or the disk refuses.
    """
    path = Path(path).resolve()
    try:
        _refuse_what_is_not_ours(path, overwrite=overwrite)
        with staging_directory(path) as staged:
            files = dict(stored.record.files)
            for name, arrays in tensors.items():
                _write_tensors(file := staged / f"{_plain_name(name)}.safetensors", arrays)
                files[file.name] = _file_record(file)
            for name, table in tables.items():
                _write_table(file := staged / f"{_plain_name(name)}.parquet", table)
                files[file.name] = _file_record(file)
            for name in files:
                if not (staged / name).exists():
                    _link_or_copy(stored.path / name, staged / name)
            write_manifest(
                staged,
                kind=stored.kind,
                contents={**stored.manifest, **manifest},
                files=files,
                created=stored.record.created,
            )
            move_into_place(staged, path, overwrite=overwrite)
    except OSError as error:
        raise ReleaseError(
            f"{path} could not be written: {error.strerror or error}. What stood there before is "
            "unchanged"
        ) from error


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def read_directory(path: str | Path, *, kind: str | None = None) -> Stored:
    """Check every file of the directory `path`, and open it for reading.

    Args:
        path: the directory.
        kind: what it has to be; None takes any.

    Raises:
        ReleaseError: whatever is wrong with it, with the remedy.
    """
    path = Path(path)
    record = read_manifest(path)
    if kind is not None and record.kind != kind:
        raise ReleaseError(
            f"{path} holds a {record.kind}, and a {kind} was asked for. Check the path"
        )
    problems, checked = _check_files(path, record)
    if problems:
        raise ReleaseError(f"{path} is damaged: {'; '.join(problems)}. {RESTORE}")
    return Stored(path, record, checked)


def check_directory(path: str | Path) -> list[str]:
    """Everything that is wrong with the directory `path`; an empty list where it is whole."""
    path = Path(path)
    try:
        record = read_manifest(path)
    except ReleaseError as error:
        return [str(error)]
    return _check_files(path, record)[0]


def is_directory(path: str | Path) -> bool:
    """Whether `path` looks like a checked directory: it holds a manifest (nothing is checked)."""
    return os.path.isfile(Path(path) / MANIFEST_NAME)


def _check_files(path: Path, record: Manifest) -> tuple[list[str], dict[str, FileIdentity]]:
    problems: list[str] = []
    checked: dict[str, FileIdentity] = {}
    for name, expected in record.files.items():
        try:
            with open_inside(path, name) as file:
                identity = _identity(file.fileno())
                found = os.fstat(file.fileno()).st_size
                if found < expected.bytes:
                    problems.append(f"{name} is truncated ({found} of {expected.bytes} bytes)")
                elif found > expected.bytes:
                    problems.append(f"{name} has {found - expected.bytes} bytes too many")
                elif hashlib.file_digest(file, "sha256").hexdigest() != expected.sha256:
                    problems.append(f"{name} was edited or damaged (its checksum is wrong)")
                checked[name] = identity
        except ReleaseError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{name} cannot be read ({error.strerror})")
    return problems, checked


def _identity(descriptor: int) -> FileIdentity:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _stems(names: Mapping[str, Any], ending: str) -> list[str]:
    return [name.removesuffix(ending) for name in names if name.endswith(ending)]


def _plain_name(name: str) -> str:
    if not NAME_PATTERN.fullmatch(name):
        raise ReleaseError(
            f"{name!r} cannot name tensors or a table. Use letters, digits, '_', '.' and '-', at "
            "most 100 characters, and begin with a letter, a digit or '_'"
        )
    return name


def _write_tensors(file: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    plain = {}
    for name, array in arrays.items():
        if name == "__metadata__" or not isinstance(name, str):
            raise ReleaseError(f"{file.stem}: {name!r} cannot name a tensor. Rename it")
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise ReleaseError(
                f"{file.stem}: the tensor {name!r} has dtype {array.dtype}, which cannot be stored."
                " Use booleans, integers or floats; text belongs in a table"
            )
        plain[name] = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    try:
        safetensors.numpy.save_file(plain, file)
    except safetensors.SafetensorError as error:
        raise ReleaseError(f"{file.stem}: the tensors cannot be stored: {error}") from error


def _write_table(file: Path, table: pa.Table) -> None:
    try:
        pq.write_table(table, file, compression="zstd")
    except pa.ArrowException as error:
        raise ReleaseError(
            f"{file.stem}: the table cannot be stored as Parquet: {error}. Change the type of "
            "that column"
        ) from error


def _file_record(file: Path) -> FileRecord:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return FileRecord(bytes=file.stat().st_size, sha256=digest)


def _refuse_what_is_not_ours(path: Path, *, overwrite: bool) -> None:
    """An overwrite deletes what stands at `path`, so all of it must be of our writing."""
    try:
        names = sorted(os.listdir(path))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise ReleaseError(f"{path} is a file. Choose another place") from None
    if not names:
        return
    if MANIFEST_NAME not in names:
        raise ReleaseError(
            f"{path} is a directory that tastemap did not write, so it is left alone. "
            "Choose another place"
        )
    if not overwrite:
        raise ReleaseError(f"{path} exists already. Choose another place, or pass overwrite=True")
    foreign = [
        name
        for name in names
        if name not in (MANIFEST_NAME, CHECKSUM_NAME) and not FILE_PATTERN.fullmatch(name)
    ]
    if foreign:
        raise ReleaseError(
            f"{path} also holds files that tastemap did not write ({', '.join(foreign[:3])}), so "
            "it is left alone. Move them, or choose another place"
        )
