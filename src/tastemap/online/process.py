"""A process that does nothing but answer."""

from __future__ import annotations

import gc
import sys
from importlib.util import find_spec

__all__ = ["settle"]

# Seconds for which a thread may keep the interpreter while another one waits for it.
_TURN = 0.0005


def settle() -> None:
    """Prepares the process for many small answers, once everything is loaded.

    Libraries that share the work of one answer among threads spend more on waking them than the
    work takes, and take the processor from other requests; so each computes on the thread that
    asks. And what has been loaded stays, so that the collector of garbage need not look at it again
    and again, which for the ids of a million items stops the process for some hundred milliseconds.
    Threads take turns often, since a question that has come waits for its turn twice.
    """
    import torch

    sys.setswitchinterval(_TURN)

    torch.set_num_threads(1)
    if find_spec("faiss") is not None:
        from tastemap.index.library import faiss

        faiss().omp_set_num_threads(1)
    gc.collect()
    gc.freeze()
