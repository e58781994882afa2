"""Loss functions on plain tensors, one a file."""

from __future__ import annotations

from tastemap.losses.bce import bce
from tastemap.losses.bpr import bpr
from tastemap.losses.bpr_max import bpr_max
from tastemap.losses.gbce import gbce
from tastemap.losses.huber import huber
from tastemap.losses.margin import margin
from tastemap.losses.mse import mse
from tastemap.losses.sampled_softmax import sampled_softmax
from tastemap.losses.softmax import softmax
from tastemap.losses.top1_max import top1_max
from tastemap.losses.triplet import triplet
from tastemap.losses.warp import warp, warp_of_trials

__all__ = [
    "bce",
    "bpr",
    "bpr_max",
    "gbce",
    "huber",
    "margin",
    "mse",
    "sampled_softmax",
    "softmax",
    "top1_max",
    "triplet",
    "warp",
    "warp_of_trials",
]
