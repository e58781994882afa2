"""What the service answers, over real HTTP."""

from __future__ import annotations

import math
import uuid

import polars as pl
import pytest
from served import Served

import tastemap as tm

USER = "196"


def ids(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [item["item"] for item in answer["items"]]


def someone() -> str:
    return f"someone {uuid.uuid4()}"


def test_a_known_user_gets_what_the_library_recommends(
    served: Served, pipeline: tm.Pipeline
) -> None:
    response = served.http.get(f"/users/{USER}/recommendations", params={"k": 7})
    assert response.status_code == 200
    answer = response.json()
    assert set(answer) == {"items", "link", "release", "token"}
    assert answer["link"] == "history"
    assert answer["release"] == served.http.get("/health").json()["release"]
    expected = pipeline.recommend(users=[USER], k=7)
    assert ids(answer) == expected["item"].to_list()
    assert [item["score"] for item in answer["items"]] == pytest.approx(
        expected["score"].to_list(), rel=1e-5
    )
    for item in answer["items"]:
        assert item["source"] == "ease"
        assert item["reason"].startswith(("Because you liked “", "Because you know “", "Fits "))
        assert isinstance(item["title"], str)
        assert isinstance(item["genres"], list)


def test_the_reason_names_an_item_of_the_history(served: Served) -> None:
    answer = served.http.post("/recommendations", json={"history": ["50", "181"], "k": 10}).json()
    reasons = {item["reason"] for item in answer["items"]}
    assert reasons <= {
        "Because you liked “Star Wars (1977)”",
        "Because you liked “Return of the Jedi (1983)”",
        "Fits what you liked so far",
    }
    assert len(reasons) > 1


def test_a_strangers_history_is_answered_personally(served: Served, pipeline: tm.Pipeline) -> None:
    for history in (["50", "181"], ["1", "95", "71"]):
        answer = served.http.post("/recommendations", json={"history": history, "k": 12}).json()
        assert ids(answer) == pipeline.recommend(histories=[history], k=12)["item"].to_list()
        assert not set(ids(answer)) & set(history)


def test_whole_numbers_are_ids_too(served: Served) -> None:
    as_text = served.http.post("/recommendations", json={"history": ["50", "181"]}).json()
    as_numbers = served.http.post("/recommendations", json={"history": [50, 181]}).json()
    assert as_text["items"] == as_numbers["items"]
    assert len(as_text["items"]) == 10


def test_strangers_get_what_is_popular(served: Served, movies: tm.Dataset) -> None:
    most = movies.to_frame()["item"].value_counts().sort("count", descending=True)["item"]
    for answer in (
        served.http.get("/users/nobody/recommendations?k=3").json(),
        served.http.post("/recommendations", json={"history": [], "k": 3}).json(),
    ):
        assert ids(answer)[:2] == most.to_list()[:2]
        assert {item["source"] for item in answer["items"]} == {"popularity"}
        assert {item["reason"] for item in answer["items"]} == {"Popular right now"}


@pytest.mark.parametrize(
    "user", ["a/b", "50%", "ü😀", "tab\tline\nend", "\0", "' OR 1=1 --", "/", "recommendations"]
)
def test_strange_user_ids_are_strangers_and_can_act(served: Served, user: str) -> None:
    path = "".join(f"%{byte:02x}" for byte in user.encode())
    first = served.http.get(f"/users/{path}/recommendations?k=3")
    assert first.status_code == 200
    assert ids(first.json())
    posted = served.http.post("/events", json={"user": user, "item": "50", "value": 5})
    assert posted.json() == {"accepted": 1, "duplicates": 0}
    then = served.http.get(f"/users/{path}/recommendations?k=3").json()
    assert {item["source"] for item in then["items"]} == {"ease"}
    history = served.http.get(f"/users/{path}/history").json()
    assert (history["user"], ids(history)) == (user, ["50"])


def test_similar_items(served: Served, pipeline: tm.Pipeline) -> None:
    answer = served.http.get("/items/50/similar?k=5").json()
    assert ids(answer) == pipeline.similar(["50"], k=5)["similar"].to_list()
    assert all("Star Wars" in item["reason"] for item in answer["items"])
    assert "50" not in ids(answer)


def test_more_than_there_is_ends_early(served: Served, movies: tm.Dataset) -> None:
    seen = movies.to_frame().filter(pl.col("user") == USER)["item"].n_unique()
    answer = served.http.get(f"/users/{USER}/recommendations?k=1000").json()
    assert len(answer["items"]) == len(set(ids(answer))) == min(1000, movies.n_items - seen)


def test_an_event_changes_the_next_answer(served: Served) -> None:
    user = someone()
    before = served.http.get(f"/users/{user}/recommendations").json()
    liked = before["items"][0]["item"]
    posted = served.http.post("/events", json={"user": user, "item": liked, "value": 5})
    assert posted.status_code == 200
    after = served.http.get(f"/users/{user}/recommendations").json()
    assert liked not in ids(after)
    assert {item["source"] for item in after["items"]} == {"ease"}
    same = served.http.post("/recommendations", json={"history": [liked]}).json()
    assert ids(after) == ids(same)


def test_known_users_events_join_their_history(served: Served) -> None:
    first = served.http.get("/users/22/recommendations?k=3").json()
    batch = [{"user": "22", "item": item, "kind": "purchase"} for item in ids(first)]
    assert served.http.post("/events", json=batch).json() == {"accepted": 3, "duplicates": 0}
    then = served.http.get("/users/22/recommendations?k=50").json()
    assert not set(ids(first)) & set(ids(then))
    history = served.http.get("/users/22/history?limit=3").json()
    assert set(ids(history)) == set(ids(first))


def test_histories_stay_sorted_by_time(served: Served) -> None:
    user = someone()
    for item, time in (("1", 3000), ("2", 1000.5), ("3", "1970-01-01T00:33:20+00:00")):
        served.http.post("/events", json={"user": user, "item": item, "time": time})
    history = served.http.get(f"/users/{user}/history").json()["items"]
    assert [(item["item"], item["time"]) for item in history] == [
        ("1", 3000.0),
        ("3", 2000.0),
        ("2", 1000.5),
    ]


def test_an_id_is_recorded_once(served: Served) -> None:
    user, id_ = someone(), str(uuid.uuid4())
    event = {"user": user, "item": "50", "id": id_}
    assert served.http.post("/events", json=event).json() == {"accepted": 1, "duplicates": 0}
    assert served.http.post("/events", json=event).json() == {"accepted": 0, "duplicates": 1}
    both = [event, {"user": user, "item": "181"}]
    assert served.http.post("/events", json=both).json() == {"accepted": 1, "duplicates": 1}
    other = [{"user": user, "item": "1"}, {**event, "item": "2"}]
    refused = served.http.post("/events", json=other)
    assert refused.status_code == 409
    assert refused.json()["detail"][0]["loc"] == ["body", 1, "id"]
    assert set(ids(served.http.get(f"/users/{user}/history").json())) == {"50", "181"}


def test_a_batch_with_one_bad_event_is_refused_whole(served: Served) -> None:
    user = someone()
    offset = served.http.get("/health").json()["events_recorded"]
    for bad, status, field in (
        ({"user": user, "item": "no such film"}, 404, "item"),
        ({"user": user}, 422, "item"),
        ({"item": "50"}, 422, "user"),
        ({"user": user, "item": "50", "time": -1}, 422, "time"),
        ({"user": user, "item": "50", "value": "much"}, 422, "value"),
        ({"user": user, "item": "50", "kind": ""}, 422, "kind"),
        ({"user": user, "item": "50", "colour": "red"}, 422, "colour"),
    ):
        refused = served.http.post("/events", json=[{"user": user, "item": "1"}, bad])
        assert refused.status_code == status
        assert refused.json()["detail"][0]["loc"] == ["body", 1, field]
    assert served.http.get(f"/users/{user}/history").json()["items"] == []
    assert served.http.get("/health").json()["events_recorded"] == offset


def test_browsing(served: Served) -> None:
    users = served.http.get("/users", params={"query": "19", "limit": 5}).json()["users"]
    assert users[0]["user"] == "19"
    assert all(user["user"].startswith("19") and user["events"] > 0 for user in users)
    assert set(users[0]["profile"]) == {"age", "gender", "occupation", "zip_code"}
    films = served.http.get("/items", params={"query": "STAR wars"}).json()["items"]
    assert films[0] == {
        "item": "50",
        "title": "Star Wars (1977)",
        "year": 1977,
        "genres": ["Action", "Adventure", "Romance", "Sci-Fi", "War"],
    }
    assert served.http.get("/items/50").json() == films[0]
    assert len(served.http.get("/items?limit=3").json()["items"]) == 3
    assert served.http.get("/items", params={"query": "no such film"}).json()["items"] == []


def test_health_metrics_and_description(served: Served) -> None:
    health = served.http.get("/health").json()
    assert (health["status"], health["problem"]) == ("ok", None)
    assert (health["users"], health["items"]) == (943, 1682)
    served.http.get("/items/50/similar")
    metrics = served.http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    route = 'tastemap_requests_total{method="GET",route="/items/{item:id}/similar",status="200"}'
    line = next(line for line in metrics.text.splitlines() if line.startswith(route))
    assert float(line.split()[-1]) >= 1
    assert "/recommendations" in served.http.get("/openapi.json").json()["paths"]
    assert served.http.get("/docs").status_code == 200


def test_scores_are_numbers(served: Served) -> None:
    for path in ("/users/1/recommendations?k=1000", "/items/1/similar?k=1000"):
        answer = served.http.get(path).json()
        assert all(math.isfinite(item["score"]) for item in answer["items"])


def test_a_profile_narrows_what_a_stranger_gets(served: Served) -> None:
    asked = {"history": [], "profile": {"gender": "F"}, "k": 5}
    answer = served.http.post("/recommendations", json=asked).json()
    assert {item["source"] for item in answer["items"]} == {"popularity:gender=F"}
    assert {item["reason"] for item in answer["items"]} == {"Popular with women"}
    for profile, field in (({"shoe_size": 42}, "shoe_size"), ({"age": "old"}, "age")):
        refused = served.http.post("/recommendations", json={**asked, "profile": profile})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["body", "profile", field]
    # A history says more than a profile.
    answer = served.http.post("/recommendations", json={**asked, "history": ["50"]}).json()
    assert {item["source"] for item in answer["items"]} == {"ease"}


def test_an_event_without_a_value_counts_as_usual(served: Served) -> None:
    user = someone()
    served.http.post("/events", json={"user": user, "item": "50"})
    served.http.post("/events", json={"user": user, "item": "181", "kind": "never heard of"})
    values = {
        item["item"]: item["value"]
        for item in served.http.get(f"/users/{user}/history").json()["items"]
    }
    assert values == {"50": 4.0, "181": 4.0}


def test_impressions_and_skips_are_kept_and_are_no_history(served: Served) -> None:
    user = someone()
    first = served.http.get(f"/users/{user}/recommendations?k=5").json()
    shown = ids(first)
    batch = [{"user": user, "item": item, "kind": "impression", "token": "t"} for item in shown]
    batch.append({"user": user, "item": shown[1], "kind": "skip", "token": "t" * 8192})
    assert served.http.post("/events", json=batch).json() == {"accepted": 6, "duplicates": 0}
    assert served.http.get(f"/users/{user}/history").json()["count"] == 0
    then = served.http.get(f"/users/{user}/recommendations?k=4").json()
    assert ids(then) == [item for item in shown if item != shown[1]]
    watched = {"user": user, "item": shown[0], "kind": "view", "duration": 61.5}
    assert served.http.post("/events", json=watched).status_code == 200
    assert ids(served.http.get(f"/users/{user}/history").json()) == shown[:1]
    kept = served.http.get(f"/users/{user}/data").json()["events"]
    assert [event["kind"] for event in kept] == ["impression"] * 5 + ["skip", "view"]
    assert (kept[5]["token"], kept[6]["duration"]) == ("t" * 8192, 61.5)
    for bad in ({"duration": -1}, {"duration": "long"}, {"token": "t" * 8193}, {"token": ""}):
        refused = served.http.post("/events", json={**watched, **bad})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["body", 0, *bad]
