"""Loss functions on plain tensors, one a file."""

from __future__ import annotations

from tastemap.losses.bpr import bpr
from tastemap.losses.mse import mse

__all__ = ["bpr", "mse"]
