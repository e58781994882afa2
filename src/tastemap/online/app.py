"""The service as a FastAPI application."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Depends, FastAPI, Response

import tastemap
from tastemap.online.access import permitted
from tastemap.online.answer_cache import CacheOptions
from tastemap.online.batching import Batcher
from tastemap.online.browse import browsing
from tastemap.online.business import Business
from tastemap.online.clock import now
from tastemap.online.described import describe
from tastemap.online.direct import DirectRoute
from tastemap.online.engine import STAGE_SECONDS, Engine
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event, IdConflictError, Recorded
from tastemap.online.following import Following
from tastemap.online.hybrid import Hybrid, open_precomputed
from tastemap.online.metrics import Metrics
from tastemap.online.operating import Operating
from tastemap.online.page import add_page
from tastemap.online.personal import personal
from tastemap.online.questions import Found, Question, UnknownItemError
from tastemap.online.readiness import Readiness, Watched, readiness
from tastemap.online.recommending import Answering, recommending
from tastemap.online.refusals import (
    Refusal,
    explain_refusals,
    require_json,
    unknown_item,
)
from tastemap.online.schemas.requests import EventBatch
from tastemap.online.schemas.responses import Accepted, Health, LikeOut
from tastemap.online.stocking import stocking
from tastemap.online.tokens import Tokens

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["create_app"]

_NOTHING = Operating()
# Seconds between batches of answers: little beside the time that an answer takes anyway.
_PACE = 0.002
_ABOUT = """Live recommendations over a release, and the log of what people do.

Ids are text. A refused request names the field: `{"detail": [{"loc": ["body", 3, "item"], "msg":
"unknown item: '9999'"}]}`."""


def create_app(
    release: Path,
    state: Path,
    *,
    page: Path | None = None,
    poll_seconds: float = 2.0,
    stage_seconds: float = STAGE_SECONDS,
    operating: Operating = _NOTHING,
    following: Following | None = None,
    cache: CacheOptions | None = None,
    precomputed: str | None = None,
    open_log: Callable[[Path], EventLog] = EventLog,
    missing_workers: Callable[[], int] = lambda: 0,
) -> FastAPI:
    """The service over one release and one event log.

    Args:
        release: a release store, whose newest release is followed; or a saved pipeline or model.
        state: the folder of the event log, made where it is missing.
        page: a folder with an `index.html` to show at "/"; None for no page.
        poll_seconds: how often to look whether the store serves another release.
        stage_seconds: how long a stage of an answer (a retriever, the ranker) may take, before it
            is given without.
        operating: keys, limits, logs and traces; none by default.
        following: how the release follows what happens.
        cache: where answers are remembered; None to make each anew.
        precomputed: where answers made in advance are; see `open_precomputed`. None for none.
        open_log: opens the event log of a folder; `KafkaTopic` for one that machines share.
        missing_workers: how many processes beside this one should answer and do not.

    Raises:
        ParameterError: an option of the cache, or an address, makes no sense.
        DataError: the file of answers made in advance is missing or damaged.
        MissingExtraError: Redis or traces are wanted, and what they need is not installed.
        ReleaseError: there is no release, or it is damaged.
        StateError: the state folder cannot be used.
    """
    provider = operating.provider()
    hybrid = None if precomputed is None else Hybrid(open_precomputed(precomputed))
    remembered = None if cache is None else cache.open()
    log = open_log(state)
    try:
        engine = Engine(
            release,
            log,
            stage_seconds=stage_seconds,
            following=following,
            cache=remembered,
            hybrid=hybrid,
        )
    except BaseException:
        log.close()
        raise
    metrics = Metrics(engine)
    engine.guard.observe = metrics.stage
    if remembered is not None:
        remembered.observe = lambda result, n: metrics.cache.labels(result).inc(n)

    def answer(questions: list[Question]) -> list[Found | Exception]:
        metrics.batch.observe(len(questions))
        return engine.answer(questions)

    tokens = Tokens.of_folder(state)
    business = Business(metrics.registry, tokens)
    ready = Readiness(engine, state)
    metrics.watch(Watched(engine, ready, missing_workers))
    answers = _answers(engine, answer, provider)
    records: Batcher[Sequence[Event], Recorded] = Batcher("events", engine.record, limit=256)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.watch(poll_seconds)
        yield
        engine.close()
        answers.close()
        records.close()
        log.close()
        if provider is not None:
            provider.shutdown()
        for opened in (remembered, hybrid):
            if opened is not None:
                opened.close()

    app = FastAPI(
        title="tastemap",
        version=tastemap.__version__,
        description=_ABOUT,
        lifespan=lifespan,
        redoc_url=None,
        dependencies=[Depends(permitted)],
    )
    answering = Answering(answers, tokens, metrics, business)
    app.router.routes.append(DirectRoute(answering))
    app.include_router(recommending(answering))
    app.include_router(_recording(engine, records, metrics, business))
    app.include_router(_observing(engine, metrics, missing_workers))
    app.include_router(readiness(ready, engine))
    app.include_router(browsing(engine))
    app.include_router(stocking(engine))
    app.include_router(personal(engine))
    add_page(app, page)
    explain_refusals(app)
    describe(app)
    operating.surround(app, metrics, provider)
    return app


def _answers(
    engine: Engine,
    answer: Callable[[list[Question]], list[Found | Exception]],
    provider: TracerProvider | None,
) -> Batcher[Question, Found]:
    if provider is None:
        return Batcher("answers", answer, limit=256, pace=_PACE)
    from tastemap.online.tracing import TracedBatcher

    return TracedBatcher(
        "answers", answer, limit=256, pace=_PACE, guard=engine.guard, provider=provider
    )


def _recording(
    engine: Engine,
    records: Batcher[Sequence[Event], Recorded],
    metrics: Metrics,
    business: Business,
) -> APIRouter:
    router = APIRouter(tags=["events"])

    @router.post(
        "/events",
        dependencies=[Depends(require_json)],
        responses={
            503: {
                "description": "Nothing was recorded, since the disk is full or fails. Send it "
                "again later; with ids of your own, nothing is recorded twice.",
                "headers": {"Retry-After": {"schema": {"type": "integer"}}},
            }
        },
    )
    async def record_events(events: Annotated[EventBatch, Body()]) -> Accepted:
        """Records one event or a list, durably before the answer; the user's next recommendations
        reflect it, whichever worker gives them. A list with one bad event is refused whole."""
        moment, data = now(), engine.serving.pipeline.data
        batch = [
            event.event(now=moment, kind=data.usual_kind, usual=data.usual_value)
            for event in events
        ]
        try:
            recorded = await records.ask(batch)
        except UnknownItemError as error:
            raise unknown_item(error, "body", error.index, "item") from None
        except IdConflictError as error:
            raise Refusal(409, ["body", error.index, "id"], str(error), "id_conflict") from None
        metrics.events.labels("accepted").inc(len(recorded.accepted))
        metrics.events.labels("duplicate").inc(recorded.duplicates)
        business.recorded(recorded.accepted)
        return Accepted(accepted=len(recorded.accepted), duplicates=recorded.duplicates)

    return router


def _observing(engine: Engine, metrics: Metrics, missing_workers: Callable[[], int]) -> APIRouter:
    router = APIRouter(tags=["operation"])

    @router.get("/health")
    def health() -> Health:
        """Which release is served, and whether anything is wrong."""
        serving = engine.serving
        like = serving.like
        problems = [] if engine.problem is None else [engine.problem]
        if missing := missing_workers():
            problems.append(f"workers that are down and started again: {missing}; the log says why")
        return Health(
            status="degraded" if problems else "ok",
            release=serving.version,
            model=serving.pipeline.name,
            users=len(serving.pipeline.users) - 1,
            items=len(serving.pipeline.items) - 1,
            events_recorded=engine.events.last_offset,
            live_users=serving.live.n_users,
            problem="; ".join(problems) or None,
            process=os.getpid(),
            like=LikeOut(kind=like.kind, value=like.value),
        )

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    def prometheus() -> Response:
        """Counters in the text format of Prometheus, summed over all workers."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    return router
