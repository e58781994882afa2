"""`recommend`, `similar` and `serve`: what a release answers, printed, written and over HTTP."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import polars as pl
import pytest
from ran import Command

import tastemap as tm


def test_recommend_says_what_the_library_says(tastemap: Command, store: Path) -> None:
    said = tastemap(
        "recommend", "--release", store, "--user", "u1", "--user", "nobody", "-k", 4, "--json"
    ).json
    expected = tm.load(store).recommend(users=["u1", "nobody"], k=4)
    known, stranger = said["answers"]
    assert [known["user"], stranger["user"]] == ["u1", "nobody"]
    found = [each["item"] for each in known["items"] + stranger["items"]]
    assert found == expected["item"].to_list()
    assert [each["rank"] for each in known["items"]] == [1, 2, 3, 4]
    assert {each["source"] for each in known["items"]} == {"itemknn"}
    assert {each["source"] for each in stranger["items"]} == {"popularity"}
    assert said["release"] == tm.ReleaseStore(store).current_version()


def test_a_ranker_is_refused_where_lists_are_asked_for(tastemap: Command, tmp_path: Path) -> None:
    rows = pl.DataFrame({"city": ["a", "b"] * 4, "click": [0, 1] * 4})
    tm.FM(epochs=1).fit_frame(rows).save(tmp_path / "ranker")
    for command in ("recommend --user u1", "similar --item p1"):
        ran = tastemap(*command.split(), "--release", tmp_path / "ranker")
        assert ran.code != 0
        assert "holds a FM, which orders rows of features" in ran.err


def test_recommend_for_a_history_shows_titles(tastemap: Command, store: Path) -> None:
    asked = ["recommend", "--release", store, "--history", "p20", "--history", "p21", "-k", 5]
    shown = tastemap(*asked)
    assert shown.code == 0, shown.err
    assert shown.out.count("coffee no.") == 5
    (answer,) = tastemap(*asked, "--json").json["answers"]
    assert answer["history"] == ["p20", "p21"]
    assert all(each["title"] == f"coffee no. {each['item'][1:]}" for each in answer["items"])
    assert not {"p20", "p21"} & {each["item"] for each in answer["items"]}
    again = tastemap(*asked, "--include-seen", "-k", 30, "--json").json["answers"][0]
    assert {"p20", "p21"} <= {each["item"] for each in again["items"]}


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_recommend_to_everybody(
    tastemap: Command, store: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several batches, the last one smaller.
    monkeypatch.setattr("tastemap.cli.writing._BATCH", 25)
    out = tmp_path / f"all{suffix}"
    ran = tastemap("recommend", "--release", store, "--all", "--out", out, "-k", 3)
    assert ran.code == 0, ran.err
    readers = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".jsonl": pl.read_ndjson}
    written = readers[suffix](out)
    pipeline = tm.load(store)
    expected = pipeline.recommend(users=pipeline.users.ids_array.to_pylist(), k=3)
    assert written.drop("score").rows() == expected.drop("score").rows()
    assert written["score"].to_list() == pytest.approx(expected["score"].to_list(), rel=1e-5)
    assert "180 recommendations for 60 users" in ran.out
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_similar(tastemap: Command, store: Path) -> None:
    said = tastemap("similar", "--release", store, "--item", "p3", "-k", 5, "--json").json
    (answer,) = said["answers"]
    assert answer["item"] == "p3"
    assert [each["item"] for each in answer["items"]] == (
        tm.load(store).similar(["p3"], k=5)["similar"].to_list()
    )
    assert all(each["title"].startswith("tea") for each in answer["items"])
    assert "tea no." in tastemap("similar", "--release", store, "--item", "p3").out


@contextmanager
def serving(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`tastemap serve` as a process, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tastemap", "serve", "--port", "0", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"http://\S+:\d+", line):
                yield process, found[0]
                return
        raise AssertionError(f"it ended without serving:\n{said}")
    finally:
        process.kill()
        process.wait()


def test_serve_answers_over_http(store: Path, tmp_path: Path) -> None:
    release = tmp_path / "shop"
    shutil.copytree(store, release)
    with (
        serving("--release", release) as (process, url),
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        first = client.get("/users/u1/recommendations", params={"k": 3}).json()
        assert first["release"] == tm.ReleaseStore(release).current_version()
        best = first["items"][0]["item"]
        client.post("/events", json={"user": "u1", "item": best}).raise_for_status()
        after = client.get("/users/u1/recommendations", params={"k": 3}).json()
        assert best not in [each["item"] for each in after["items"]]
        assert "<html" in client.get("/").text
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    # Nothing was said of a state folder, so it lies beside the release.
    assert any((tmp_path / "shop-state").iterdir())


def test_a_port_that_is_taken(store: Path, tmp_path: Path, tastemap: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ran = tastemap("serve", "--release", store, "--state", tmp_path, "--port", port)
    assert ran.code == 1
    assert "port is taken" in ran.err


def test_json_on_stdout_is_alone(store: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tastemap", "recommend", "--release", str(store), "--user", "u1",
         "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(ran.stdout)["answers"][0]["user"] == "u1"
