"""How a release follows what happens while it is served."""

from __future__ import annotations

from dataclasses import dataclass

from tastemap.errors import ParameterError

__all__ = ["Following"]

_DAY = 86_400.0


@dataclass(frozen=True)
class Following:
    """How a release follows what happens while it is served.

    Args:
        newcomers: the share of the places of answers that new items get, from 0 for none to 0.5.
        half_life: after so many seconds, in the time of the events, a take counts half for what is
            popular now.
        item_drift: how far the vector of an item may follow those who take it, as a share of its
            length in the release, from 0 for not at all to 1. A fifth gains most in
            `benchmarks.item_updates`, nearly what training anew does.

    Raises:
        ParameterError: a value out of its range.
    """

    newcomers: float = 0.1
    half_life: float = 3 * _DAY
    item_drift: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.newcomers <= 0.5:
            raise ParameterError(
                f"the share of new items must be from 0 to 0.5, got {self.newcomers!r}"
            )
        if not 60 <= self.half_life <= 10_000 * _DAY:
            raise ParameterError(
                "the half-life of popularity must be from a minute to 10,000 days, got "
                f"{self.half_life!r} seconds"
            )
        if not 0 <= self.item_drift <= 1:
            raise ParameterError(
                f"the drift of item vectors must be from 0 to 1, got {self.item_drift!r}"
            )
