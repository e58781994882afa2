"""The trainer over a real store and a real log."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from worlds import later_events

import tastemap as tm
from tastemap.errors import ParameterError, ReleaseError
from tastemap.online.engine import Engine
from tastemap.online.event_log import EventLog, EventReader
from tastemap.online.events import Event
from tastemap.online.log_file import StateError
from tastemap.online.questions import Ask, Found
from tastemap.online.retraining import Decision, Decisions, Judging, Outcome, Trainer, Triggers
from tastemap.online.retraining.gathering import gather
from tastemap.online.retraining.triggers import Since
from tastemap.storage import read_manifest

NEVER = Triggers(drift=None, quality=None, least_events=100)


@pytest.fixture
def decisions(tmp_path: Path) -> Decisions:
    return Decisions(tmp_path / "store-state")


@pytest.fixture
def trainer(store: tm.ReleaseStore, log: EventLog, decisions: Decisions) -> Trainer:
    return Trainer(store.path, log, decisions, triggers=NEVER)


def shown(engine: Engine, user: str) -> set[str]:
    (answer,) = engine.answer([Ask(60, user=user)])
    assert isinstance(answer, Found)
    return {suggestion.card.item for suggestion in answer.items}


def test_a_better_one_is_published_and_the_service_takes_it_up(
    store: tm.ReleaseStore, log: EventLog, trainer: Trainer, decisions: Decisions
) -> None:
    engine = Engine(store.path, log)
    old = store.current_version()
    hit = [Event(f"u{n}", "hit", "view", 3000.0 + n, 1.0) for n in range(40)]
    log.append([later_events(10), hit, [Event("late", "i3", "impression", 3999.0, 1.0)]])
    decision = trainer.retrain("a test")
    assert decision.outcome is Outcome.published
    assert decision.release == store.current_version() != old
    assert decision.left_out == {"kind impression": 1}
    contents = read_manifest(store.current().path).contents
    assert contents["event_log_offset"] == log.last_offset
    assert contents["retraining"]["against"] == old
    assert contents["retraining"]["contest"]["gaps"]["ndcg@10"]["low"] > 0
    assert 0 < contents["retraining"]["next_hit_rate"] <= 1
    assert contents["metrics"]["ndcg@10"] > 0
    assert [each.outcome for each in decisions.read()] == [Outcome.began, Outcome.published]
    log.append([[Event("u7", "i1", "view", 5000.0, 1.0)]])
    engine.follow()
    assert engine.serving.version == decision.release
    # The log is laid over from behind what the release has learned from, and no event counts twice.
    _, histories = engine.serving.live.histories(["u7"])
    assert histories.n_events == 8 + 8 + 1 + 1
    assert "hit" in shown(engine, "nobody yet")
    assert "hit" not in shown(engine, "u7")


def test_one_that_loses_is_not_published(
    store: tm.ReleaseStore, log: EventLog, shop: tm.Dataset, decisions: Decisions
) -> None:
    log.append([later_events(10)])
    # It has learned from what is to come, which no candidate can.
    oracle = tm.ItemKNN().fit(gather(shop, log, 0).data)
    oracle._data = shop
    serving = store.publish(tm.Pipeline([oracle])).version
    trainer = Trainer(store.path, log, decisions, judging=Judging(holdout=0.9), triggers=NEVER)
    decision = trainer.retrain("a test")
    assert decision.outcome is Outcome.kept
    assert "the new one lost: ndcg@10" in decision.reason
    assert decision.contest["gaps"]["ndcg@10"]["difference"] < 0
    assert (store.current_version(), decision.release) == (serving, None)


def test_too_little_to_judge_by_is_no_reason_to_publish(
    store: tm.ReleaseStore, log: EventLog, trainer: Trainer
) -> None:
    serving = store.current_version()
    assert "nothing was recorded" in trainer.retrain("a test").reason
    log.append([[Event("u1", "i40", "view", 3000.0, 1.0)]])
    assert "1 people" in trainer.retrain("a test").reason
    assert store.current_version() == serving


def test_another_release_published_meanwhile_stays(
    store: tm.ReleaseStore, log: EventLog, shop: tm.Dataset, trainer: Trainer
) -> None:
    log.append([later_events(10)])
    by_hand: list[str] = []
    real = tm.Pipeline.fit

    def fit(self: tm.Pipeline, *arguments: object, **named: object) -> tm.Pipeline:
        if not by_hand:
            by_hand.append("")
            by_hand[0] = store.publish(tm.Pipeline([tm.Popularity()]).fit(shop)).version
        return real(self, *arguments, **named)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tm.Pipeline, "fit", fit)
        decision = trainer.retrain("a test")
    assert decision.outcome is Outcome.failed
    assert "meanwhile" in decision.reason
    assert store.current_version() == by_hand[0]


def test_who_asks_to_be_forgotten_while_it_learns_is_not_in_what_is_published(
    store: tm.ReleaseStore, log: EventLog, trainer: Trainer
) -> None:
    log.append([later_events(10)])
    engine = Engine(store.path, log)
    fits = 0
    real = tm.Pipeline.fit

    def fit(self: tm.Pipeline, *arguments: object, **named: object) -> tm.Pipeline:
        nonlocal fits
        fits += 1
        if fits == 2:
            engine.forget("u1")  # in the release too, which so gets another version
            engine.forget("u140")  # in the log alone
        return real(self, *arguments, **named)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tm.Pipeline, "fit", fit)
        decision = trainer.retrain("a test")
    assert decision.outcome is Outcome.published
    data = tm.load(store.path).data
    assert not {"u1", "u140"} & set(data.users.ids(range(1, len(data.users))))
    assert data.histories.n_events == 120 * 16 + 30 * 8 - 16 - 8
    assert log.path.parent.exists()
    for file in store.path.rglob("*"):
        assert not file.is_file() or b"u140" not in file.read_bytes()


def test_a_model_that_cannot_be_fitted_is_a_failure_on_record(
    store: tm.ReleaseStore, log: EventLog, trainer: Trainer, decisions: Decisions
) -> None:
    log.append([later_events(10)])
    serving = store.current_version()

    def fit(self: object, *_: object, **__: object) -> None:
        raise MemoryError("too large")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tm.ItemKNN, "_fit", fit)
        assert trainer.retrain("a test").outcome is Outcome.failed
    assert "too large" in decisions.read()[-1].reason
    assert store.current_version() == serving
    assert trainer.retrain("again").outcome is Outcome.published


def test_triggers_by_clock_and_by_number() -> None:
    triggers = Triggers(every=3600, after_events=1000, least_events=100)
    assert triggers.due(Since(10, 999)) is None
    assert triggers.due(Since(10, 1000)) == "1,000 events were recorded"
    assert triggers.due(Since(7200, 100)) == "2.0 hours have passed"
    assert triggers.due(Since(7200, 99)) is None
    assert Triggers().due(Since(1e9, 10**9)) is None
    with pytest.raises(ParameterError, match="every"):
        Triggers(every=-1)
    with pytest.raises(ParameterError, match="holdout"):
        Judging(holdout=1.0)


def test_the_same_events_set_off_one_retraining(
    store: tm.ReleaseStore, log: EventLog, decisions: Decisions
) -> None:
    def again() -> Trainer:  # as after a restart
        triggers = replace(NEVER, after_events=1000)
        return Trainer(
            store.path, log, decisions, triggers=triggers, judging=Judging(least_users=9999)
        )

    assert again().look() is None
    log.append([later_events(0)])
    decision = again().look()
    assert decision is not None
    assert decision.outcome is Outcome.kept
    assert again().look() is None
    log.append([later_events(0, seed=8, start=5000.0)])
    assert again().reason() == "1,200 events were recorded"


def test_drift_and_lost_quality_set_it_off(
    store: tm.ReleaseStore, log: EventLog, decisions: Decisions
) -> None:
    def reason(**triggers: float | None) -> str | None:
        wanted = replace(NEVER, **triggers)  # type: ignore[arg-type]
        return Trainer(store.path, log, decisions, triggers=wanted).reason()

    log.append([later_events(0)])
    assert Trainer(store.path, log, decisions, triggers=NEVER).retrain("x").release
    log.append([later_events(0, seed=4, start=5000.0)])
    assert reason(drift=0.25, quality=0.2) is None
    decisions.path.unlink()
    other = [replace(event, kind="buy") for event in later_events(10, seed=9, start=7000.0)]
    log.append([other, later_events(10, seed=10, start=8000.0)])
    assert str(reason(quality=0.2)).startswith("hit rate fell from 0.")
    assert str(reason(drift=0.1)).startswith("kinds drifted: stability index ")
    assert reason() is None


def test_the_record_outlives_torn_lines(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "state")
    assert decisions.read() == []
    first = Decision(Outcome.began, 'by "hand"\n', "v1", 3)
    decisions.add(first)
    with decisions.path.open("ab") as file:
        file.write(b'{"outcome": "publi')
    second = Decision(Outcome.kept, "lost", "v1", 3, contest={"gap": 0.1})
    decisions.add(second)
    assert decisions.read() == [first, second]
    assert decisions.last_begun() == first
    assert time.time() - first.moment < 60


KILLED = """
import os, signal, sys
from pathlib import Path
from tastemap.online.event_log import EventReader
from tastemap.online.questions import Ask, Found
from tastemap.online.retraining import Decisions, Trainer
from tastemap.release import ReleaseStore
from tastemap.retrieval.item_knn import ItemKNN

store, state = Path(sys.argv[1]), Path(sys.argv[2])
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}

def retrain(left):
    def hook(event, arguments):
        nonlocal left
        if not arguments or str(store) not in str(arguments[0]):
            return
        opened = event == "open" and isinstance(arguments[2], int)
        if event in CHANGES or (opened and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    Trainer(store, EventReader(state), Decisions(state)).retrain("a test")
    os._exit(0)

served = ReleaseStore(store).current_version()
for change in map(int, sys.argv[3:]):
    child = os.fork()
    if child == 0:
        retrain(change)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (change, status)
    assert ReleaseStore(store).current_version() == served
    assert ReleaseStore(store).check() == []
"""


def test_a_trainer_killed_while_it_publishes_harms_nobody(
    store: tm.ReleaseStore, log: EventLog, trainer: Trainer
) -> None:
    log.append([later_events(10)])
    engine = Engine(store.path, log)
    old = store.current_version()
    # Some of its changes of the disk: the first one, and one while it publishes.
    changes = ["1", "15"]
    command = [sys.executable, "-c", KILLED, str(store.path), str(log.path.parent), *changes]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert child.returncode == 0, child.stderr
    engine.follow()
    assert (engine.serving.version, engine.problem) == (old, None)
    assert shown(engine, "u1")
    decision = trainer.retrain("again")
    assert decision.outcome is Outcome.published
    engine.follow()
    assert engine.serving.version == decision.release
    assert [name for name in os.listdir(store.path) if name.endswith(".staged")] == []


def test_a_store_or_a_log_that_is_not_there_is_said(
    store: tm.ReleaseStore, log: EventLog, decisions: Decisions, tmp_path: Path
) -> None:
    with pytest.raises(ReleaseError, match="does not exist"):
        Trainer(tmp_path / "none", log, decisions).look()
    with pytest.raises(StateError, match="nowhere"):
        EventReader(tmp_path / "nowhere")
    store.publish(tm.load(store.path), about={"event_log_offset": 7})
    with pytest.raises(StateError, match=r"ends with event 0.*learned from its event 7.*--state"):
        Trainer(store.path, log, decisions).retrain("a test")


def test_it_follows_log_and_store_until_it_is_stopped(
    store: tm.ReleaseStore, log: EventLog, decisions: Decisions
) -> None:
    triggers, stop = replace(NEVER, after_events=1000), threading.Event()
    trainer = Trainer(store.path, log, decisions, triggers=triggers)
    old = store.current_version()
    (store.path / "CURRENT").write_text("nonsense\n")  # a look that fails is not the last one
    follower = threading.Thread(target=trainer.follow, args=(0.02, stop))
    follower.start()
    log.append([later_events(10)])
    time.sleep(0.1)
    assert decisions.read() == []
    store.roll_back(to=old)
    deadline = time.monotonic() + 60
    while len(decisions.read()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    stop.set()
    follower.join(timeout=60)
    assert not follower.is_alive()
    assert [each.outcome for each in decisions.read()] == [Outcome.began, Outcome.published]
    assert store.current_version() == decisions.read()[1].release
