"""Each rule by itself: what it lets through, where it puts an item, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from shop import DAY, TODAY, asked, names
from sklearn.metrics.pairwise import haversine_distances

import tastemap as tm
from tastemap.data.queries import Queries
from tastemap.errors import DataError, ParameterError, RuleError
from tastemap.policy.geography import Geography
from tastemap.policy.policy import Policy
from tastemap.policy.rules import Rules

EVERYTHING = [f"i{n}" for n in range(1, 13)]


def at_work(data: tm.Dataset, *rules: str) -> Policy:
    return Rules.from_toml("\n".join(f"[rules.r{n}]\n{text}" for n, text in enumerate(rules))).on(
        data
    )


def shown(data: tm.Dataset, rule: str, queries: Queries) -> list[list[str]]:
    """By query the items that a filter lets through."""
    found: list[list[str]] = [[] for _ in range(len(queries))]
    for group in at_work(data, rule).allowed(queries):
        for row in group.rows:
            found[row] = names(data, group.mask)
    return found


def without(*items: str) -> list[str]:
    return [item for item in EVERYTHING if item not in items]


def arranged(
    data: tm.Dataset,
    policy: Policy,
    items: Sequence[str],
    k: int,
    queries: Queries | None = None,
    **known: Any,
) -> list[list[str | None]]:
    """The answers of queries that all have the same candidates."""
    queries = asked(1) if queries is None else queries
    rows = np.tile(data.items.rows(list(items)), (len(queries), 1))
    answer = policy.arrange(rows, k, queries, **known)
    return [data.items.ids(row) for row in answer.items]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('kind = "deny"\nitems = ["i1", "i12"]', without("i1", "i12")),
        ('kind = "allow"\nitems = ["i1", "i12"]', ["i1", "i12"]),
        ('kind = "deny"\ncolumn = "tags"\nvalues = "x"', without("i1", "i2", "i7", "i8")),
        ('kind = "deny"\ncolumn = "genres"\nvalues = ["Horror"]\nseparator = "|"',
         without("i1", "i6", "i7", "i12")),
        ('kind = "deny"\ncolumn = "genres"\nvalues = ["Horror"]', without("i6", "i12")),
        ('kind = "allow"\ncolumn = "year"\nvalues = [1990, 2023]\nitems = ["i2"]',
         ["i1", "i2", "i5", "i7", "i11"]),
        ('kind = "deny"\ncolumn = "on_sale"\nvalues = false',
         without("i2", "i5", "i8", "i11")),
        ('kind = "availability"\ncolumn = "stock"', without("i2", "i4")),
        ('kind = "availability"\ncolumn = "on_sale"', ["i1", "i4", "i7", "i10"]),
        ('kind = "availability"', EVERYTHING),
    ],
)  # fmt: skip
def test_lists_and_stock(data: tm.Dataset, rule: str, expected: list[str]) -> None:
    assert shown(data, rule, asked(2)) == [expected, expected]


def test_age_fails_closed(data: tm.Dataset) -> None:
    rule = 'kind = "age"\ncolumn = "min_age"\nuser = ["context.age", "profile.age"]'
    profile = {"age": [5, 12, 18, 40, None, -3]}
    child = without("i3", "i4", "i5", "i6", "i7")
    expected = [
        child,
        without("i5", "i6", "i7"),
        without("i7"),
        without("i7"),
        child,
        child,
    ]
    assert shown(data, rule, asked(6, profile=profile)) == expected
    assert shown(data, rule, asked(1)) == [child]
    spoken = asked(6, profile=profile, context={"age": ["30", "x", "", None, "nan", "6"]})
    expected = [without("i7"), *expected[1:5], without("i4", "i5", "i6", "i7")]
    assert shown(data, rule, spoken) == expected
    assert shown(data, rule + "\nunrated = 18", asked(1, context={"age": [18]})) == [EVERYTHING]


def test_ratings_by_name(data: tm.Dataset) -> None:
    rule = (
        'kind = "age"\ncolumn = "rating"\nuser = "profile.age"\nages = { G = 0, PG = 10, R = 17 }'
    )
    found = shown(data, rule, asked(2, profile={"age": [11, 80]}))
    assert found == [without("i2", "i5", "i9", "i12"), without("i5", "i9")]


def test_geography_fails_open(data: tm.Dataset) -> None:
    def near(radius: float, latitude: Any, longitude: Any) -> list[str]:
        rule = f'kind = "geography"\nradius_km = {radius}'
        queries = asked(1, context={"latitude": [latitude], "longitude": [longitude]})
        return shown(data, rule, queries)[0]

    # From Moscow it is 634 km to Saint Petersburg, 1,609 to Berlin, 2,487 to Paris.
    assert near(630, 55.75, 37.62) == without("i2", "i3", "i5", "i6")
    assert near(640, 55.75, 37.62) == without("i3", "i5", "i6")
    assert near(2500, 55.75, 37.62) == without("i6")
    for nowhere in ((None, 37.62), (91.0, 0.0), (0.0, 181.0), ("x", "y")):
        assert near(630, *nowhere) == EVERYTHING
    assert shown(data, 'kind = "geography"\nradius_km = 1', asked(2)) == [EVERYTHING] * 2


def test_distances_go_around_the_earth() -> None:
    rng = np.random.default_rng(0)
    degrees = np.stack([rng.uniform(-90, 90, 300), rng.uniform(-180, 180, 300)], axis=1)
    frame = {"user": ["u"] * 300, "item": [f"i{n}" for n in range(300)]}
    items = pl.DataFrame(
        {"item": frame["item"], "latitude": degrees[:, 0], "longitude": degrees[:, 1]}
    )
    world = tm.Dataset.from_frame(pl.DataFrame(frame), items=items)
    rule = Geography(radius_km=3000).on(world)
    for latitude, longitude in ((0.0, 179.9), (89.5, 10.0), (-45.0, -180.0)):
        query = asked(1, context={"latitude": [latitude], "longitude": [longitude]})
        km = 6371.0088 * haversine_distances(
            np.radians(degrees), np.radians([[latitude, longitude]])
        )
        expected = km[np.argsort(world.items.rows(frame["item"])), 0] <= 3000
        assert rule.mask(rule.groups(query)[0])[1:].tolist() == expected.tolist()


def test_a_rule_holds_for_those_it_names(data: tm.Dataset) -> None:
    rule = 'kind = "deny"\nitems = ["i1"]\nwhen = { "profile.country" = ["DE", "US"] }'
    queries = asked(4, profile={"country": ["DE", "FR", None, "US"]})
    assert [("i1" in items) for items in shown(data, rule, queries)] == [False, True, True, False]
    both = rule.replace("] }", '], "context.device" = "tv" }')
    spoken = asked(2, profile={"country": ["DE", "DE"]}, context={"device": ["tv", "phone"]})
    assert [("i1" in items) for items in shown(data, both, spoken)] == [False, True]
    assert shown(data, both, queries) == [EVERYTHING] * 4
    numbers = 'kind = "deny"\nitems = ["i1"]\nwhen = { "context.page" = 1 }'
    assert shown(data, numbers, asked(2, context={"page": [1.0, 2.0]})) == [
        without("i1"),
        EVERYTHING,
    ]


def test_caps(data: tm.Dataset) -> None:
    policy = at_work(data, 'kind = "cap"\ncolumn = "author"\nat_most = 1')
    candidates = ["i1", "i2", "i11", "i5", "i3", "i4", "i8", "i9"]
    assert arranged(data, policy, candidates, 3) == [["i1", "i11", "i5"]]
    assert arranged(data, policy, candidates, 6) == [["i1", "i11", "i5", "i8", None, None]]
    several = at_work(data, 'kind = "cap"\ncolumn = "tags"\nat_most = 1')
    assert arranged(data, several, EVERYTHING, 6) == [["i1", "i3", "i4", "i5", "i6", "i10"]]
    tables = at_work(
        data,
        'kind = "cap"\ncolumn = "genres"\nseparator = "|"\nat_most = 2',
        'kind = "cap"\ncolumn = "author"\nat_most = 2\nwhen = { "context.page" = "home" }',
    )
    queries = asked(2, context={"page": ["home", "list"]})
    assert arranged(data, tables, ["i1", "i2", "i3", "i7", "i6", "i9"], 4, queries) == [
        ["i1", "i2", "i6", "i9"],
        ["i1", "i2", "i3", "i6"],
    ]


def test_pins(data: tm.Dataset) -> None:
    pin = 'kind = "pin"\nitem = "{}"\nplace = {}'
    policy = at_work(data, pin.format("i9", 1), pin.format("i3", 3), pin.format("i9", 2))
    assert arranged(data, policy, ["i1", "i2", "i3", "i4"], 4) == [["i9", "i1", "i3", "i2"]]
    same = at_work(data, pin.format("i9", 2), pin.format("i8", 2))
    assert arranged(data, same, ["i1", "i2"], 4) == [["i1", "i9", "i8", "i2"]]
    late = at_work(data, pin.format("i9", 4))
    assert arranged(data, late, ["i1"], 4) == [["i1", "i9", None, None]]
    assert arranged(data, late, ["i1"], 3) == [["i1", None, None]]
    assert arranged(data, late, [], 4) == [["i9", None, None, None]]
    capped = at_work(data, pin.format("i7", 1), 'kind = "cap"\ncolumn = "author"\nat_most = 1',
                     pin.format("i8", 2))  # fmt: skip
    assert arranged(data, capped, ["i9", "i1", "i4"], 3) == [["i7", "i1", "i4"]]


def test_a_pin_is_not_shown_where_it_may_not_be(data: tm.Dataset) -> None:
    policy = at_work(data, 'kind = "pin"\nitem = "i9"')
    mask = np.ones(len(data.items), np.bool_)
    mask[data.items.rows(["i9"])] = False
    assert arranged(data, policy, ["i1", "i2"], 2, mask=mask) == [["i1", "i2"]]
    seen = tm.Histories.from_lists([data.items.rows(["i9"]), data.items.rows(["i8"])])
    found = arranged(data, policy, ["i1", "i2"], 2, asked(2), excluded=seen)
    assert found == [["i1", "i2"], ["i9", "i1"]]


def test_freshness_divides_ranks(data: tm.Dataset) -> None:
    rule = 'kind = "freshness"\ncolumn = "released"\nhalf_life_days = 2\nstrength = 3'
    order = [*EVERYTHING[:8], "i12", "i11"]
    age = np.array([TODAY / DAY - (19661 + int(item[1:])) for item in order])  # 2023-11-01
    lifted = np.arange(1, 11) / (1 + 3 * 0.5 ** (age / 2))
    expected = [order[place] for place in np.argsort(lifted, kind="stable")]
    assert expected != order
    policy = at_work(data, rule)
    assert arranged(data, policy, order, 10) == [expected]
    assert arranged(data, policy, order, 4) == [expected[:4]]
    other = at_work(data, rule + '\nwhen = { "context.page" = "home" }')
    assert arranged(data, other, order, 10) == [order]


def test_freshness_by_year_and_by_first_event(data: tm.Dataset) -> None:
    rule = 'kind = "freshness"\ncolumn = "year"\nunit = "year"\nhalf_life_days = 400\n'
    years = at_work(data, rule + "strength = 9")
    assert arranged(data, years, ["i1", "i6", "i5"], 3) == [["i5", "i1", "i6"]]
    first = at_work(data, 'kind = "freshness"\nhalf_life_days = 2\nstrength = 1000')
    h = data.histories
    begun = {
        item: h.times[h.items == data.items.rows([item])[0]].min(initial=np.inf)
        for item in EVERYTHING
    }
    moment = TODAY - 80 * DAY
    lifted = {
        item: (place + 1) / (1 + 1000 * 0.5 ** ((moment - begun[item]) / DAY / 2))
        for place, item in enumerate(EVERYTHING)
    }
    expected = sorted(EVERYTHING, key=lifted.__getitem__)
    assert expected != EVERYTHING
    then = Queries.of(tm.Histories.empty(1), as_of=np.array([moment]))
    assert arranged(data, first, EVERYTHING, 12, then) == [expected]
    # Whoever asks now, years later, finds nothing new.
    now = Queries.of(tm.Histories.empty(1))
    assert arranged(data, first, EVERYTHING, 12, now) == [EVERYTHING]


def test_effects_are_counted(data: tm.Dataset) -> None:
    policy = at_work(
        data,
        'kind = "deny"\nitems = ["i1", "i2"]',
        'kind = "deny"\nitems = ["i2", "i3"]\nwhen = { "profile.country" = "DE" }',
        'kind = "cap"\ncolumn = "author"\nat_most = 1',
        'kind = "pin"\nitem = "i9"\nplace = 2',
        'kind = "freshness"\ncolumn = "released"\nhalf_life_days = 1\nstrength = 50',
    )
    queries = asked(3, profile={"country": ["DE", "FR", "DE"]})
    candidates = data.items.rows(["i4", "i6", "i5", "i12"])
    for group in policy.allowed(queries):
        items = np.tile(candidates, (len(group.rows), 1))
        answer = policy.arrange(items, 4, group.queries, mask=group.mask)
        assert data.items.ids(answer.items[0]) == ["i12", "i9", "i4", None]
        policy.record(group, answer.moved)
    counted = [(each.rule, each.kind, each.questions, each.items) for each in policy.effects()]
    assert counted == [
        ("r0", "deny", 3, 6),
        ("r1", "deny", 2, 2),
        ("r2", "cap", 3, 6),
        ("r3", "pin", 3, 3),
        ("r4", "freshness", 3, 3),
    ]


def test_availability_changes_while_it_serves(data: tm.Dataset) -> None:
    policy = at_work(data, 'kind = "availability"\ncolumn = "stock"')

    def now() -> list[str]:
        return names(data, next(iter(policy.allowed(asked(1)))).mask)

    assert now() == without("i2", "i4")
    policy.set_available(data.items.rows(["i2"]), True)
    policy.set_available(data.items.rows(["i11", "i12"]), False)
    assert now() == without("i4", "i11", "i12")
    for rows in ([0], [13], [-1]):
        with pytest.raises(ParameterError, match="item rows are from 1 to 12"):
            policy.set_available(rows, True)
    with pytest.raises(ParameterError, match="no rule of kind 'availability'"):
        at_work(data, 'kind = "deny"\nitems = ["i1"]').set_available([1], False)


BAD: Mapping[str, str] = {
    'kind = "den"': r"rules\.r0\.kind: there is no kind 'den'; did you mean 'deny'\?",
    'items = ["i1"]': r"rules\.r0: the kind is missing",
    'kind = "deny"\nitem = ["x"]': r"rules\.r0\.item: .*did you mean 'items'\?",
    'kind = "deny"\nitems = ["i99"]': r"r0\.items: there is no item 'i99'; did you mean 'i9'",
    'kind = "deny"\nitems = "i9"': r"items: must be a list, got 'i9'",
    'kind = "deny"\nitems = [1.5]': r"rules\.r0\.items: .*got 1\.5",
    'kind = "deny"': "the rule lists nothing",
    'kind = "deny"\ncolumn = "genres"': r"r0\.values: a column and its values go together",
    'kind = "deny"\nitems = ["i1"]\nseparator = "|"': r"r0\.separator: there is no column",
    'kind = "deny"\ncolumn = "tags"\nvalues = "x"\nseparator = "|"': "needs no separator",
    'kind = "deny"\ncolumn = "genres"\nvalues = "Horor"\nseparator = "|"': "did you mean 'Horror'",
    'kind = "deny"\ncolumn = "year"\nvalues = "1990"': "'1990' is not of the type",
    'kind = "cap"\ncolumn = "authr"\nat_most = 2': r"r0\.column: .*did you mean 'author'\?",
    'kind = "cap"\ncolumn = "author"\nat_most = 0': r"r0\.at_most: must be greater.* got 0",
    'kind = "cap"\ncolumn = "author"\nat_most = true': "must be a whole number, got True",
    'kind = "cap"\ncolumn = "author"': r"r0\.at_most: the key is missing",
    'kind = "availability"\ncolumn = "author"': r"r0\.column: .*String, and the rule needs numbers",
    'kind = "geography"\nradius_km = -1': r"r0\.radius_km: must be greater than 0, got -1",
    'kind = "geography"\nradius_km = nan': "must be a finite number",
    'kind = "geography"\nradius_km = 9\nlatitude = "price"\nlongitude = "year"':
        r"r0\.longitude: the column 'year' holds 1990 for item 'i\d+'. Degrees go from -180 to 180",
    'kind = "age"\ncolumn = "rating"\nuser = "profile.age"': "needs numbers",
    'kind = "age"\ncolumn = "year"\nuser = "profile.age"': "holds 1990, which is no age",
    'kind = "age"\ncolumn = "rating"\nuser = "profile.age"\nages = { X = 1 }':
        r"r0\.ages: no item has one of these ratings .* It holds ",
    'kind = "age"\ncolumn = "rating"\nuser = "profile.age"\nages = { G = -1 }':
        r"r0\.ages: .*got -1",
    'kind = "age"\ncolumn = "min_age"\nuser = "profile.aeg"': r"r0\.user: .*did you mean 'age'\?",
    'kind = "age"\ncolumn = "min_age"\nuser = "age"': "'age' is no place of a query",
    'kind = "pin"\nitem = "i1"\nplace = 0': r"r0\.place: must be greater than or equal to 1, got 0",
    'kind = "pin"\nitem = "i77"': r"r0\.item: there is no item 'i77'",
    'kind = "pin"\nitem = "i1"\nwhen = { "profile.age" = "x" }': "'x' is not of the type",
    'kind = "pin"\nitem = "i1"\nwhen = { "profile.age" = [] }': "has no value",
    'kind = "pin"\nitem = "i1"\nwhen = "DE"': r"r0\.when: must be a table, got 'DE'",
    'kind = "freshness"\nhalf_life_days = 3\ncolumn = "year"': "years. Write unit =",
    'kind = "freshness"\nhalf_life_days = 3\ncolumn = "author"': "neither a number nor an ISO 8601",
    'kind = "freshness"\nhalf_life_days = 3\ncolumn = "tags"': "the rule needs dates or times",
    'kind = "freshness"\nhalf_life_days = 3\nunit = "years"': "must be 'time' or 'year'",
}  # fmt: skip


@pytest.mark.parametrize("rule", BAD)
def test_what_cannot_be_is_refused(data: tm.Dataset, rule: str) -> None:
    with pytest.raises(RuleError, match=BAD[rule]) as refused:
        at_work(data, rule)
    assert refused.value.rule == "r0"
    assert refused.value.remedy


def test_files_that_hold_no_rules_are_refused() -> None:
    with pytest.raises(DataError, match="this is not TOML"):
        Rules.from_toml("[rules")
    with pytest.raises(DataError, match="a file of rules has no 'model'"):
        Rules.from_toml('model = "als"')
    with pytest.raises(DataError, match="there is no such file"):
        Rules.read("nowhere.toml")
    with pytest.raises(RuleError, match=r"rules\.a: must be a table"):
        Rules.from_toml("[rules]\na = 1")
    with pytest.raises(RuleError, match="is no name of a rule"):
        Rules.from_toml('[rules.""]\nkind = "availability"')
    a = Rules.from_toml('[rules.a]\nkind = "availability"')
    with pytest.raises(RuleError, match=r"rules\.a: there are two rules of this name"):
        a.joined(a)
