"""What holds for all rules and all candidates."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from shop import N, asked, names, shop

import tastemap as tm
from tastemap.data.masks import constant
from tastemap.policy.age import AgeRating
from tastemap.policy.availability import Availability
from tastemap.policy.caps import Cap
from tastemap.policy.freshness import Freshness
from tastemap.policy.geography import Geography
from tastemap.policy.lists import Allow, Deny
from tastemap.policy.pins import Pin
from tastemap.policy.policy import Policy
from tastemap.policy.rule import FilterRule, Rule
from tastemap.policy.rules import Rules

DATA = shop()
ITEMS = [f"i{n}" for n in range(1, N + 1)]
TABLE = DATA.item_attributes()
COUNTRIES = ["DE", "FR", None]

some_items = st.lists(st.sampled_from(ITEMS), min_size=1, max_size=6).map(tuple)
when = st.sampled_from([{}, {"profile.country": ("DE",)}, {"profile.country": ("FR", "US")}])
filters = st.one_of(
    st.builds(Deny, items=some_items, when=when),
    st.builds(Allow, items=some_items, when=when),
)
caps = st.builds(
    Cap, column=st.sampled_from(["author", "tags"]), at_most=st.integers(1, 3), when=when
)
pins = st.builds(Pin, item=st.sampled_from(ITEMS), place=st.integers(1, 8), when=when)
boosts = st.builds(
    Freshness, column=st.just("released"), half_life_days=st.floats(0.5, 50), when=when
)


def declared(*kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[Rules]:
    listed = st.lists(st.one_of(*kinds), max_size=5)
    return listed.map(lambda rules: Rules({f"r{n}": rule for n, rule in enumerate(rules)}))


candidates = st.permutations(ITEMS).flatmap(
    lambda order: st.integers(0, N).map(lambda n: list(order[:n]))
)
seen = st.lists(st.sampled_from(ITEMS), max_size=4, unique=True)
k = st.integers(1, 10)


def answers(
    rules: Rules, order: list[str], k: int, hidden: list[str]
) -> list[tuple[list[str], list[str], Policy]]:
    """By country: what comes out, and what of the candidates a pipeline would have been given."""
    policy = rules.on(DATA)
    queries = asked(len(COUNTRIES), profile={"country": COUNTRIES})
    found: list[Any] = [None] * len(COUNTRIES)
    for group in policy.allowed(queries):
        able = [
            item
            for item in order
            if item not in hidden and (group.mask is None or group.mask[DATA.items.rows([item])[0]])
        ]
        items = np.tile(DATA.items.rows(able), (len(group.rows), 1)).astype(np.int32)
        excluded = tm.Histories.from_lists([DATA.items.rows(hidden)] * len(group.rows))
        answer = policy.arrange(items, k, group.queries, mask=group.mask, excluded=excluded)
        for place, row in enumerate(group.rows):
            out = [item for item in DATA.items.ids(answer.items[place]) if item is not None]
            assert (answer.items[place][len(out) :] == 0).all(), "no gap"
            for item, column in zip(answer.items[place], answer.columns[place], strict=True):
                assert column == -1 or items[place, column] == item
            found[row] = (out, able, policy)
    return found


def holds(rule: Rule, country: str | None) -> bool:
    return not rule.when or country in rule.when["profile.country"]


def of(item: str, column: str) -> list[str]:
    assert TABLE is not None
    value = TABLE[column][int(DATA.items.rows([item])[0]) - 1]
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


@settings(max_examples=70)
@given(declared(filters, caps, pins, boosts), candidates, k, seen)
def test_nothing_denied_comes_out_and_no_cap_is_exceeded(
    rules: Rules, order: list[str], k: int, hidden: list[str]
) -> None:
    for country, (out, _, _) in zip(COUNTRIES, answers(rules, order, k, hidden), strict=True):
        assert len(out) <= k
        assert len(set(out)) == len(out)
        assert not set(out) & set(hidden)
        for rule in rules.values():
            if not holds(rule, country):
                continue
            if isinstance(rule, Deny):
                assert not set(out) & set(rule.items)
            if isinstance(rule, Allow):
                assert set(out) <= set(rule.items)
            if isinstance(rule, Cap):
                counts = Counter(value for item in out for value in of(item, rule.column))
                assert max(counts.values(), default=0) <= rule.at_most


@settings(max_examples=70)
@given(declared(filters, caps, pins), candidates, k, seen)
def test_the_order_of_what_is_left_is_unchanged(
    rules: Rules, order: list[str], k: int, hidden: list[str]
) -> None:
    pinned = {rule.item for rule in rules.values() if isinstance(rule, Pin)}
    for out, able, _ in answers(rules, order, k, hidden):
        ranked = [item for item in out if item not in pinned]
        assert ranked == [item for item in able if item in ranked]


@settings(max_examples=70)
@given(declared(filters, boosts), candidates, st.integers(0, 4), seen)
def test_removing_a_filter_removes_no_allowed_item(
    rules: Rules, order: list[str], which: int, hidden: list[str]
) -> None:
    names = [name for name, rule in rules.items() if isinstance(rule, FilterRule)]
    gone = names[which % len(names)] if names else None
    fewer = Rules({name: rule for name, rule in rules.items() if name != gone})
    strict, loose = answers(rules, order, N, hidden), answers(fewer, order, N, hidden)
    for (out, _, _), (more, _, _) in zip(strict, loose, strict=True):
        assert set(out) <= set(more)


@settings(max_examples=50)
@given(declared(caps, boosts), candidates, k)
def test_a_place_stays_empty_only_where_caps_leave_nothing(
    rules: Rules, order: list[str], k: int
) -> None:
    for country, (out, able, _) in zip(COUNTRIES, answers(rules, order, k, []), strict=True):
        if len(out) == k:
            continue
        for item in set(able) - set(out):
            assert any(
                sum(value in of(other, rule.column) for other in out) >= rule.at_most
                for rule in rules.values()
                if isinstance(rule, Cap) and holds(rule, country)
                for value in of(item, rule.column)
            )


@settings(max_examples=50)
@given(candidates, k, seen)
def test_without_rules_the_candidates_come_out(order: list[str], k: int, hidden: list[str]) -> None:
    for out, able, _ in answers(Rules(), order, k, hidden):
        assert out == able[:k]


@settings(max_examples=50)
@given(declared(filters, caps, pins, boosts))
def test_what_is_written_comes_back(rules: Rules) -> None:
    assert list(Rules.from_tables(rules.to_tables()).items()) == list(rules.items())


some_queries = st.lists(
    st.tuples(
        st.sampled_from(COUNTRIES),
        st.sampled_from([None, 5.0, 13.0, 18.0]),
        st.sampled_from([(55.75, 37.62), (52.52, 13.4), (None, 1.0)]),
    ),
    min_size=1,
    max_size=5,
)
personal = st.one_of(
    filters,
    st.just(AgeRating(column="min_age", user="context.age")),
    st.just(Geography(radius_km=700)),
    st.builds(Availability, when=when),
)


@settings(max_examples=60)
@given(
    declared(personal),
    st.lists(st.tuples(some_queries, some_items, st.integers(0, 2)), min_size=1, max_size=4),
)
def test_what_is_remembered_of_groups_is_what_each_would_be_given(
    rules: Rules, rounds: list[tuple[list[Any], tuple[str, ...], int]]
) -> None:
    policy, among = rules.on(DATA), [None, constant(np.arange(N + 1) % 3 > 0)]
    sold_out: set[int] = set()
    for people, items, which in rounds:
        if any(rule.kind == "availability" for rule in rules.values()):
            sold_out |= set(DATA.items.rows(items).tolist())
            policy.set_available(sorted(sold_out), False)
        countries, ages, places = zip(*people, strict=True)
        context = {"age": ages, "latitude": [p[0] for p in places]}
        context["longitude"] = [p[1] for p in places]
        queries = asked(len(people), profile={"country": countries}, context=context)
        able = [*among, np.arange(N + 1) % 2 > 0][which]
        given = {row: each for each in policy.allowed(queries, able) for row in each.rows}
        assert sorted(given) == list(range(len(people)))
        fresh = rules.on(DATA)
        if sold_out:
            fresh.set_available(sorted(sold_out), False)
        for row in range(len(people)):
            (alone,) = fresh.allowed(queries.slice(row, row + 1), able)
            assert names(DATA, given[row].mask) == names(DATA, alone.mask)
            assert given[row].barred.tolist() == alone.barred.tolist()
        assert names(DATA, policy.strictest(able)) == names(DATA, fresh.strictest(able))
