"""The page to try a release on: static files, with nothing to build."""

from __future__ import annotations

from pathlib import Path

__all__ = ["PAGE"]

PAGE = Path(__file__).parent / "static"
"""The folder to give to `tastemap.online.serve(..., page=PAGE)`."""
