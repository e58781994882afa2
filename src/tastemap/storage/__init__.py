"""Checked directories on disk: named tensors and tables beside a manifest, written atomically."""

from tastemap.storage.directory import (
    Stored,
    check_directory,
    is_directory,
    read_directory,
    rewrite_directory,
    write_directory,
)
from tastemap.storage.manifest import FORMAT_VERSION, Manifest, amend_manifest, read_manifest

__all__ = [
    "FORMAT_VERSION",
    "Manifest",
    "Stored",
    "amend_manifest",
    "check_directory",
    "is_directory",
    "read_directory",
    "read_manifest",
    "rewrite_directory",
    "write_directory",
]
