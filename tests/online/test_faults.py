"""A full disk and a clock that goes back: answers go on, and all is well again by itself."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient

import tastemap as tm
from tastemap.online import create_app

FRAME = pl.DataFrame(
    {
        "user": [f"u{n % 7}" for n in range(60)],
        "item": [f"i{(n * n + n // 7) % 11}" for n in range(60)],
    }
)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    data = tm.Dataset.from_frame(FRAME, user="user", item="item")
    return tm.ItemKNN().fit(data).save(tmp_path / "release")


def _mount(folder: Path, *options: str) -> bool:
    command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture(params=["small disk", "file size limit"])
def full(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A state folder with room for two megabytes, and what makes more room."""
    state = tmp_path / "state"
    state.mkdir()
    if request.param == "small disk":
        if not _mount(state, "-o", "size=2m"):
            pytest.skip("mounting a small disk is not permitted here")
        yield state, lambda: _remount(state)
        subprocess.run(["umount", "--lazy", str(state)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard))
    yield state, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _remount(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)


def test_a_full_disk_refuses_events_and_goes_on_answering(
    release: Path, full: tuple[Path, Callable[[], None]]
) -> None:
    state, make_room = full
    with (
        TestClient(create_app(release, state)) as http,
        TestClient(create_app(release, state)) as other,
    ):
        accepted: list[list[str]] = []
        refused = None
        for number in range(400):
            batch = [
                {"user": "u1", "item": "i1", "id": f"{number}-{n}", "token": "t" * 1000}
                for n in range(20)
            ]
            answer = http.post("/events", json=batch)
            if answer.status_code != 200:
                refused = answer
                break
            accepted.append([event["id"] for event in batch])
        assert refused is not None
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json()["detail"][0]["type"] == "not_recorded"
        for app in (http, other):
            assert app.post("/events", json=batch).status_code == 503
            answer = app.get("/users/u2/recommendations")
            assert answer.status_code == 200
            assert answer.json()["items"]
            assert app.get("/health").status_code == 200
            known = app.get("/users/u1/history?limit=1").json()["count"]
            assert known == FRAME.filter(pl.col("user") == "u1").height + 20 * len(accepted)
        make_room()
        assert other.post("/events", json=batch).json() == {"accepted": 20, "duplicates": 0}
        accepted.append([event["id"] for event in batch])
        assert http.post("/events", json=batch).json() == {"accepted": 0, "duplicates": 20}
        kept = [event["id"] for event in http.get("/users/u1/data").json()["events"]]
        assert kept == [id_ for ids in accepted for id_ in ids]


def test_a_clock_that_goes_back(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    with TestClient(create_app(release, tmp_path / "state")) as http:
        posted = []
        for step, item in ((0.0, "i1"), (-3 * 86_400.0, "i4"), (-1e8, "i9"), (60.0, "i5")):
            monkeypatch.setattr(time, "time", lambda step=step: real() + step)
            assert http.post("/events", json={"user": "new", "item": item}).status_code == 200
            posted.append(item)
            # A sender whose clock is right does not seem to live in the future.
            event = {"user": "right", "item": item, "time": real()}
            assert http.post("/events", json=event).status_code == 200
            for user in ("new", "right"):
                history = http.get(f"/users/{user}/history").json()
                assert [one["item"] for one in history["items"]] == posted[::-1]
                answer = http.get(f"/users/{user}/recommendations?k=50").json()
                assert not {one["item"] for one in answer["items"]} & set(posted)
            assert http.get("/health").json()["events_recorded"] == 2 * len(posted)
    with TestClient(create_app(release, tmp_path / "state")) as http:
        history = http.get("/users/new/history").json()
        assert [one["item"] for one in history["items"]] == posted[::-1]
