"""The task of new items: nothing of what is asked is in what is known."""

from __future__ import annotations

import tastemap as tm
from benchmarks.cold_items import make_task
from tastemap.data.histories import Histories


def pairs(users: list[int], histories: Histories) -> set[tuple[int, int]]:
    rows = histories.rows_of_events().tolist()
    return {(users[row], item) for row, item in zip(rows, histories.items.tolist(), strict=True)}


def test_nothing_of_what_is_asked_is_known() -> None:
    task = make_task(tm.datasets.load("movielens-100k"), seed=3)
    asked = task.asked.queries.users.tolist()
    everybody = list(range(len(task.warm.users)))
    truth = pairs(asked, task.asked.truth)
    assert truth and not truth & pairs(everybody, task.warm.histories)
    assert not task.cold.item_counts[task.new].any()
    assert not task.new[task.asked.queries.histories.items].any()
    assert task.new[task.asked.truth.items].all()
    # Others have chosen them, which the warm model may learn from.
    assert (task.warm.item_counts[task.new] > 0).mean() > 0.9
    # What a query knows came before what it asks for.
    queries = task.asked.queries
    last = [queries.histories.slice(i, i + 1).times.max(initial=0) for i in range(len(queries))]
    assert (queries.as_of >= last).all()
