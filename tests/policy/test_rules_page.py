"""Every example of docs/rules.md is a rule that can be put to work, and every kind has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tastemap as tm
from tastemap.policy.rules import KINDS, Rules

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
EXAMPLES = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_work(text: str, data: tm.Dataset) -> None:
    rules = Rules.from_toml(text)
    assert rules
    assert len(rules.on(data).effects()) == len(rules)
    assert Rules.from_tables(rules.to_tables()).items() == rules.items()


def test_every_kind_has_an_example() -> None:
    kinds = {rule.kind for text in EXAMPLES for rule in Rules.from_toml(text).values()}
    assert kinds == set(KINDS)


def test_the_examples_are_one_file(data: tm.Dataset) -> None:
    assert len(Rules.from_toml("\n".join(EXAMPLES)).on(data)) == 11
