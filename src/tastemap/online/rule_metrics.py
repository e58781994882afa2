"""What business rules did, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from tastemap.policy.policy import Policy

__all__ = ["RuleMetrics"]


class RuleMetrics(Collector):
    """Reads the counts of the policy that is at work when Prometheus asks; they begin anew with
    each release, as those of a process that was started again.

    Args:
        policy: gives it, None where there are no rules.
    """

    def __init__(self, policy: Callable[[], Policy | None]) -> None:
        self._policy = policy

    def collect(self) -> Iterator[CounterMetricFamily]:
        questions = CounterMetricFamily(
            "tastemap_rule_answers",
            "Answers in which a rule did something.",
            labels=["rule", "kind"],
        )
        items = CounterMetricFamily(
            "tastemap_rule_items",
            "Items that a rule kept out of a search, passed over, placed or lifted.",
            labels=["rule", "kind"],
        )
        policy = self._policy()
        for effect in () if policy is None else policy.effects():
            questions.add_metric([effect.rule, effect.kind], effect.questions)
            items.add_metric([effect.rule, effect.kind], effect.items)
        yield questions
        yield items
