"""Finding hyper-parameters: search spaces, searches, and what they found."""

from __future__ import annotations

from tastemap.tuning.study import Study
from tastemap.tuning.tuner import tune

__all__ = ["Study", "tune"]
