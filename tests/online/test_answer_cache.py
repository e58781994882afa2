"""Answers that are given again: when, when not, and what becomes of them when Redis dies."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from served import Served
from servers import RedisServer, wait_until

import tastemap as tm
from tastemap.online.answer_cache import AnswerCache
from tastemap.online.clock import now
from tastemap.online.engine import Engine
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event, ItemChange
from tastemap.online.following import Following
from tastemap.online.questions import Ask, Found, SimilarTo
from tastemap.online.redis_state import RedisState
from tastemap.online.state import LocalState, State
from tastemap.online.tokens import item_hash
from tastemap.policy.availability import Availability
from tastemap.policy.rules import Rules


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


class Counted:
    """An engine that counts what its cache does, over a log that others may share."""

    def __init__(self, release: Path, folder: Path, state: State | None = None) -> None:
        self.log = EventLog(folder)
        self.cache = AnswerCache(LocalState() if state is None else state, pause=0.05)
        self.engine = Engine(release, self.log, cache=self.cache)
        self.seen: Counter[str] = Counter()
        self.cache.observe = lambda result, n: self.seen.update({result: n})

    def ask(self, ask: Ask) -> Found:
        (answer,) = self.engine.answer([ask])
        assert isinstance(answer, Found)
        return answer

    def hit(self, ask: Ask) -> bool:
        """Whether an answer came from the cache."""
        before = self.seen["hit"]
        self.ask(ask)
        return self.seen["hit"] > before

    def record(self, user: str, item: str, **more: Any) -> None:
        self.engine.record([[Event(user, item, more.pop("kind", "view"), now(), 1.0, **more)]])

    def close(self) -> None:
        self.cache.close()
        self.log.close()


Start = Callable[..., Counted]


@pytest.fixture
def start(few: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[Counted] = []

    def begin(state: State | None = None, release: Path = few) -> Counted:
        started.append(Counted(release, tmp_path / "state", state))
        return started[-1]

    yield begin
    for each in started:
        each.close()


def in_redis(server: RedisServer, prefix: str, **options: Any) -> RedisState:
    return RedisState(server.url, **{"timeout": 5.0, "prefix": prefix} | options)


def test_an_answer_comes_again_as_it_was(start: Start) -> None:
    worker = start()
    fresh = worker.ask(Ask(5, "u1"))
    assert worker.hit(Ask(5, "u1"))
    assert worker.ask(Ask(5, "u1")) == fresh and fresh.items
    # Another user, another number, another history: other questions.
    for other in (Ask(5, "u2"), Ask(4, "u1"), Ask(5, "u1", history=("i1",))):
        assert not worker.hit(other) and worker.hit(other)
    assert worker.seen["failure"] == 0


def test_answers_of_nobody_of_friends_and_of_later_pages_are_made_anew(start: Start) -> None:
    worker = start()
    shown = np.array([item_hash("i1")], np.uint32)
    for ask in (
        Ask(5),
        Ask(5, history=("i1",)),
        Ask(5, "new", friends=("u1",)),
        Ask(5, "u1", shown=shown),
    ):
        worker.ask(ask)
        assert not worker.hit(ask)
    worker.engine.answer([SimilarTo("i1", 3)] * 2)
    assert worker.seen == Counter()


def test_every_event_that_counts_makes_the_answer_anew(start: Start) -> None:
    worker = start()
    ask = Ask(11, "u1")
    worker.ask(ask)
    left = [one.card.item for one in worker.ask(ask).items]
    for kind, item in (("view", left[0]), ("skip", left[1])):
        worker.record("u1", item, kind=kind)
        assert item not in [one.card.item for one in worker.ask(ask).items]
        assert worker.hit(ask)
    # The same once more, without an id, is an event too.
    worker.record("u1", left[0])
    assert not worker.hit(ask)


def test_workers_never_give_what_anothers_event_made_old(
    start: Start, redis_server: RedisServer
) -> None:
    prefix = secrets.token_hex(8)
    shared = [start(in_redis(redis_server, prefix)) for _ in range(2)]
    for one, other in (shared, [start(), start()]):
        for number in range(11):
            user, item = f"somebody {id(one)}", f"i{number}"
            one.ask(Ask(11, user))
            other.ask(Ask(11, user))
            one.record(user, item)
            for worker in (other, one):
                shown = {one.card.item for one in worker.ask(Ask(11, user)).items}
                assert shown == {f"i{n}" for n in range(number + 1, 11)}
    # What one has found the other finds.
    shared[0].ask(Ask(3, "u2"))
    assert shared[1].hit(Ask(3, "u2"))


def test_an_event_while_redis_is_away_makes_old_answers_unfindable(
    start: Start, tmp_path: Path
) -> None:
    # One that keeps its memory over the kill, so that old answers come back with it.
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always") as server:
        prefix = secrets.token_hex(8)
        taker, other = (start(in_redis(server, prefix, timeout=0.5)) for _ in range(2))
        ask = Ask(11, "u1")
        item = other.ask(ask).items[0].card.item
        assert taker.hit(ask)
        server.kill()
        taker.record("u1", item)
        # Even if the process that took the event dies before it could remove anything.
        taker.close()
        server.start()
        time.sleep(0.06)
        answer = other.ask(ask)
        assert other.seen["failure"] == 0 and other.seen["hit"] == 0
        assert item not in [one.card.item for one in answer.items]
        assert other.hit(ask)
        start_again = start(in_redis(server, prefix))
        assert start_again.hit(ask)


def test_a_user_who_is_forgotten_is_forgotten_here_too(
    start: Start, redis_server: RedisServer
) -> None:
    state = in_redis(redis_server, prefix := secrets.token_hex(8))
    local, shared = start(LocalState()), start(state)
    for worker in (local, shared):
        worker.ask(Ask(5, "u1"))
        worker.ask(Ask(5, "u2"))
    client = state._redis
    assert len(client.keys(f"{prefix}:*")) == 2
    before = local.cache._state.size  # type: ignore[attr-defined]
    local.log.forget("u1")
    for worker in (local, shared):
        worker.engine.catch_up()
    assert len(client.keys(f"{prefix}:*")) == 1
    assert local.cache._state.size < before  # type: ignore[attr-defined]
    assert shared.ask(Ask(5, "u1")).link == "popularity"


def test_answers_that_depend_on_the_moment_are_made_anew(start: Start, tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": ["a", "a", "b", "b"], "item": ["x", "y", "y", "z"]})
    data = tm.Dataset.from_frame(frame, user="user", item="item")
    rules = Rules({"stock": Availability()})
    release = tm.Pipeline([tm.ItemKNN()], rules=rules).fit(data).save(tmp_path / "ruled")
    worker = start(release=release)
    policy = worker.engine.serving.pipeline.policy
    assert policy is not None
    assert [one.card.item for one in worker.ask(Ask(3, "a")).items] == ["z"]
    policy.set_available(data.items.rows(["z"]), False)
    assert worker.ask(Ask(3, "a")).items == []
    assert worker.seen == Counter()


def test_items_that_come_and_go_make_answers_anew(start: Start) -> None:
    worker = start()
    first = worker.ask(Ask(5, "u1")).items[0].card.item
    assert worker.hit(Ask(5, "u1"))
    worker.engine.change_items([ItemChange(first, None)])
    assert first not in [one.card.item for one in worker.ask(Ask(5, "u1")).items]
    assert worker.hit(Ask(5, "u1"))
    # What others take away and bring back leads back to what was found before.
    worker.engine.change_items([ItemChange(first, {})])
    assert worker.hit(Ask(5, "u1"))
    assert first in [one.card.item for one in worker.ask(Ask(5, "u1")).items]


def test_new_items_are_joined_to_what_is_remembered(few: Path, tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    cache = AnswerCache(LocalState(), pause=0.05)
    engine = Engine(few, log, cache=cache, following=Following(0.5))
    seen: Counter[str] = Counter()
    cache.observe = lambda result, n: seen.update({result: n})

    def shown(ask: Ask) -> list[tuple[str, str]]:
        (answer,) = engine.answer([ask])
        assert isinstance(answer, Found) and answer.degraded == ()
        return [(one.card.item, one.source) for one in answer.items]

    ask = Ask(4, "u1")
    before = shown(ask)
    engine.change_items([ItemChange(f"n{n}", {}) for n in range(3)])
    engine.refresh()
    # The places of new items are the second and the fourth; the others stay what they were.
    found = shown(ask)
    assert seen == {"miss": 1, "hit": 1}
    assert [source for _, source in found[1::2]] == ["new", "new"]
    assert found[::2] == before[::2]
    # They are drawn each time anew, those that fewest have met first.
    drawn = [dict(shown(ask)[1::2]) for _ in range(5)]
    assert {item for some in drawn for item in some} == {"n0", "n1", "n2"}
    # Who has met one, as an event of it says, does not get it again.
    engine.record([[Event("u1", f"n{n}", "view", now(), 1.0) for n in range(2)]])
    assert [item for item, source in shown(ask) if source == "new"] == ["n2"]
    engine.change_items([ItemChange("n2", None)])
    assert shown(ask) == before
    assert seen == {"miss": 2, "hit": 7}
    # What a request names goes with the item that it names.
    named = Ask(4, "u1", history=("n0",))
    (known,) = engine.answer([named])
    engine.change_items([ItemChange("n0", None)])
    (left,) = engine.answer([named])
    assert isinstance(known, Found) and isinstance(left, Found)
    assert (known.unknown, left.unknown) == ((), ("n0",))
    log.close()


def test_without_new_items_an_answer_is_degraded_and_is_remembered_all_the_same(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(tmp_path)
    cache = AnswerCache(LocalState())
    hits: list[bool] = []
    cache.observe = lambda result, n: hits.extend([result == "hit"] * n)
    engine = Engine(few, log, cache=cache, following=Following(0.5))
    engine.change_items([ItemChange("n", {})])
    engine.refresh()
    with monkeypatch.context() as broken:
        broken.setattr(engine.serving.newcomers, "join", lambda *_: 1 / 0)
        (answer,) = engine.answer([Ask(4, "u1")])
        assert isinstance(answer, Found) and answer.degraded == ("newcomers",)
    (answer,) = engine.answer([Ask(4, "u1")])
    assert isinstance(answer, Found) and answer.degraded == ()
    assert "n" in [one.card.item for one in answer.items]
    assert hits == [False, True]
    log.close()


def test_degraded_answers_are_made_anew(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = start()
    with monkeypatch.context() as broken:
        broken.setattr(worker.engine.serving, "answer", lambda *_: 1 / 0)
        assert worker.ask(Ask(5, "u1")).degraded == ("answer",)
    answer = worker.ask(Ask(5, "u1"))
    assert answer.degraded == () and worker.seen["hit"] == 0
    assert worker.hit(Ask(5, "u1"))


def test_what_others_put_there_is_no_answer(start: Start, redis_server: RedisServer) -> None:
    state = in_redis(redis_server, prefix := secrets.token_hex(8))
    worker = start(state)
    fresh = worker.ask(Ask(5, "u1"))
    (key,) = state._redis.keys(f"{prefix}:*")
    (field,) = [name for name in state._redis.hkeys(key) if name]
    for rubbish in (
        b"",
        b"[]",
        b"7",
        b'["link",[["i99",1.0,"s","r"]]]',
        b'["link",[[1]]]',
        b"\xff",
    ):
        state._redis.hset(key, field, rubbish)
        assert worker.ask(Ask(5, "u1")) == fresh
    assert worker.seen["failure"] == 0


def counted(http: httpx.Client, result: str) -> float:
    lines = http.get("/metrics").text.splitlines()
    name = f'tastemap_cache_total{{result="{result}"}} '
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_redis_dies_and_returns_under_load_and_nobody_notices(few: Path, tmp_path: Path) -> None:
    """Two workers and four clients, who ask, have events, and look at once whether they count."""
    (tmp_path / "redis").mkdir()
    wrong: list[str] = []
    asked = [0] * 4
    ended = threading.Event()

    def load(number: int) -> None:
        with httpx.Client(base_url=served.url, timeout=30) as http:
            round_ = 0
            while not ended.is_set():
                user = f"{number} {round_}"
                for item in range(0, 11, 5):
                    for _ in range(2):
                        answer = http.get(f"/users/{user}/recommendations?k=11")
                        if answer.status_code != 200 or "degraded" in answer.json():
                            wrong.append(answer.text)
                    done = http.post("/events", json={"user": user, "item": f"i{item}"})
                    after = http.get(f"/users/{user}/recommendations?k=11")
                    if done.status_code != 200 or after.status_code != 200:
                        wrong.append(done.text + after.text)
                    elif f"i{item}" in [one["item"] for one in after.json()["items"]]:
                        wrong.append(f"stale: {user} {item}")
                    asked[number] += 4
                round_ += 1

    with (
        RedisServer(tmp_path / "redis") as server,
        Served(few, tmp_path / "state", workers=2, redis=server.url) as served,
    ):
        threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: counted(served.http, "hit") > 20)
            server.kill()
            failed, so_far = counted(served.http, "failure"), sum(asked)
            wait_until(lambda: sum(asked) > so_far + 100)
            assert counted(served.http, "failure") > failed
            server.start()
            had = counted(served.http, "hit")
            wait_until(lambda: counted(served.http, "hit") > had + 20)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert wrong == []
        # A hit has a token of its own, with the time to the second, and is otherwise the same.
        first = served.http.get("/users/u1/recommendations").json()
        time.sleep(1.0)
        second = served.http.get("/users/u1/recommendations").json()
        assert first.pop("token") != second.pop("token") and first == second
        assert served.http.delete("/users/u1").status_code == 200
