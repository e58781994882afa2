"""Texts become metrics, or an error that helps."""

from __future__ import annotations

import pytest

from tastemap.errors import ParameterError
from tastemap.metrics import METRICS, Metric


@pytest.mark.parametrize(
    ("text", "name", "k"),
    [("ndcg@10", "ndcg", 10), ("Recall@20", "recall", 20), (" auc ", "auc", None)],
)
def test_parses(text: str, name: str, k: int | None) -> None:
    assert Metric.parse(text) == Metric(name, k)


@pytest.mark.parametrize("name", METRICS)
def test_every_name_survives_a_round_trip(name: str) -> None:
    metric = Metric(name, 7 if METRICS[name].has_k else None)
    assert Metric.parse(str(metric)) == metric


def test_a_typo_gets_a_suggestion_and_the_list() -> None:
    with pytest.raises(ParameterError, match=r"did you mean 'ndcg@10'.*known: hit_rate@k.*rmse"):
        Metric.parse("ndgc@10")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ndcg", "write 'ndcg@10'"),
        ("ndcg@", "whole number"),
        ("ndcg@ten", "whole number"),
        ("ndcg@-1", "whole number"),
        ("ndcg@0", "at least 1"),
        ("auc@10", "takes no k"),
        ("", "unknown metric"),
        (10, "is a text"),
    ],
)
def test_what_is_not_a_metric_is_refused(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Metric.parse(text)


def test_parse_all_takes_one_or_many_and_drops_repetitions() -> None:
    assert Metric.parse_all("mrr@5") == [Metric("mrr", 5)]
    assert Metric.parse_all(["mrr@5", "auc", "MRR@5"]) == [Metric("mrr", 5), Metric("auc")]
    with pytest.raises(ParameterError, match="no metric given"):
        Metric.parse_all([])
