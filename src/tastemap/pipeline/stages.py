"""What runs the stages of a pipeline, and what happens when one of them fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from tastemap.errors import TastemapError

__all__ = ["DIRECT", "NOT_ASKED", "StageError", "Stages"]

P = ParamSpec("P")
T = TypeVar("T")


class StageError(TastemapError):
    """A stage gave no result; the pipeline answers without it.

    Attributes:
        stage: its name.
    """

    def __init__(self, stage: str, problem: str) -> None:
        self.stage = stage
        super().__init__(f"{stage}: {problem}")


class Stages(Protocol):
    """Runs a stage by name. A `StageError` makes the pipeline do without it: without a retriever,
    the others and what is popular answer; without a ranker, the retrievers' order stays."""

    def run(self, stage: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result.

        Raises:
            StageError: it failed, took too long, or is not asked for now.
        """


class _Direct:
    def run(self, stage: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)


DIRECT: Stages = _Direct()
"""Just calls: whatever goes wrong is raised. For all that is no live service."""


class _NotAsked:
    def run(self, stage: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        raise StageError(stage, "not asked")


NOT_ASKED: Stages = _NotAsked()
"""Does without all of them, so that what is popular answers."""
