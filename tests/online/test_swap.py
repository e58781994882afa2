"""A newly published release takes over without dropping a request; a bad one does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import polars as pl
import pytest
from served import Served

import tastemap as tm
from tastemap.errors import ReleaseError
from tastemap.online.engine import Engine
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event, Recorded
from tastemap.online.questions import Ask, Found

FRAME = pl.DataFrame(
    {
        "user": [f"u{n % 7}" for n in range(60)],
        "item": [f"i{(n * n + n // 7) % 11}" for n in range(60)],
        "timestamp": [float(n) for n in range(60)],
    }
)


def fitted(frame: pl.DataFrame = FRAME) -> tm.Pipeline:
    data = tm.Dataset.from_frame(frame, user="user", item="item", time="timestamp")
    return tm.Pipeline([tm.ItemKNN()]).fit(data)


@pytest.fixture
def store(tmp_path: Path) -> tm.ReleaseStore:
    store = tm.ReleaseStore(tmp_path / "store")
    store.publish(fitted())
    return store


@pytest.fixture
def engine(store: tm.ReleaseStore, tmp_path: Path) -> Iterator[Engine]:
    log = EventLog(tmp_path / "state")
    yield Engine(Path(store.path), log)
    log.close()


def event(user: str, item: str, time: float = 100.0) -> Event:
    return Event(user, item, "event", time, 1.0)


def items(engine: Engine, user: str) -> set[str]:
    (answer,) = engine.answer([Ask(20, user)])
    assert isinstance(answer, Found)
    return {suggestion.card.item for suggestion in answer.items}


def test_live_events_survive_the_swap_and_new_items_can_be_posted(
    engine: Engine, store: tm.ReleaseStore
) -> None:
    assert engine.record([[event("new", "i3")]]) == [Recorded([event("new", "i3")], 0)]
    (refused,) = engine.record([[event("new", "i3"), event("new", "later")]])
    assert isinstance(refused, LookupError)
    later = pl.concat([FRAME, FRAME.head(3).with_columns(item=pl.lit("later"))])
    published = store.publish(fitted(later))
    engine.follow()
    assert engine.serving.version == published.version
    assert engine.problem is None
    assert "i3" not in items(engine, "new")
    assert "later" in items(engine, "new")
    assert engine.record([[event("new", "later")]]) == [Recorded([event("new", "later")], 0)]
    assert "later" not in items(engine, "new")
    store.roll_back()
    engine.follow()
    assert engine.serving.live.skipped == 1  # "later" is not in the old release
    assert "i3" not in items(engine, "new")


def test_a_release_that_saw_part_of_the_log_gets_the_rest_only(
    engine: Engine, store: tm.ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.record([[event("new", "i3"), event("new", "i4")], [event("new", "i5")]])
    from tastemap.online import engine as module

    real = module.read_manifest

    def with_offset(path: Path) -> object:
        manifest = real(path)
        manifest.contents["event_log_offset"] = 2
        return manifest

    monkeypatch.setattr(module, "read_manifest", with_offset)
    store.publish(fitted())
    engine.follow()
    _, histories = engine.serving.live.histories(["new"])
    assert engine.serving.pipeline.items.ids(histories.items) == ["i5"]


@pytest.mark.parametrize("harm", ["truncated", "emptied", "current"])
def test_a_bad_release_is_refused_and_the_old_one_goes_on(
    engine: Engine, store: tm.ReleaseStore, harm: str
) -> None:
    old = engine.serving.version
    bad = store.publish(fitted(FRAME.head(50)))
    if harm == "truncated":
        tensors = next(bad.path.glob("*.safetensors"))
        tensors.write_bytes(tensors.read_bytes()[:-9])
    elif harm == "emptied":
        (bad.path / "manifest.toml").write_text("")
    else:
        (store.path / "CURRENT").write_text("../../etc\n")
    # One that is started meanwhile, such as a worker in the place of one that died, answers too; of
    # what is whole it takes the newest.
    started = Engine(store.path, engine.events)
    newest = bad.version if harm == "current" else old
    for each, version in [(engine, old), (started, newest)] * 2:
        each.follow()
        assert each.serving.version == version
        assert each.problem is not None
        assert version in each.problem
        assert items(each, "u1")
    good = store.publish(fitted(FRAME.head(40)))
    for each in (engine, started):
        each.follow()
        assert (each.serving.version, each.problem) == (good.version, None)


def test_where_no_release_can_be_served_the_newest_one_is_said_to_be_bad(
    store: tm.ReleaseStore, tmp_path: Path
) -> None:
    store.publish(fitted(FRAME.head(50)))
    for release in store.list():
        (release.path / "manifest.toml").write_text("")
    newest = store.current_version()
    with (
        closing(EventLog(tmp_path / "state")) as log,
        pytest.raises(ReleaseError, match=f"{newest}/manifest.toml was edited or damaged"),
    ):
        Engine(store.path, log)


def test_going_back_ends_the_problem(engine: Engine, store: tm.ReleaseStore) -> None:
    bad = store.publish(fitted(FRAME.head(50)))
    (bad.path / "manifest.toml").write_text("")
    engine.follow()
    assert engine.problem is not None
    store.roll_back(to=engine.serving.version)
    engine.follow()
    assert engine.problem is None


def test_events_recorded_during_the_swap_are_neither_lost_nor_doubled(
    engine: Engine, store: tm.ReleaseStore
) -> None:
    posted = [event("busy", f"i{n % 11}", time=1000.0 + n) for n in range(600)]

    def post() -> None:
        for one in posted:
            engine.record([[one]])

    poster = threading.Thread(target=post)
    poster.start()
    swaps = 0
    while poster.is_alive():
        store.publish(fitted(FRAME.head(40 + swaps % 20)))
        engine.follow()
        swaps += 1
    poster.join()
    assert swaps >= 2
    _, histories = engine.serving.live.histories(["busy"])
    assert histories.times.tolist() == [one.time for one in posted]


def test_no_request_is_dropped(store: tm.ReleaseStore, tmp_path: Path) -> None:
    with Served(Path(store.path), tmp_path / "state") as served:
        first = served.http.get("/health").json()["release"]
        seen: set[str] = set()
        stop = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=served.url, timeout=30) as http:
                while not stop.is_set():
                    answer = http.get("/users/u1/recommendations")
                    assert answer.status_code == 200
                    assert answer.json()["items"]
                    seen.add(answer.json()["release"])

        failures: list[BaseException] = []

        def guarded() -> None:
            try:
                ask()
            except BaseException as error:
                failures.append(error)

        askers = [threading.Thread(target=guarded) for _ in range(4)]
        for asker in askers:
            asker.start()
        second = store.publish(fitted(FRAME.head(50))).version
        deadline = time.monotonic() + 60
        while second not in seen and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        for asker in askers:
            asker.join()
        assert not failures
        assert seen == {first, second}
    assert served.process.returncode == 0  # after Ctrl-C
