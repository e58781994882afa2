"""What is known of one user: shown to them, and removed."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from tastemap.data.dataset import Dataset
from tastemap.errors import ReleaseError, UnavailableError
from tastemap.online.engine import Engine
from tastemap.online.events import Event
from tastemap.online.refusals import Refusal
from tastemap.online.schemas.requests import MAX_ID

__all__ = ["personal"]

PathId = Annotated[str, InPath(max_length=MAX_ID)]


class LoggedEvent(BaseModel):
    """An event of the log, as it was recorded."""

    item: str
    kind: str
    time: float
    value: float
    id: str | None = None
    duration: float | None = None
    token: str | None = None
    context: dict[str, Any] | None = None

    @classmethod
    def of(cls, event: Event) -> LoggedEvent:
        return cls(
            item=event.item,
            kind=event.kind,
            time=event.time,
            value=event.value,
            id=event.id,
            duration=event.duration,
            token=event.token,
            context=None if event.context is None else dict(event.context),
        )


class ReleaseEvent(BaseModel):
    """An event of the data that the release was made from."""

    item: str
    kind: str
    time: float
    value: float
    context: dict[str, str | int | float | bool] | None = Field(
        None, description="further columns of the data"
    )


class UserData(BaseModel):
    """All that is kept of a user."""

    user: str
    events: list[LoggedEvent] = Field(description="of the event log, impressions too, oldest first")
    profile: dict[str, str] = Field(description="of the release's user table")
    release: str = Field(description="the version of the release that is served")
    release_events: list[ReleaseEvent] = Field(
        description="of the release's data, oldest first; they may be in the log too"
    )


class RemovedFrom(BaseModel):
    """What was removed from a release."""

    release: str = Field(description="the version that stands in its place now")
    events: int
    profile: bool = Field(description="whether it held a profile of the user")


class Unsearched(BaseModel):
    """A release that could not be searched for a user."""

    release: str
    problem: str = Field(description="what is wrong with it, and what to do")


class Removed(BaseModel):
    """What was removed of a user."""

    events: int = Field(description="events of the log")
    releases: list[RemovedFrom] = Field(description="those that knew the user")
    unsearched: list[Unsearched] = Field(
        [], description="damaged releases, which may hold the user still"
    )


def personal(engine: Engine) -> APIRouter:
    """The routes, over the log and the releases of an engine."""
    router = APIRouter(tags=["personal data"])

    @router.get("/users/{user:id}/data", response_model_exclude_none=True)
    def export(user: PathId) -> UserData:
        """Everything that is kept of a user. For one who is unknown the lists are empty."""
        engine.catch_up()
        serving = engine.serving
        data = serving.pipeline.data
        row = int(serving.live.rows([user])[0])
        h = data.histories.slice(row, row + 1)
        return UserData(
            user=user,
            events=[LoggedEvent.of(event) for event in engine.events.events_of(user)],
            profile=serving.catalogue.profiles([row])[0] if row else {},
            release=serving.version,
            release_events=[
                ReleaseEvent(
                    item=str(item),
                    kind=data.kind_names[kind],
                    time=time,
                    value=value,
                    context=circumstances,
                )
                for item, kind, time, value, circumstances in zip(
                    data.items.ids(h.items),
                    h.kinds.tolist(),
                    h.times.tolist(),
                    h.values.tolist(),
                    _contexts(data, row),
                    strict=True,
                )
            ],
        )

    @router.delete(
        "/users/{user:id}",
        response_model_exclude_defaults=True,
        responses={
            202: {
                "model": Removed,
                "description": "All was removed but from damaged releases, which `unsearched` "
                "names. Delete or mend them, and ask again.",
            },
            503: {"description": "Not all could be removed yet; ask again."},
        },
    )
    def remove(user: PathId, response: Response) -> Removed:
        """Removes a user for good: their events, and their id, history and profile in all releases.

        When this is answered the user is unknown to all workers. Only a keyed hash of the id is
        kept, so that a release made from older data does not bring them back. Should they return,
        they begin anew. What models have learned from everybody's events stays until the next
        training.
        """
        try:
            removal = engine.forget(user)
        except (ReleaseError, UnavailableError) as error:
            raise Refusal(503, ["path", "user"], str(error), "not_removed") from None
        if removal.unsearched:
            response.status_code = 202
        return Removed(
            events=removal.events,
            releases=[
                RemovedFrom(release=each.release, events=each.events, profile=each.profile)
                for each in removal.releases
            ],
            unsearched=[
                Unsearched(release=release, problem=problem)
                for release, problem in removal.unsearched.items()
            ],
        )

    return router


def _contexts(data: Dataset, row: int) -> list[dict[str, Any] | None]:
    """The circumstances of each event of a user, in what JSON can hold."""
    start, stop = data.histories.offsets[row : row + 2].tolist()
    if data.context is None:
        return [None] * (stop - start)
    return [
        {
            name: value if isinstance(value, int) or _finite(value) else str(value)
            for name, value in each.items()
            if value is not None
        }
        for each in data.context[start:stop].to_dicts()
    ]


def _finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)
