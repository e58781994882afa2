"""Items that come and go while a release is served."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from served import Served

import tastemap as tm
from tastemap.content.likeness import Likeness
from tastemap.online import create_app
from tastemap.online.answer_cache import AnswerCache
from tastemap.online.engine import Engine
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event, ItemChange, Position
from tastemap.online.following import Following
from tastemap.online.hybrid import Hybrid
from tastemap.online.newcomers import new_places
from tastemap.online.precomputed import precompute
from tastemap.online.precomputed_file import PrecomputedFile, writing_file
from tastemap.online.questions import Ask, Found
from tastemap.online.retraining.gathering import gather
from tastemap.online.state import LocalState
from tastemap.release import load_release

N = 30
RULES = """
[rules.age]
kind = "age"
column = "least"
user = "context.age"
"""


def shop(rules: str = "", model: tm.Retriever | None = None, seed: int = 0) -> tm.Pipeline:
    """Two tastes: whoever likes odd items, those of the genre Drama, takes few of the others."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"u{user}", f"i{item}")
        for user in range(60)
        for item in rng.choice(np.arange(1, N + 1), 8, replace=False)
        if item % 2 == user % 2 or rng.random() < 0.1
    ]
    events = pl.DataFrame(rows, schema=["user", "item"], orient="row")
    table = pl.DataFrame(
        {
            "item": [f"i{i}" for i in range(1, N + 1)],
            "title": [f"Title {i}" for i in range(1, N + 1)],
            "genres": ["Comedy" if i % 2 == 0 else "Drama" for i in range(1, N + 1)],
            "author": [f"a{i % 4}" for i in range(1, N + 1)],
            "least": [18 if i % 3 == 0 else 0 for i in range(1, N + 1)],
        }
    )
    data = tm.Dataset.from_frame(events, items=table)
    model = tm.EASE() if model is None else model
    return tm.Pipeline([model], rules=tm.Rules.from_toml(rules)).fit(data)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shop(RULES).save(tmp_path_factory.mktemp("shop") / "release")


@pytest.fixture
def http(release: Path, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(
        create_app(release, tmp_path, poll_seconds=0.05, following=Following(0.1))
    ) as client:
        yield client


def until(found: Callable[[], Any], seconds: float = 10.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def new_in(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in answer["items"] if one["source"] == "new"]


def test_a_new_item_is_known_and_is_shown_to_whom_it_fits(http: TestClient) -> None:
    films = [
        {"item": "comedy", "attributes": {"title": "Fun", "genres": "Comedy", "least": 0}},
        {"item": "drama", "attributes": {"title": "Tears", "genres": "Drama", "least": 0}},
    ]
    assert http.get("/items/comedy").status_code == 404
    assert http.post("/items", json=films).json() == {"items": 2, "new": 2}
    assert http.get("/items/comedy").json()["title"] == "Fun"

    def new(user: str) -> list[dict[str, Any]]:
        body = {"user": user, "k": 10, "context": {"age": 20}}
        return new_in(http.post("/recommendations", json=body).json())

    shown = until(lambda: new("u2"))
    assert [one["item"] for one in shown] == ["comedy"]
    assert shown[0]["reason"].startswith("New: like “Title ")
    assert "tastemap_new_items_ready 2.0" in http.get("/metrics").text
    # One place in ten, and the last of them.
    body = {"user": "u2", "k": 20, "context": {"age": 20}}
    items = http.post("/recommendations", json=body).json()["items"]
    assert [place for place, one in enumerate(items) if one["source"] == "new"] == [9, 19]
    # Who has met it gets the other one.
    event = {"user": "u2", "item": "comedy", "kind": "view"}
    assert http.post("/events", json=event).status_code == 200
    assert [one["item"] for one in new("u2")] == ["drama"]
    assert http.post("/events", json={"user": "u2", "item": "drama"}).status_code == 200
    assert new("u2") == []


def test_a_new_item_has_similar_ones_and_makes_a_history(http: TestClient) -> None:
    film = {"item": "n", "attributes": {"title": "Fun", "genres": "Comedy", "least": 0}}
    assert http.get("/items/n/similar").status_code == 404
    http.post("/items", json=[film, {"item": "blank"}])
    until(lambda: "tastemap_new_items_ready 2.0" in http.get("/metrics").text)
    answer = http.get("/items/n/similar", params={"k": 5}).json()
    assert answer["link"] == "item"
    assert [one["genres"] for one in answer["items"]] == [["Comedy"]] * 5
    assert {one["source"] for one in answer["items"]} == {"content"}
    assert answer["items"][0]["reason"] == "Similar in kind to “Fun”"
    scores = [one["score"] for one in answer["items"]]
    assert scores == sorted(scores, reverse=True) and 0 < scores[0] <= 1
    # What the rules do not show to everybody is not there.
    many = http.get("/items/n/similar", params={"k": 50}).json()["items"]
    assert not any(int(one["item"][1:]) % 3 == 0 for one in many)
    # Of one of which nothing is known, what is popular.
    assert http.get("/items/blank/similar").json()["link"] == "popularity"

    def asked(*history: str) -> dict[str, Any]:
        body = {"history": history, "context": {"age": 20}, "k": 9}
        answer: dict[str, Any] = http.post("/recommendations", json=body).json()
        return answer

    found = asked("n", "blank")
    assert found["link"] == "history" and "unknown_items" not in found
    assert "Fits what you liked so far" in {one["reason"] for one in found["items"]}
    assert not any(one["reason"].startswith("Because") for one in found["items"])
    assert asked("blank")["link"] == "popularity"
    # Who has taken known ones goes by these alone.
    assert asked("i1", "n")["items"][:3] == asked("i1")["items"][:3]


def test_who_has_taken_new_items_alone_gets_what_is_like_them(http: TestClient) -> None:
    for item, genre in (("comedy", "Comedy"), ("drama", "Drama"), ("blank", None)):
        about = {} if genre is None else {"genres": genre, "title": item, "least": 0}
        http.post("/items", json={"item": item, "attributes": about})
    until(lambda: "tastemap_new_items_ready 3.0" in http.get("/metrics").text)

    def took(user: str, item: str, **more: Any) -> None:
        event = {"user": user, "item": item, "kind": "view", **more}
        assert http.post("/events", json=event).status_code == 200

    def asked(**body: Any) -> tuple[str, list[tuple[str, float]]]:
        body = {"k": 9, "context": {"age": 20}, **body}
        answer = http.post("/recommendations", json=body).json()
        # Where new ones come is drawn.
        known = [one for one in answer["items"][:8] if one["source"] != "new"]
        return answer["link"], [(one["item"], one["score"]) for one in known]

    for user, item in (("ann", "comedy"), ("bob", "drama"), ("cid", "blank")):
        assert asked(user=user)[0] == "popularity"
        took(user, item)
    assert asked(user="ann") == asked(history=["comedy"])
    assert asked(user="bob") == asked(history=["drama"])
    assert asked(user="ann")[0] == asked(user="bob")[0] == "history"
    lists = [asked(user=user)[1] for user in ("ann", "bob", "eve")]
    assert all(a != b for a, b in itertools.combinations(lists, 2))
    reasons = http.get("/users/ann/recommendations", params={"k": 5}).json()["items"][:4]
    assert {one["reason"] for one in reasons} == {"Fits what you liked so far"}
    assert asked(user="cid")[0] == "popularity"  # nothing is known of it
    # What was not liked says nothing of what is.
    took("dan", "comedy", value=0.1)
    assert asked(user="dan")[0] == "popularity"
    # Who has taken known ones goes by these alone, and who is removed by nothing.
    took("ann", "i1")
    assert asked(user="ann")[1][:3] == asked(history=["i1"])[1][:3]
    http.delete("/users/bob")
    assert asked(user="bob")[0] == "popularity"


def test_nothing_of_before_is_given_to_who_has_taken_new_items_alone(tmp_path: Path) -> None:
    pipeline = shop()
    people = pl.DataFrame({"user": ["u1", "quiet"], "colour": ["red", "blue"]})
    events = pipeline.data.to_frame().select("user", "item")
    data = tm.Dataset.from_frame(events, items=pipeline.data.item_table, users=people)
    path = tm.Pipeline([tm.EASE()]).fit(data).save(tmp_path / "release")
    loaded, file, log = load_release(path), tmp_path / "answers.parquet", EventLog(tmp_path / "s")
    made = loaded.pipeline()
    with writing_file(file, made, k=5, release=loaded.version, offset=1000) as write:
        precompute(made, write, k=5)
    hybrid = Hybrid(PrecomputedFile(file))
    engine = Engine(path, log, cache=AnswerCache(LocalState()), hybrid=hybrid)

    def link(user: str) -> str:
        (answer,) = engine.answer([Ask(5, user)])
        assert isinstance(answer, Found)
        return answer.link

    assert [link("u1"), link("quiet"), link("nobody")] == [
        "precomputed",
        "popularity",
        "popularity",
    ]
    engine.change_items([ItemChange("n", {"genres": "Drama"})])
    engine.record([[Event(user, "n", "event", 10.0, 1.0) for user in ("quiet", "nobody")]])
    assert [link("quiet"), link("nobody")] == ["popularity"] * 2  # not on the shelf yet
    engine.refresh()
    assert [link("u1"), link("quiet"), link("nobody")] == ["precomputed", "history", "history"]
    # The most taken one of the ten most like it stands for it.
    near, counts = engine.serving.newcomers.neighbours("n")[0][:10], data.item_counts
    (stand_in,) = engine.serving.known([Ask(5, "nobody")]).queries.histories.items
    assert stand_in in near and counts[stand_in] == counts[near].max() > counts[near[0]]
    log.close()


def test_no_new_item_comes_twice_on_the_pages_of_an_answer(http: TestClient) -> None:
    films = [{"item": f"n{i}", "attributes": {"genres": "Drama", "least": 0}} for i in range(3)]
    http.post("/items", json=films)
    until(lambda: "tastemap_new_items_ready 3.0" in http.get("/metrics").text)
    seen, token = [], None
    for _ in range(3):
        body = {"user": "u1", "k": 10, "after": token, "context": {"age": 20}}
        answer = http.post("/recommendations", json=body).json()
        seen += [one["item"] for one in answer["items"]]
        token = answer["token"]
    assert len(set(seen)) == len(seen)
    assert {"n0", "n1"} <= set(seen)


def test_rules_hold_for_new_items(http: TestClient) -> None:
    films = [
        {"item": "adult", "attributes": {"genres": "Comedy", "least": 18}},
        {"item": "unrated", "attributes": {"genres": "Comedy"}},
    ]
    http.post("/items", json=films)

    def new(age: int) -> set[str]:
        body = {"user": "u4", "k": 10, "context": {"age": age}}
        answers = [http.post("/recommendations", json=body).json() for _ in range(3)]
        return {one["item"] for answer in answers for one in new_in(answer)}

    assert until(lambda: new(40)) == {"adult"}
    assert new(17) == set()
    # In the profile the age is nowhere, so nothing is known of it: closed.
    answer = http.get("/users/u4/recommendations", params={"k": 10}).json()
    assert new_in(answer) == []


def test_a_cap_counts_new_items(tmp_path: Path) -> None:
    rules = '[rules.few]\nkind = "cap"\ncolumn = "author"\nat_most = 3\n'
    path = shop(rules).save(tmp_path / "release")
    log = EventLog(tmp_path / "state")
    log.change_items(
        [ItemChange(f"n{i}", {"genres": "Drama", "author": f"a{i}"}) for i in range(4)]
    )
    engine = Engine(path, log, following=Following(0.5))
    for user in range(1, 30, 2):
        answer = engine.answer([Ask(10, f"u{user}")])[0]
        items = [one.card.item for one in answer.items]  # type: ignore[union-attr]
        authors = [int(item[1:]) % 4 for item in items]
        assert max(np.bincount(authors)) <= 3
        assert any(item.startswith("n") for item in items)
    log.close()


def test_where_a_rule_cannot_be_checked_no_new_item_is_shown(tmp_path: Path) -> None:
    path = shop(RULES).save(tmp_path / "release")
    log = EventLog(tmp_path / "state")
    # What no request could post, as ages end at 150.
    log.change_items(
        [ItemChange("n1", {"genres": "Drama", "least": 0}), ItemChange("n2", {"least": 999})]
    )
    engine = Engine(path, log)
    shelf = engine.serving.newcomers.shelf
    assert shelf is not None
    assert "999" in str(shelf.problem)
    answer = engine.answer([Ask(10, "u1", context={"age": 30})])[0]
    assert all(one.source != "new" for one in answer.items)  # type: ignore[union-attr]
    assert answer.degraded == ()  # type: ignore[union-attr]
    log.close()


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        ({"item": "n", "attributes": {"colour": "red"}}, 422, ["body", 0, "attributes", "colour"]),
        ({"item": "n", "attributes": {"least": "x"}}, 422, ["body", 0, "attributes", "least"]),
        ({"item": "n", "attributes": {"title": 7}}, 422, ["body", 0, "attributes", "title"]),
        ([{"item": "n"}, {"item": "i1", "attributes": {"title": "x"}}], 409, ["body", 1, "item"]),
        ({"item": ""}, 422, ["body", 0, "item"]),
        ({"item": "n", "title": "x"}, 422, ["body", 0, "title"]),
    ],
)
def test_a_bad_item_is_refused(
    http: TestClient, body: Any, status: int, where: list[str | int]
) -> None:
    response = http.post("/items", json=body)
    assert response.status_code == status
    assert response.json()["detail"][0]["loc"] == where
    assert http.get("/items/n").status_code == 404


def test_what_is_taken_away_stays_away(release: Path, tmp_path: Path) -> None:
    with TestClient(create_app(release, tmp_path)) as http:
        body = {"user": "u1", "k": 5, "context": {"age": 20}}
        best = http.post("/recommendations", json=body).json()["items"][0]["item"]
        http.post("/items", json={"item": "n1", "attributes": {"genres": "Drama", "least": 0}})
        assert http.delete("/items/n1").json() == {"item": "n1", "new": True}
        assert http.delete("/items/n1").status_code == 404
        assert http.get("/items/n1").status_code == 404
        event = {"user": "u1", "item": "n1"}
        assert http.post("/events", json=event).status_code == 404
        assert http.delete(f"/items/{best}").json() == {"item": best, "new": False}
        all_items = {**body, "k": 100}

        def shown(http: TestClient) -> set[str]:
            answer = http.post("/recommendations", json=all_items).json()
            near = http.get("/items/i2/similar", params={"k": 100}).json()
            return {one["item"] for one in answer["items"] + near["items"]}

        assert best not in shown(http)
    with TestClient(create_app(release, tmp_path)) as http:
        assert best not in shown(http)
        assert http.post("/items", json={"item": best}).json() == {"items": 1, "new": 0}
        assert best in shown(http)


def test_items_come_and_go_in_all_workers(two_workers: Served) -> None:
    http = two_workers.http
    assert http.post("/items", json={"item": "brand new"}).status_code == 200
    for _ in range(12):  # whichever of the two answers
        with_new = {"headers": {"connection": "close"}}
        assert http.get("/items/brand new", **with_new).status_code == 200
    http.delete("/items/i3")
    for _ in range(12):
        answer = http.get("/users/stranger/recommendations", headers={"connection": "close"})
        assert "i3" not in {one["item"] for one in answer.json()["items"]}
    http.post("/items", json={"item": "i3"})
    http.delete("/items/brand new")


@pytest.mark.parametrize("model", [tm.EASE(), tm.ALS(factors=8, iterations=3)])
def test_the_score_is_the_weighted_mean_of_the_neighbours(
    tmp_path: Path, model: tm.Retriever
) -> None:
    pipeline = shop(model=model)
    log = EventLog(tmp_path / "state")
    log.change_items([ItemChange("n1", {"genres": "Drama", "author": "a1"}), ItemChange("n2", {})])
    engine = Engine(pipeline.save(tmp_path / "release"), log)
    shelf = engine.serving.newcomers.shelf
    assert shelf is not None
    data = pipeline.data
    weights = shelf.weights.toarray()
    assert weights[0].sum() == pytest.approx(1)
    assert not weights[1].any()
    # Those of the same genre and author come before those of the same genre.
    order = np.argsort(-weights[0], kind="stable")[:7]
    assert {int(item[1:]) % 4 for item in map(str, data.items.ids(order))} == {1}
    queries = data.queries(np.array([1, 2, 5]))
    expected = engine.serving.pipeline.retrievers[0].score(queries) @ weights.T
    np.testing.assert_allclose(shelf.score(queries), expected, rtol=1e-4, atol=1e-5)
    log.close()


def test_a_share_is_exact_on_average() -> None:
    assert new_places(10, 0.1, 0.5) == [9]
    assert new_places(20, 0.1, 0.0) == [9, 19]
    assert new_places(10, 0.0, 0.0) == []
    draws = np.random.default_rng(0).random(4_000)
    for k, share in ((1, 0.1), (5, 0.1), (13, 0.1), (4, 0.3), (7, 0.5)):
        places = [new_places(k, share, draw) for draw in draws.tolist()]
        assert np.mean([len(some) for some in places]) == pytest.approx(k * share, abs=0.03)
        assert all(len(set(some)) == len(some) for some in places)


def test_the_log_tells_items_once_and_their_last_state(tmp_path: Path) -> None:
    log, other = EventLog(tmp_path), EventLog(tmp_path)
    log.change_items([ItemChange("a", {"title": "A"}), ItemChange("b", {})])
    first = list(other.news(Position()))
    assert [each.items for each in first] == [
        [ItemChange("a", {"title": "A"}), ItemChange("b", {})]
    ]
    log.change_items([ItemChange("a", None)])
    (second,) = other.news(first[0].position)
    assert second.items == [ItemChange("a", None)]
    assert list(other.news(second.position)) == []
    assert log.item_changes() == [ItemChange("b", {}), ItemChange("a", None)]
    log.close()
    other.close()


def test_a_log_of_format_2_is_upgraded(tmp_path: Path) -> None:
    EventLog(tmp_path).close()
    database = sqlite3.connect(tmp_path / "events.sqlite")
    database.execute("DROP TABLE items")
    database.execute("ALTER TABLE events DROP COLUMN context")
    database.execute("PRAGMA user_version=2")
    database.commit()
    database.close()
    log = EventLog(tmp_path)
    log.append([[Event("u", "i", "view", 1.0, 1.0)]])
    log.change_items([ItemChange("a", {})])
    log.close()
    log = EventLog(tmp_path)
    assert log.last_offset == 1
    assert log.item_changes() == [ItemChange("a", {})]
    log.close()


def test_the_trainer_takes_up_new_items_with_their_attributes(tmp_path: Path) -> None:
    data = shop().data
    log = EventLog(tmp_path)
    log.change_items([ItemChange(f"n{i}", {"title": f"New {i}", "least": 6}) for i in range(3)])
    log.change_items([ItemChange("n2", {"colour": "of another item table"})])
    log.append([[Event("u1", item, "event", 10.0, 1.0) for item in ("n0", "n2", "i1")]])
    gathered = gather(data, log, 0).data
    table = gathered.item_attributes()
    assert table is not None
    rows = gathered.items.rows(["n0", "n1", "n2", "i1"])
    assert rows[1] == 0  # nobody has taken it
    told = table[(rows[[0, 2, 3]] - 1).tolist()]
    assert told["title"].to_list() == ["New 0", None, "Title 1"]
    assert told["least"].to_list() == [6, None, 0]
    log.close()


def test_an_item_that_a_release_holds_is_like_any_other(tmp_path: Path) -> None:
    store = tm.ReleaseStore(tmp_path / "store")
    pipeline = shop()
    store.publish(pipeline)
    log = EventLog(tmp_path / "state")
    engine = Engine(tmp_path / "store", log)
    engine.change_items([ItemChange("n1", {"title": "New", "genres": "Drama"})])
    engine.refresh()
    batch = [Event(f"u{user}", "n1", "event", 10.0, 1.0) for user in range(1, 40, 2)]
    engine.record([batch])
    assert "n1" in engine.serving.newcomers
    gathered = gather(pipeline.data, log, 0)
    about = {"event_log_offset": gathered.position.offset}
    store.publish(pipeline.unfitted().fit(gathered.data), about=about)
    engine.follow()
    assert "n1" not in engine.serving.newcomers
    assert engine.serving.card("n1").title == "New"
    answer = engine.answer([Ask(10, "u41")])[0]
    sources = {one.card.item: one.source for one in answer.items}  # type: ignore[union-attr]
    assert sources["n1"] == "ease"
    log.close()


def test_no_text_leads_to_no_likeness() -> None:
    data = shop().data
    likeness = Likeness(data)
    strange = pl.DataFrame({"title": ["Zzz"], "genres": ["Unheard of"]})
    assert likeness.weights(strange).nnz == 0
