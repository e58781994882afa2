"""What models of layers of attention have in common: how many, and how they are trained."""

from __future__ import annotations

from tastemap.hyperparameters import hyperparameter
from tastemap.retrieval.parts.next_item import SequenceRetriever

__all__ = ["AttentionLayers"]


class AttentionLayers(SequenceRetriever):
    """A sequence model of several layers of attention, which learn little from few steps."""

    blocks: int = hyperparameter(default=2, help="blocks of attention", ge=1, le=64)
    heads: int = hyperparameter(default=2, help="heads of an attention", ge=1, le=256)
    dropout: float = hyperparameter(default=0.2, help="share of dimensions dropped", ge=0, lt=1)
    min_steps: int = hyperparameter(
        default=256, help="steps in a pass: with few events a step takes fewer than `batch_size`",
        ge=1, log=True, tuned=False,
    )  # fmt: skip
