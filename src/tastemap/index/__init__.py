"""Nearest neighbours by inner product: the true ones, and nearly all of them faster."""

from tastemap.index.base import Index, Recall
from tastemap.index.table import index_for, load_index

__all__ = ["Index", "Recall", "index_for", "load_index"]
