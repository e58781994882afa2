"""Answers made in advance, served: to whom, when not, and what they are good for in bad times."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from served import Served
from servers import RedisServer, wait_until

import tastemap as tm
from tastemap.errors import DataError, ParameterError, UnavailableError
from tastemap.online import create_app
from tastemap.online.clock import now
from tastemap.online.engine import Engine
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event, ItemChange
from tastemap.online.hybrid import Hybrid, open_precomputed
from tastemap.online.precomputed import Precomputed, precompute
from tastemap.online.precomputed_file import PrecomputedFile, writing_file
from tastemap.online.precomputed_redis import PrecomputedRedis, writing_redis
from tastemap.online.questions import Ask, Found, Question
from tastemap.online.tokens import item_hash
from tastemap.policy.lists import Deny
from tastemap.policy.rules import Rules
from tastemap.release import load_release

K = 12


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


Make = Callable[..., Precomputed]


@pytest.fixture(params=["file", "redis"])
def make(
    request: pytest.FixtureRequest, redis_server: RedisServer, small: Path, tmp_path: Path
) -> Make:
    """Makes answers in advance at one place, and opens it."""
    prefix, file = secrets.token_hex(8), tmp_path / "answers.parquet"

    def make(release: str | None = None, offset: int = 0, of: Path = small) -> Precomputed:
        loaded = load_release(of)
        pipeline, version = loaded.pipeline(), loaded.version if release is None else release
        if request.param == "file":
            with writing_file(file, pipeline, k=K, release=version, offset=offset) as write:
                precompute(pipeline, write, k=K)
            return PrecomputedFile(file)
        url = redis_server.url
        with writing_redis(url, release=version, offset=offset, prefix=prefix) as write:
            precompute(pipeline, write, k=K)
        return PrecomputedRedis(url, prefix=prefix, timeout=5.0)

    return make


Start = Callable[..., Engine]


@pytest.fixture
def start(small: Path, tmp_path: Path) -> Iterator[Start]:
    logs: list[EventLog] = []

    def start(precomputed: Precomputed, release: Path = small) -> Engine:
        logs.append(EventLog(tmp_path / "state"))
        return Engine(release, logs[-1], hybrid=Hybrid(precomputed))

    yield start
    for log in logs:
        log.close()


def ask(engine: Engine, question: Question) -> Found:
    (answer,) = engine.answer([question])
    assert isinstance(answer, Found)
    return answer


def ids(found: Found) -> list[str]:
    return [one.card.item for one in found.items]


def take(engine: Engine, user: str, item: str, kind: str = "event") -> None:
    engine.record([[Event(user, item, kind, now(), 1.0)]])


def test_who_did_nothing_since_gets_what_the_release_would_answer(make: Make, start: Start) -> None:
    engine = start(make())
    asks = [Ask(k, f"u{user}") for user, k in ((0, 5), (7, K), (39, 1))]
    live = engine.serving.answer(asks)
    for found, expected in zip(engine.answer(asks), live, strict=True):
        assert isinstance(found, Found) and isinstance(expected, Found)
        assert (found.link, found.release) == ("precomputed", expected.release)
        assert ids(found) == ids(expected) and found.degraded == ()
        assert [one.source for one in found.items] == [one.source for one in expected.items]
        np.testing.assert_allclose(
            [one.score for one in found.items], [one.score for one in expected.items], rtol=1e-6
        )


def test_what_needs_more_than_was_made_is_answered_live(make: Make, start: Start) -> None:
    engine = start(make())
    assert ask(engine, Ask(K + 1, "u0")).link == "history"
    assert ask(engine, Ask(5, "u0", history=("i3",))).link == "history"
    assert ask(engine, Ask(5, history=("i3",))).link == "history"
    assert ask(engine, Ask(5, "a stranger")).link == "popularity"
    # The next pages come from there until there are too few left.
    first = ask(engine, Ask(5, "u0"))
    shown = np.sort(np.array([item_hash(item) for item in ids(first)], np.uint32))
    second = ask(engine, Ask(5, "u0", shown=shown))
    assert second.link == "precomputed" and set(ids(second)).isdisjoint(ids(first))
    assert ask(engine, Ask(8, "u0", shown=shown)).link == "history"


def test_events_make_answers_live_until_they_are_made_anew(make: Make, start: Start) -> None:
    engine = start(make())
    best = ids(ask(engine, Ask(3, "u1")))
    take(engine, "u1", best[2], kind="impression")
    assert ids(ask(engine, Ask(3, "u1"))) == best
    take(engine, "u1", best[0])
    take(engine, "u2", ids(ask(engine, Ask(1, "u2")))[0], kind="skip")
    for user in ("u1", "u2"):
        assert ask(engine, Ask(3, user)).link == "history"
    assert best[0] not in ids(ask(engine, Ask(3, "u1")))
    assert ask(engine, Ask(3, "u3")).link == "precomputed"
    # Made by a log that had these events, it holds for all but those of later ones.
    make(offset=engine.events.last_offset)
    take(engine, "u3", "i0")
    engine.refresh()
    links = {user: ask(engine, Ask(3, user)).link for user in ("u1", "u2", "u3")}
    assert links == {"u1": "precomputed", "u2": "precomputed", "u3": "history"}
    # What was taken or passed over is left out, be it made with a look at that or without.
    assert best[0] not in ids(ask(engine, Ask(3, "u1")))
    # A process that begins now knows it by the log alone.
    again = start(engine.hybrid._precomputed)  # type: ignore[union-attr]
    assert {user: ask(again, Ask(3, user)).link for user in links} == links


def test_answers_of_another_release_are_not_given(make: Make, start: Start) -> None:
    engine = start(make(release="another/one:\n*"))
    assert ask(engine, Ask(3, "u1")).link == "history"


def test_an_item_that_was_taken_away_is_left_out(make: Make, start: Start) -> None:
    engine = start(make())
    best = ids(ask(engine, Ask(3, "u1")))
    engine.change_items([ItemChange(best[1], None)])
    after = ask(engine, Ask(2, "u1"))
    assert after.link == "precomputed" and ids(after) == [best[0], best[2]]


def test_where_rules_are_at_work_answers_are_live(
    make: Make, start: Start, small: Path, tmp_path: Path
) -> None:
    pipeline = load_release(small).pipeline()
    pipeline.obey(Rules({"no": Deny(items=["i1"])}))
    ruled = pipeline.save(tmp_path / "ruled")
    engine = start(make(of=ruled), ruled)
    assert ask(engine, Ask(3, "u1")).link == "history"


def test_they_stand_in_where_a_stage_fails(
    make: Make, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start(make())
    before = ask(engine, Ask(K, "u1"))
    take(engine, "u1", before.items[0].card.item)
    monkeypatch.setattr(engine.serving.pipeline.retrievers[0], "answer", lambda *_: 1 / 0)
    found = ask(engine, Ask(4, "u1"))
    assert (found.link, found.degraded) == ("precomputed", ("itemknn",))
    assert ids(found) == ids(before)[1:5]
    # With what is popular behind it, where it is too short.
    found = ask(engine, Ask(K + 3, "u1"))
    assert ids(found)[: K - 1] == ids(before)[1:]
    assert len(set(ids(found))) == K + 3
    assert {one.source for one in found.items[K - 1 :]} == {"popularity"}
    stranger = ask(engine, Ask(4, "a stranger"))
    assert stranger.link == "popularity"
    # Whoever did nothing since has an answer that nothing failed for.
    assert ask(engine, Ask(4, "u2")).degraded == ()
    monkeypatch.setattr(engine.serving, "answer", lambda *_: 1 / 0)
    found = ask(engine, Ask(4, "u1"))
    assert (found.link, found.degraded) == ("precomputed", ("answer",))


def test_an_old_file_stands_in_for_a_newer_release(
    start: Start, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_release(small)
    pipeline, file = loaded.pipeline(), tmp_path / "old.parquet"
    with writing_file(file, pipeline, k=K, release="old", offset=0) as write:
        precompute(pipeline, write, k=K)
    engine = start(open_precomputed(str(file)))
    expected = ids(ask(engine, Ask(4, "u1")))
    monkeypatch.setattr(engine.serving.pipeline.retrievers[0], "answer", lambda *_: 1 / 0)
    found = ask(engine, Ask(4, "u1"))
    assert found.link == "precomputed" and ids(found) == expected


def test_a_bad_file_in_its_place_is_not_taken_up(start: Start, small: Path, tmp_path: Path) -> None:
    loaded = load_release(small)
    pipeline, file = loaded.pipeline(), tmp_path / "answers.parquet"
    with writing_file(file, pipeline, k=K, release=loaded.version, offset=0) as write:
        precompute(pipeline, write, k=K)
    engine = start(open_precomputed(str(file)))
    file.rename(tmp_path / "aside")
    engine.refresh()
    file.write_bytes(b"PAR1 and nothing else")
    engine.refresh()
    assert ask(engine, Ask(3, "u1")).link == "precomputed"
    for where, error in (("gone.parquet", DataError), (str(file), DataError), ("ftp://x", None)):
        with pytest.raises(error or ParameterError):
            open_precomputed(where)


def test_keys_in_redis_hold_the_version_and_no_id(redis_server: RedisServer, small: Path) -> None:
    pipeline, prefix = load_release(small).pipeline(), secrets.token_hex(8)
    url, version = redis_server.url, "v 1:*"
    with writing_redis(url, release=version, offset=3, prefix=prefix, lifetime=50) as write:
        precompute(pipeline, write, k=2)
    found = PrecomputedRedis(url, prefix=prefix, timeout=5.0)
    keys = [key.decode() for key in found._redis.keys(f"{prefix}:*")]
    assert len(keys) == pipeline.data.n_users
    assert all(key.startswith(f"{prefix}:p:v%201%3A%2A:") for key in keys)
    assert all(len(key.rpartition(":")[2]) == 32 for key in keys)
    assert all(0 < found._redis.pttl(key) <= 50_000 for key in keys)
    mine, nobody = found.find(["u1", "*"], version)
    assert mine is not None and nobody is None
    assert (mine.release, mine.offset, len(mine.items)) == (version, 3, 2)
    found.forget("u1", [version, "another"])
    assert found.find(["u1"], version) == [None]
    assert len(found._redis.keys(f"{prefix}:*")) == len(keys) - 1
    for rubbish in (b"", b"7", b"[1,2]", b'[1,["a"],[1.0],[]]', b'["x",[],[],[]]', b"\xff"):
        found._redis.set(keys[0], rubbish)
        users = [f"u{n}" for n in range(40)]
        with pytest.raises(DataError, match="tastemap batch"):
            found.find(users, version)
    found.close()


def test_a_removed_user_is_removed_from_redis(
    redis_server: RedisServer, small: Path, tmp_path: Path
) -> None:
    store = tm.ReleaseStore(tmp_path / "store")
    pipeline = load_release(small).pipeline()
    for _ in range(2):
        store.publish(pipeline)
    for release in store.list():
        with writing_redis(redis_server.url, release=release.version, offset=0) as write:
            precompute(pipeline, write, k=2)
    versions = [release.version for release in store.list()]
    found = PrecomputedRedis(redis_server.url, timeout=5.0)
    with TestClient(
        create_app(tmp_path / "store", tmp_path / "state", precomputed=redis_server.url)
    ) as http:
        assert http.get("/users/u1/recommendations?k=2").json()["link"] == "precomputed"
        assert http.delete("/users/u1").status_code == 200
        assert http.get("/users/u1/recommendations?k=2").json()["link"] == "popularity"
        for version in versions:
            gone, other = found.find(["u1", "u2"], version)
            assert gone is None and other is not None
    found.close()


def test_redis_may_be_away(small: Path, tmp_path: Path) -> None:
    """A real server, whose Redis is killed and comes back."""
    (tmp_path / "redis").mkdir()
    loaded = load_release(small)

    def fill(url: str) -> None:
        with writing_redis(url, release=loaded.version, offset=0) as write:
            precompute(loaded.pipeline(), write, k=K)

    with RedisServer(tmp_path / "redis") as server:
        fill(server.url)
        with Served(small, tmp_path / "state", precomputed=server.url) as served:

            def answer(user: str) -> dict[str, object]:
                response = served.http.get(f"/users/{user}/recommendations?k=5")
                assert response.status_code == 200
                found: dict[str, object] = response.json()
                return found

            # The first connection may take longer than a request waits for one.
            wait_until(lambda: answer("u1")["link"] == "precomputed")
            before = answer("u1")
            event = {"user": "u2", "item": "i0"}
            assert served.http.post("/events", json=event).status_code == 200
            assert answer("u2")["link"] == "history"
            server.kill()
            for _ in range(8):
                live = answer("u1")
                assert live["link"] == "history" and "degraded" not in live
            assert live["items"] == [
                {**one, "reason": live["items"][place]["reason"]}  # type: ignore[index]
                for place, one in enumerate(before["items"])  # type: ignore[arg-type]
            ]
            assert served.http.delete("/users/u9").status_code == 503
            server.start()
            fill(server.url)
            wait_until(lambda: answer("u1")["link"] == "precomputed")
            assert served.http.delete("/users/u9").status_code == 200
            name = 'tastemap_answers_total{degraded="false",link="precomputed"}'
            assert name in served.http.get("/metrics").text
    with pytest.raises(UnavailableError, match="Redis at "):
        fill(server.url)
