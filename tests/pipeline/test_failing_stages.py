"""A pipeline with a stage that fails, and what is hidden from an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tastemap as tm
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.pipeline.stages import StageError


class Without:
    """Runs all stages but some."""

    def __init__(self, *broken: str) -> None:
        self.broken = broken
        self.ran: list[str] = []

    def run(self, stage: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.ran.append(stage)
        if stage in self.broken:
            raise StageError(stage, "broken")
        return function(*args, **kwargs)


@pytest.fixture(scope="module")
def joined(liked_movies: tm.Dataset) -> tm.Pipeline:
    return tm.Pipeline([tm.ItemKNN(), tm.EASE()]).fit(liked_movies)


def asked(pipeline: tm.Pipeline) -> Queries:
    return pipeline.data.queries(pipeline.users.rows(["1", "13", "42"]))


def test_the_others_answer_for_a_retriever_that_fails(joined: tm.Pipeline) -> None:
    left = joined.answer(asked(joined), 10, stages=Without("ease"))
    alone = tm.Pipeline([joined.retrievers[0]]).answer(asked(joined), 10)
    assert left.items.tolist() == alone.items.tolist()
    assert set(left.source_series()) == {"itemknn"}


def test_what_is_popular_answers_where_all_fail(joined: tm.Pipeline) -> None:
    left = joined.answer(asked(joined), 10, stages=Without("ease", "itemknn"))
    assert np.diff(left.offsets).tolist() == [10, 10, 10]
    assert all(source.startswith("popularity") for source in left.source_series())


def test_the_retrievers_order_stays_where_the_ranker_fails(movies: tm.Dataset) -> None:
    pipeline = tm.Pipeline(
        [tm.ItemKNN()], candidates=50, ranker=tm.LightGBMRanker(), rows=tm.OutOfTime(negatives=5)
    ).fit(movies, run=tm.Run(device="cpu", progress=False))
    stages = Without("ranker")
    left = pipeline.answer(asked(pipeline), 10, stages=stages)
    assert stages.ran == ["itemknn", "ranker"]
    alone = tm.Pipeline(pipeline.retrievers).answer(asked(pipeline), 10)
    assert left.items.tolist() == alone.items.tolist()
    assert left.items.tolist() != pipeline.answer(asked(pipeline), 10).items.tolist()


def test_what_is_hidden_makes_room_for_the_next(joined: tm.Pipeline) -> None:
    alone = tm.Pipeline([joined.retrievers[0]])
    queries = asked(alone)
    all_twenty = alone.answer(queries, 20).padded(20)
    hidden = Queries(
        queries.users,
        queries.histories,
        queries.as_of,
        hidden=Histories.from_lists(all_twenty[:, :10]),
    )
    assert alone.answer(hidden, 10).padded(10).tolist() == all_twenty[:, 10:].tolist()
    # A part of the batch keeps what is hidden from it.
    assert (
        alone.answer(hidden.take(np.array([2])), 10).items.tolist() == all_twenty[2, 10:].tolist()
    )
    assert alone.answer(hidden.slice(1, 2), 10).items.tolist() == all_twenty[1, 10:].tolist()
