"""When to retrain."""

from __future__ import annotations

from dataclasses import dataclass

from tastemap.errors import ParameterError

__all__ = ["Since", "Triggers"]


@dataclass(frozen=True)
class Since:
    """What has happened since the serving release was made, or since the last retraining.

    Attributes:
        seconds: gone by.
        events: recorded in the log.
    """

    seconds: float
    events: int


@dataclass(frozen=True)
class Triggers:
    """What sets a retraining off; one of them is enough.

    Args:
        every: seconds after the last retraining, or after the release was made; None for no
            schedule.
        after_events: events recorded since then; None for no such number.
        drift: a population stability index (`stability`) above which popularity, kinds of events
            or scores have moved too far from the release's; 0.25 is the usual mark of a large
            change. None not to look.
        quality: the part of the hit rate in the manifest that may be lost on the newest events.
            None not to look.
        least_events: fewer recorded events than so many set nothing off.

    Raises:
        ParameterError: a value out of its range.
    """

    every: float | None = None
    after_events: int | None = None
    drift: float | None = 0.25
    quality: float | None = 0.2
    least_events: int = 500

    def __post_init__(self) -> None:
        for name in ("every", "after_events", "drift", "quality", "least_events"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ParameterError(f"Triggers: {name} must be above 0, got {value!r}")

    def due(self, since: Since) -> str | None:
        """Why to retrain now, by the clock and the number of events; None where there is none."""
        if since.events < self.least_events:
            return None
        if self.after_events is not None and since.events >= self.after_events:
            return f"{since.events:,} events were recorded"
        if self.every is not None and since.seconds >= self.every:
            return f"{since.seconds / 3600:.1f} hours have passed"
        return None
