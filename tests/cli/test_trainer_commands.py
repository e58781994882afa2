"""`tastemap trainer` and `tastemap batch`, as people run them."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress
from pathlib import Path

import httpx
import polars as pl
import pytest
from ran import Command
from served import Served
from servers import RedisServer

import tastemap as tm
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event
from tastemap.online.precomputed_redis import PrecomputedRedis
from tastemap.release.served import serve


@pytest.fixture
def shop_store(store: Path, tmp_path: Path) -> Path:
    """A copy of the shop's store that a test may publish into."""
    return Path(shutil.copytree(store, tmp_path / "demo"))


def bought(n: int = 8) -> list[dict[str, object]]:
    """Those who took tea now take coffee, and a new user too; a rare new thing is among it."""
    start = 1_702_000_000
    found: list[dict[str, object]] = []
    for user in range(60):
        for place in range(n):
            item = (7 * user + place * (1 + user % 3)) % 15 + 15 * (user % 2 == 0)
            found.append({"user": f"u{user}", "item": f"p{item}", "time": start + 60 * place})
    return [*found, {"user": "guest", "item": "p3", "time": start}]


def test_a_service_is_retrained_while_it_serves(
    tastemap: Command, shop_store: Path, tmp_path: Path
) -> None:
    state = tmp_path / "demo-state"
    with Served(shop_store, state) as served:
        old = served.http.get("/health").json()["release"]
        answer = served.http.post("/events", json=bought())
        assert answer.json()["accepted"] == 481
        ran = tastemap("trainer", "--release", shop_store, "--once", "--json")
        assert ran.code == 0, ran.err
        decision = ran.json
        assert decision["outcome"] == "published", decision
        assert decision["contest"]["gaps"]["ndcg@10"]["difference"] > 0
        deadline = time.monotonic() + 60
        while served.http.get("/health").json()["release"] == old:
            assert time.monotonic() < deadline
            assert served.http.get("/users/u1/recommendations").status_code == 200
            time.sleep(0.05)
        health = served.http.get("/health").json()
        assert (health["release"], health["status"]) == (decision["release"], "ok")
        assert health["live_users"] == 0  # all of the log is in the release
        seen = {f"p{(7 * 4 + place * 2) % 15 + 15}" for place in range(8)}
        now = served.http.get("/users/u4/recommendations", params={"k": 30}).json()["items"]
        assert not seen & {each["item"] for each in now}
        # A release that loads, and then fails when it is asked, is taken back.
        failing = tm.BPR(factors=4, epochs=2).fit(tm.load(shop_store).data)
        failing.user_factors = failing.user_factors[:1]
        about = {"event_log_offset": decision["offset"]}
        bad = tm.ReleaseStore(shop_store).publish(tm.Pipeline([failing]), about=about)
        while tm.ReleaseStore(shop_store).get(bad.version).refused is None:
            assert time.monotonic() < deadline
            # After a failure the server closes the connection, maybe while it is used again.
            with suppress(httpx.TransportError):
                served.http.get("/users/u1/recommendations")
            time.sleep(0.01)
        assert "answers failed" in str(tm.ReleaseStore(shop_store).get(bad.version).refused)
        while served.http.get("/health").json()["release"] != decision["release"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert served.http.get("/users/u1/recommendations").status_code == 200
        # A release that is damaged on its way is refused, and the service goes on.
        bad = tm.ReleaseStore(tmp_path / "elsewhere").publish(tm.load(shop_store))
        file = next(bad.path.glob("*.safetensors"))
        file.write_bytes(file.read_bytes()[:-9])
        shutil.move(bad.path, shop_store / bad.version)
        serve(shop_store, bad.version)
        while served.http.get("/health").json()["status"] == "ok":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        health = served.http.get("/health").json()
        assert health["release"] == decision["release"]
        assert bad.version in health["problem"]
        assert served.http.get("/users/u4/recommendations").status_code == 200
        # The next training cannot begin from it, and says so; going back mends it.
        failed = tastemap("trainer", "--release", shop_store, "--once")
        assert failed.code == 1
        assert "tastemap releases rollback" in failed.err
        assert tastemap("releases", "rollback", "--release", shop_store).code == 0
        while served.http.get("/health").json()["status"] != "ok":
            assert time.monotonic() < deadline
            time.sleep(0.05)
    shown = tastemap("trainer", "--release", shop_store, "--history")
    assert "published" in shown.out
    assert "refused" in tastemap("releases", "list", "--release", shop_store).out
    assert "asked to" in shown.out
    lines = tastemap("trainer", "--release", shop_store, "--history", "--json").json
    assert [line["outcome"] for line in lines] == ["began", "published"]
    assert json.loads((state / "trainer.jsonl").read_text().splitlines()[1]) == lines[1]
    listed = tastemap("releases", "list", "--release", shop_store, "--json").json
    assert "retrained: asked to" in {each["notes"] for each in listed}


def test_what_the_trainer_cannot_do_is_said(
    tastemap: Command, shop_store: Path, tmp_path: Path
) -> None:
    ran = tastemap("trainer", "--release", shop_store, "--state", tmp_path / "none", "--once")
    assert ran.code == 1
    assert "none" in ran.err
    assert tastemap("trainer", "--release", shop_store, "--every", "soon").code == 2
    assert tastemap("trainer", "--release", shop_store, "--poll", "0s").code == 2
    EventLog(tmp_path / "demo-state").close()
    ran = tastemap("trainer", "--release", shop_store, "--once")
    assert ran.code == 0
    assert ran.out == "kept: nothing was recorded since the release was made\n"
    ran = tastemap("trainer", "--release", shop_store, "--once", "--metric", "coverage@10")
    assert ran.code == 1
    assert "coverage@10 cannot decide" in ran.err
    ran = tastemap("trainer", "--release", tmp_path, "--state", tmp_path / "x", "--history")
    assert "Nothing was decided yet" in ran.err


def test_batch_writes_answers_for_all_or_some(
    tastemap: Command, shop_store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "answers.parquet"
    ran = tastemap("batch", "--release", shop_store, "--out", out, "-k", 5, "--json")
    assert ran.json["rows"] == 60 * 5
    frame = pl.read_parquet(out)
    expected = tm.load(shop_store).recommend(users=frame["user"].unique().sort().to_list(), k=5)
    assert frame["item"].to_list() == expected["item"].to_list()
    pl.DataFrame({"user_id": ["u3", "guest", "nobody"]}).write_csv(tmp_path / "some.csv")
    log = EventLog(tmp_path / "state")
    log.append([[Event("guest", "p3", "view", 1.8e9, 1.0)]])
    log.close()
    arguments = ["--release", shop_store, "--out", out, "--users", tmp_path / "some.csv"]
    ran = tastemap("batch", *arguments, "--state", tmp_path / "state", "-k", 3)
    assert ran.out == f"6 answers for 2 users are in {out}\n"
    assert "1 of 3 users are not known" in ran.err
    guest = pl.read_parquet(out).filter(pl.col("user") == "guest")
    assert guest["source"].unique().to_list() == ["itemknn"]
    assert "p3" not in guest["item"]
    assert tastemap("batch", "--release", shop_store, "--out", tmp_path / "x.csv").code == 2


def test_batch_writes_to_redis(tastemap: Command, shop_store: Path, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as redis:
        ran = tastemap("batch", "--release", shop_store, "--out", redis.url, "-k", 2, "--json")
        assert (ran.json["out"], ran.json["rows"]) == ("Redis", 60 * 2)
        found = PrecomputedRedis(redis.url, timeout=5.0).find(["u3"], ran.json["release"])
        expected = tm.load(shop_store).recommend(users=["u3"], k=2)
        assert found[0] is not None and found[0].items == expected["item"].to_list()
        ran = tastemap("batch", "--release", shop_store, "--out", redis.url, "-k", 2)
        assert ran.out == "120 answers for 60 users are in Redis\n"
    ran = tastemap("batch", "--release", shop_store, "--out", redis.url)
    assert ran.code == 1
    assert "Redis at 127.0.0.1" in ran.err
    assert tastemap("batch", "--release", shop_store, "--out", "http://x").code == 1
