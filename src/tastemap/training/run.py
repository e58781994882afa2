"""Where and how a fit runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Run:
    folder: Path | None = None
    device: str = "cpu"
    progress: bool = False
    time_budget: float | None = None
    tracker: str | None = None
