"""What rules would change in the answers of a pipeline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tastemap.data.queries import Queries
from tastemap.pipeline.pipeline import Pipeline
from tastemap.policy.rule import FilterRule
from tastemap.policy.rules import Rules

__all__ = ["RuleEffect", "rule_effects"]

TOGETHER = "all together"


@dataclass(frozen=True)
class RuleEffect:
    """What a rule alone, or all rules together, would change.

    Attributes:
        rule, kind: its name and kind.
        barred: items of the catalogue that it keeps from a question, on average; 0 for caps, pins
            and boosts.
        changed: answers that are others than without any rule.
        replaced: places of all answers whose item is not in the answer any more.
        filled: places of all answers that hold an item.
    """

    rule: str
    kind: str
    barred: float
    changed: int
    replaced: int
    filled: int


def rule_effects(pipeline: Pipeline, rules: Rules, queries: Queries, k: int) -> list[RuleEffect]:
    """What each rule alone, then all of them together, would change in the answers to queries [B].

    Raises:
        RuleError: a rule does not fit the data.
    """
    own = pipeline.rules
    try:
        pipeline.obey(Rules())
        before = pipeline.answer(queries, k).padded(k)
        each = {name: Rules({name: rule}) for name, rule in rules.items()}
        each[TOGETHER] = rules
        return [_effect(pipeline, name, some, queries, before) for name, some in each.items()]
    finally:
        pipeline.obey(own)


def _effect(
    pipeline: Pipeline, name: str, rules: Rules, queries: Queries, before: NDArray[np.int32]
) -> RuleEffect:
    pipeline.obey(rules)
    k = before.shape[1]
    after = pipeline.answer(queries, k).padded(k)
    rows = np.arange(len(queries))[:, None] << 32
    gone = ~np.isin(rows | before, rows | after) & (before > 0)
    effects = () if pipeline.policy is None else pipeline.policy.effects()
    barred = sum(each.items for each in effects if isinstance(rules[each.rule], FilterRule))
    return RuleEffect(
        name,
        rules[name].kind if name in rules else "",
        barred / max(1, len(queries)),
        int((before != after).any(axis=1).sum()),
        int(gone.sum()),
        int(np.count_nonzero(after)),
    )
