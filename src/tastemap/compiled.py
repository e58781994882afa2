"""Compiled loops over all cores, one at a time."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numba as nb

__all__ = ["parallel_njit"]

F = TypeVar("F", bound=Callable[..., Any])

_running = threading.Lock()


def parallel_njit(*, fastmath: bool | set[str] = False) -> Callable[[F], F]:
    """`numba.njit` with parallel loops, for a function that Python calls.

    One such function runs at a time, whatever thread calls it: each takes all cores anyway, and
    numba's plainest threading layer ("workqueue", which is all there is without OpenMP, and which
    other libraries choose for the whole process) ends the process when two run at once.
    """

    def decorate(function: F) -> F:
        compiled = nb.njit(cache=True, nogil=True, parallel=True, fastmath=fastmath)(function)

        @functools.wraps(function)
        def run(*args: Any) -> Any:
            with _running:
                return compiled(*args)

        return run  # type: ignore[return-value]

    return decorate
