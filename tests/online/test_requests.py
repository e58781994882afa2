"""What a request may say of who asks, and what an answer says of itself: over real HTTP."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from served import Served

import tastemap as tm
from tastemap.online.engine import Engine
from tastemap.online.event_log import EventLog
from tastemap.online.questions import Ask, Found
from tastemap.online.schemas.responses import Answer
from tastemap.online.tokens import MAX_SHOWN


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item"] for item in answer["items"]]


def post(served: Served, path: str = "/recommendations", **body: Any) -> dict[str, Any]:
    response = served.http.post(path, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_pages_never_repeat_an_item(served: Served, movies: tm.Dataset) -> None:
    seen: list[str] = []
    parameters: dict[str, Any] = {"k": 150}
    for _ in range(12):
        answer = served.http.get("/users/196/recommendations", params=parameters).json()
        seen += ids(answer)
        parameters["after"] = answer["token"]
    assert len(seen) == len(set(seen)) == MAX_SHOWN
    assert ids(answer) == []
    first = served.http.get("/users/196/recommendations", params={"k": 150}).json()
    assert seen[:150] == ids(first)


def test_what_is_asked_plainly_is_answered_and_counted_as_otherwise(served: Served) -> None:
    path, label = "/users/196/recommendations", 'route="/users/{user:id}/recommendations"'
    for plain, other in (("", "?k=10&"), ("?k=7", "?k=07"), ("?k=1000", "?&k=1000")):
        answers = [served.http.get(path + query) for query in (plain, other)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].headers["content-type"] == answers[1].headers["content-type"]
        one, two = (answer.json() | {"token": None} for answer in answers)
        assert one == two
    for bad in ("?k=0", "?k=1001", "?k=-1", "?k=x", "?k=999999999999"):
        response = served.http.get(path + bad)
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["query", "k"]
    assert served.http.get(f"/users/{'x' * 256}/recommendations").status_code == 200
    assert served.http.get(f"/users/{'x' * 257}/recommendations").status_code == 422
    assert served.http.post(path).status_code == 405
    counted = [line for line in served.http.get("/metrics").text.splitlines() if label in line]
    assert any(line.startswith("tastemap_requests_total") for line in counted)


def test_pages_of_a_stranger_do_not_repeat_either(served: Served) -> None:
    first = post(served, history=["50", "181"], k=30)
    second = post(served, history=["50", "181"], k=30, after=first["token"])
    assert len(ids(second)) == 30
    assert not set(ids(first)) & set(ids(second))


@pytest.mark.parametrize("token", ["x", "AAAA", "é", "A" * 8000, "AQ" + "-" * 60])
def test_a_token_of_somebody_else_is_refused(served: Served, token: str) -> None:
    response = served.http.post("/recommendations", json={"after": token})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "after"]
    assert served.http.get("/users/1/recommendations", params={"after": token}).status_code == 422


def test_a_changed_token_is_refused(served: Served) -> None:
    token = post(served, history=["50"])["token"]
    changed = token[:10] + ("A" if token[10] != "A" else "B") + token[11:]
    assert served.http.post("/recommendations", json={"after": changed}).status_code == 422


def test_a_user_and_what_they_like_now_count_together(
    served: Served, pipeline: tm.Pipeline
) -> None:
    known = served.http.get("/users/196/recommendations").json()
    both = post(served, user="196", history=ids(known)[:3])
    assert both["link"] == "history"
    assert not set(ids(known)[:3]) & set(ids(both))
    h = pipeline.histories.take(pipeline.users.rows(["196"]))
    history = pipeline.items.ids(h.items)
    assert not set(history) & set(ids(both))


def test_chosen_tastes_stand_for_a_history(served: Served) -> None:
    answer = post(served, tastes={"genres": ["Animation", "Children's"]}, k=10)
    assert answer["link"] == "profile"
    assert {item["source"] for item in answer["items"]} == {"ease"}
    assert {item["reason"] for item in answer["items"]} == {
        "Because you chose Animation and Children's"
    }
    fitting = [set(item["genres"]) & {"Animation", "Children's"} for item in answer["items"]]
    assert sum(map(bool, fitting)) >= 5
    # With a history they are not looked at.
    assert post(served, tastes={"genres": ["Horror"]}, history=["50"])["link"] == "history"


def test_a_users_profile_is_known_without_a_history(served: Served) -> None:
    answer = post(served, profile={"gender": "F"})
    assert answer["link"] == "profile"
    assert {item["source"] for item in answer["items"]} == {"popularity:gender=F"}


def test_friends_speak_for_a_stranger(served: Served) -> None:
    answer = post(served, friends=["196", "nobody", "22"])
    assert answer["link"] == "friends"
    assert any(item["reason"].startswith("Your friends know “") for item in answer["items"])
    assert post(served, friends=["nobody"])["link"] == "popularity"
    assert post(served)["link"] == "popularity"


def test_many_are_answered_as_each_alone(served: Served) -> None:
    requests: list[dict[str, Any]] = [
        {"user": "196", "k": 5},
        {"history": ["50", "181"], "k": 7},
        {"tastes": {"genres": ["Horror"]}},
        {"friends": ["22"], "profile": {"gender": "M"}},
        {},
    ]
    answers = post(served, "/recommendations/batch", requests=requests)["answers"]
    for request, answer in zip(requests, answers, strict=True):
        alone = post(served, **request)
        assert ids(answer) == ids(alone)
        assert answer["link"] == alone["link"]


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"tastes": {"genres": ["Nothing"]}}, ["body", "tastes", "genres"]),
        ({"tastes": {"no": ["x"]}}, ["body", "tastes", "no"]),
        ({"context": {"no": 1}}, ["body", "context", "no"]),
        ({"profile": {"gender": 3}}, ["body", "profile", "gender"]),
    ],
)
def test_what_is_wrong_is_named(served: Served, body: dict[str, Any], loc: list[str | int]) -> None:
    response = served.http.post("/recommendations", json=body)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == loc
    response = served.http.post("/recommendations/batch", json={"requests": [{}, body]})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "requests", 1, *loc[1:]]


def test_items_of_a_history_that_nobody_knows_are_left_out_and_named(served: Served) -> None:
    def counted() -> float:
        text = served.http.get("/metrics").text
        (line,) = re.findall(r"^tastemap_unknown_history_items_total (.*)$", text, re.MULTILINE)
        return float(line)

    before = counted()
    answer = post(served, history=["no", "50", "gone", "no", "181"])
    assert answer["unknown_items"] == ["no", "gone"]
    assert answer["link"] == "history"
    known = post(served, history=["50", "181"])
    assert answer["items"] == known["items"]
    assert "unknown_items" not in known
    # Where nothing is left, the next link speaks.
    nothing = {"history": ["no"], "profile": {"gender": "F"}}
    alone = post(served, profile={"gender": "F"})
    many = post(served, "/recommendations/batch", requests=[nothing, {"history": ["no"]}])
    assert [each["link"] for each in many["answers"]] == ["profile", "popularity"]
    assert many["answers"][0]["items"] == alone["items"]
    assert [each["unknown_items"] for each in many["answers"]] == [["no"], ["no"]]
    assert counted() == before + 4


# Stages that fail, in this process, so that a stage can be made to hang.


@pytest.fixture(scope="module")
def ranked(movies: tm.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame = movies.to_frame().with_columns(
        country=pl.when(pl.col("time").rank("ordinal") % 3 == 0)
        .then(pl.lit("RU"))
        .otherwise(pl.lit("DE"))
    )
    data = tm.Dataset.from_frame(frame.head(20_000), value="value", context=["country"])
    pipeline = tm.Pipeline(
        [tm.ItemKNN(), tm.EASE()],
        candidates=50,
        ranker=tm.LightGBMRanker(),
        rows=tm.OutOfTime(negatives=5),
    ).fit(data, run=tm.Run(device="cpu", progress=False))
    return pipeline.save(tmp_path_factory.mktemp("ranked") / "pipeline")


@pytest.fixture
def engine(ranked: Path, tmp_path: Path) -> Iterator[Engine]:
    log = EventLog(tmp_path / "state")
    engine = Engine(ranked, log, stage_seconds=5)
    yield engine
    engine.close()
    log.close()


def answer(engine: Engine, ask: Ask) -> Found:
    (found,) = engine.answer([ask])
    assert isinstance(found, Found)
    return found


def items(found: Found) -> list[str]:
    return [one.card.item for one in found.items]


def test_the_circumstances_are_a_link_too(engine: Engine) -> None:
    found = answer(engine, Ask(5, context={"country": "RU"}))
    assert found.link == "context"
    assert {one.source for one in found.items} == {"popularity:country=RU"}
    assert answer(engine, Ask(5, context={"country": "FR"})).link == "popularity"


def test_a_ranker_that_hangs_is_left_out_until_it_recovers(engine: Engine) -> None:
    user = str(engine.serving.pipeline.users.ids([1])[0])
    whole = answer(engine, Ask(10, user))
    assert whole.degraded == ()
    stage = engine.serving.pipeline.stage
    assert stage is not None
    released = threading.Event()
    outcomes: list[tuple[str, str]] = []
    engine.guard.observe = lambda stage, seconds, outcome: outcomes.append((stage, outcome))
    engine.guard.seconds, engine.guard.pause = 0.2, 0.3
    engine.guard._stages.clear()
    rank = stage.ranked

    def hang(*args: Any) -> Any:
        released.wait()
        return rank(*args)

    stage.ranked = hang  # type: ignore[method-assign]
    try:
        for _ in range(8):
            found = answer(engine, Ask(10, user))
            assert found.degraded == ("ranker",)
            assert len(items(found)) == 10
        assert ("ranker", "late") in outcomes
        assert outcomes.count(("ranker", "open")) >= 2
    finally:
        released.set()
        stage.ranked = rank  # type: ignore[method-assign]
    engine.guard.seconds = 5
    waited = threading.Event()
    for _ in range(100):
        waited.wait(0.05)
        found = answer(engine, Ask(10, user))
        if not found.degraded:
            break
    assert items(found) == items(whole)


def test_retrievers_and_reasons_may_fail(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    user = str(engine.serving.pipeline.users.ids([1])[0])

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError("no room")

    first, second = engine.serving.pipeline.retrievers
    monkeypatch.setattr(first, "answer", broken)
    found = answer(engine, Ask(10, user))
    assert found.degraded == ("itemknn",)
    assert {one.source for one in found.items} == {"ease"}
    monkeypatch.setattr(second, "answer", broken)
    found = answer(engine, Ask(10, user))
    assert found.degraded == ("itemknn", "ease")
    assert {one.source for one in found.items} == {"popularity"}
    monkeypatch.undo()
    monkeypatch.setattr(engine.serving.pipeline, "because", broken)
    found = answer(engine, Ask(10, user))
    assert found.degraded == ("reasons",)
    assert {one.reason for one in found.items} == {"Fits what you liked so far"}


def test_if_all_fails_what_is_popular_is_the_answer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(engine.serving.live, "histories", broken)
    found = answer(engine, Ask(10, "anybody"))
    assert found.degraded == ("answer",)
    assert len(items(found)) == 10


def test_answers_are_what_the_schema_says(served: Served) -> None:
    found = post(served, history=["50"], k=3)
    assert Answer.model_validate(found).model_dump(exclude_none=True) == found
