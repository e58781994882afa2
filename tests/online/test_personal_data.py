"""A user can see all that is kept of them, and be removed without a trace."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient

import tastemap as tm
from tastemap.online import create_app
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event
from tastemap.release import UnsearchedError

WHO = "anna.karenina@example.org"
FRAME = pl.DataFrame(
    {
        "user": [WHO if n % 7 == 3 else f"u{n % 7}" for n in range(60)],
        "item": [f"i{(n * n + n // 7) % 11}" for n in range(60)],
        "timestamp": [float(n) for n in range(60)],
        "share": [(0.5, float("nan"), None)[n % 3] for n in range(60)],
    }
)
USERS = pl.DataFrame(
    {"user": [WHO, "u1", "u2", "no events"], "town": ["Moskva 4711", "Paris", "Paris", "Roma"]}
)


def fitted(frame: pl.DataFrame = FRAME) -> tm.Pipeline:
    data = tm.Dataset.from_frame(frame, time="timestamp", users=USERS, context=["share"])
    return tm.Pipeline([tm.ItemKNN(), tm.UserKNN()]).fit(data)


@pytest.fixture
def store(tmp_path: Path) -> tm.ReleaseStore:
    store = tm.ReleaseStore(tmp_path / "store")
    store.publish(fitted())
    store.publish(fitted(FRAME.head(50)))
    return store


def client(store: tm.ReleaseStore, state: Path) -> TestClient:
    return TestClient(create_app(Path(store.path), state, poll_seconds=0.05))


def traces(*folders: Path) -> list[Path]:
    """Files that hold the id, in their bytes or in what their bytes mean."""
    found = []
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        held = path.read_bytes()
        if path.suffix == ".parquet":
            held += repr(pl.read_parquet(path).to_dict(as_series=False)).encode()
        if WHO.encode() in held or b"Moskva 4711" in held:
            found.append(path)
    return found


def unknown(http: TestClient) -> bool:
    history = http.get(f"/users/{WHO}/history").json()
    data = http.get(f"/users/{WHO}/data").json()
    answers = [{"release": "a"}, {"release": "b"}]
    while answers[0]["release"] != answers[1]["release"]:  # swapped in between
        answers = [http.get(f"/users/{u}/recommendations").json() for u in (WHO, "nobody")]
    return (
        not history["known"]
        and history["profile"] == data["profile"] == {}
        and data["events"] == data["release_events"] == []
        and http.get("/users", params={"query": WHO[:5]}).json()["users"] == []
        and answers[0]["items"] == answers[1]["items"]
    )


def test_all_that_is_kept_is_shown(store: tm.ReleaseStore, tmp_path: Path) -> None:
    with client(store, tmp_path / "state") as http:
        view = {
            "item": "i2",
            "kind": "view",
            "time": 6,
            "value": 2.0,
            "duration": 1.5,
            "context": {"device": "tv", "hour": 7, "share": 0.5, "paid": True},
        }
        posted = [
            {"user": WHO, "item": "i1", "kind": "impression", "time": 5, "token": "t", "id": 7},
            {"user": WHO, **view},
        ]
        http.post("/events", json=[*posted, {"user": "u1", "item": "i1"}])
        data = http.get(f"/users/{WHO}/data").json()
        assert data["user"] == WHO
        assert data["profile"] == {"town": "Moskva 4711"}
        assert data["release"] == store.current_version()
        expected = FRAME.head(50).filter(pl.col("user") == WHO).sort("timestamp")
        assert [event["item"] for event in data["release_events"]] == expected["item"].to_list()
        assert [event["time"] for event in data["release_events"]] == expected[
            "timestamp"
        ].to_list()
        told = [{"share": 0.5}, {"share": "nan"}, {}]
        assert [event["context"] for event in data["release_events"]] == [
            told[int(time) % 3] for time in expected["timestamp"]
        ]
        assert data["events"] == [
            {"item": "i1", "kind": "impression", "time": 5, "value": 1.0, "id": "7", "token": "t"},
            view,
        ]


def test_a_removed_user_leaves_no_trace(store: tm.ReleaseStore, tmp_path: Path) -> None:
    state = tmp_path / "state"
    before = [release.version for release in store.list()]
    with client(store, state) as http, client(store, state) as other:
        for n in range(30):
            http.post("/events", json={"user": WHO, "item": f"i{n % 5}", "id": f"{WHO} {n}"})
            http.post("/events", json={"user": f"visitor {n}", "item": "i1", "id": f"v{n}"})
        said = {"kind": "skip", "token": WHO, "context": {"town": "Moskva 4711"}}
        other.post("/events", json={"user": WHO, "item": "i2", **said})
        assert len(other.get(f"/users/{WHO}/data").json()["events"]) == 31
        assert traces(state)
        assert len(traces(Path(store.path))) == 4  # ids and profiles of two releases
        removed = http.delete(f"/users/{WHO}")
        assert removed.status_code == 200
        assert removed.json()["events"] == 31
        assert [(one["events"], one["profile"]) for one in removed.json()["releases"]] == [
            (9, True),
            (7, True),
        ]
        assert traces(state, Path(store.path)) == []
        assert unknown(http)
        assert unknown(other)
        # The releases are whole, in their order, and one can go back to the first.
        after = [release.version for release in store.list()]
        assert not set(after) & set(before)
        assert [one[:16] for one in after] == [one[:16] for one in before]
        assert [store.check(version) for version in after] == [[], []]
        assert store.current_version() == after[0]
        assert store.roll_back().version == after[1]
        for app in (http, other):
            while app.get("/health").json()["release"] != after[1]:
                assert app.get("/health").json()["problem"] is None
            assert unknown(app)
            others = app.get("/users/u1/history").json()
            assert (others["count"], others["profile"]) == (9, {"town": "Paris"})
        # Nothing more to remove.
        assert http.delete(f"/users/{WHO}").json() == {"events": 0, "releases": []}
    with client(store, state) as http:
        assert unknown(http)
        # A release that was made from older data does not bring them back.
        late = store.publish(fitted())
        while http.get("/health").json()["release"] != late.version:
            pass
        assert unknown(http)
        # Who comes again begins anew, and is as new after a restart.
        assert http.post("/events", json={"user": WHO, "item": "i4"}).json()["accepted"] == 1
        history = http.get(f"/users/{WHO}/history").json()
        assert [item["item"] for item in history["items"]] == ["i4"]
        assert history["profile"] == {}
    with client(store, state) as http:
        again = http.get(f"/users/{WHO}/history").json()
        assert again == history
        data = http.get(f"/users/{WHO}/data").json()
        assert (len(data["events"]), data["release_events"]) == (1, [])
        assert http.delete(f"/users/{WHO}").json()["events"] == 1
        assert unknown(http)
        assert traces(state, Path(store.path)) == []


def test_who_returned_lives_by_the_log_alone_whatever_a_release_saw_of_it(
    store: tm.ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tastemap.online import engine as module

    with client(store, tmp_path / "state") as http:
        http.post("/events", json={"user": WHO, "item": "i1"})
        http.delete(f"/users/{WHO}")
        http.post("/events", json=[{"user": WHO, "item": "i4"}, {"user": "u1", "item": "i4"}])
    store.publish(fitted())
    real = module.read_manifest

    def with_offset(path: Path) -> object:
        manifest = real(path)
        manifest.contents["event_log_offset"] = 3
        return manifest

    monkeypatch.setattr(module, "read_manifest", with_offset)
    with client(store, tmp_path / "state") as http:
        history = http.get(f"/users/{WHO}/history").json()
        assert [item["item"] for item in history["items"]] == ["i4"]
        assert http.get("/users/u1/history").json()["count"] == 9


def test_integer_ids_and_a_release_outside_a_store(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [1, 1, 2, 2, 3], "item": [10, 20, 10, 30, 10]})
    data = tm.Dataset.from_frame(frame, user="user", item="item")
    model = tm.ItemKNN().fit(data).save(tmp_path / "model")
    with TestClient(create_app(model, tmp_path / "state")) as http:
        removed = http.delete("/users/2").json()
        assert [one["events"] for one in removed["releases"]] == [2]
        assert http.get("/users/2/history").json()["known"] is False
    loaded = tm.load(model)
    assert loaded.users.rows(["1", "2", "3"]).tolist() == [1, 0, 3]
    assert loaded.histories.counts.tolist() == [0, 2, 0, 1]
    (stone,) = loaded.users.ids([2])
    with TestClient(create_app(model, tmp_path / "state")) as http:
        assert http.get(f"/users/{stone}/history").json()["known"] is False
        assert http.get("/users?query=-").json()["users"] == []
        assert http.get("/users/3/history").json()["count"] == 1


def test_a_damaged_release_is_said_and_the_rest_is_removed(
    store: tm.ReleaseStore, tmp_path: Path
) -> None:
    with client(store, tmp_path / "state") as http:
        damaged = store.list()[1]
        next(damaged.path.glob("*.safetensors")).write_bytes(b"")
        http.post("/events", json={"user": WHO, "item": "i1"})
        for events, releases in ((1, 1), (0, 0)):
            removed = http.delete(f"/users/{WHO}")
            assert removed.status_code == 202
            body = removed.json()
            assert (body["events"], len(body["releases"])) == (events, releases)
            (left,) = body["unsearched"]
            assert left["release"] == damaged.version
            assert "truncated" in left["problem"]
        assert unknown(http)
        assert store.check() == []
        assert {path.parent for path in traces(Path(store.path))} == {damaged.path}
        with pytest.raises(UnsearchedError, match="truncated"):
            store.forget_user(WHO)
        # Without it nothing is left open.
        shutil.rmtree(damaged.path)
        assert http.delete(f"/users/{WHO}").json() == {"events": 0, "releases": []}


def test_a_removal_that_was_interrupted_is_finished_by_the_next(
    store: tm.ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    with client(store, tmp_path / "state") as http:
        with monkeypatch.context() as patched:
            patched.setattr("tastemap.release.store.put_in_place_of", full)
            refused = http.delete(f"/users/{WHO}")
            assert refused.status_code == 503
            assert "no space left" in refused.json()["detail"][0]["msg"]
        assert unknown(http)
        assert len(http.delete(f"/users/{WHO}").json()["releases"]) == 2
        assert traces(Path(store.path), tmp_path / "state") == []
        assert [store.check(release.version) for release in store.list()] == [[], []]
        assert store.list()[0].is_current


def test_no_id_is_left_in_any_corner_of_the_log(tmp_path: Path) -> None:
    """Pages are split and joined as events come and go; no copy of an id may stay behind."""
    draw = random.Random(1)
    users = [f"somebody number {n:03d}" for n in range(120)]
    log = EventLog(tmp_path)
    for _ in range(40):
        batch = [
            Event(user, "i" * draw.randint(1, 9), "view", 1.0, 1.0, f"{user} {draw.random()}", b"d",
                  token=draw.choice([None, user * draw.choice([1, 20, 300])]))
            for user in draw.choices(users, k=60)
        ]  # fmt: skip
        log.append([batch])
    offset = log.last_offset
    assert log.forgotten(users[:2]) == [False, False]
    draw.shuffle(users)
    gone, left = users[:40], users[40:]
    removed = sum(log.forget(user) for user in gone)
    for path in tmp_path.iterdir():
        held = path.read_bytes()
        assert [user for user in gone if user.encode() in held] == []
    assert sum(len(log.events_of(user)) for user in left) == offset - removed
    assert log.forgotten([left[0], gone[0], "nobody"]) == [False, True, False]
    assert log.append([[Event("late", "i", "view", 1.0, 1.0)]])
    assert log.last_offset == offset + 1
    log.close()
