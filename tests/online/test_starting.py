"""Starting the service: what can be served, and what is said when it cannot start."""

from __future__ import annotations

import socket
from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient

import tastemap as tm
from tastemap.errors import ReleaseError
from tastemap.online import create_app, serve
from tastemap.online.reasons import popular_with
from tastemap.online.server import ServerError

BARE = pl.DataFrame({"user": [1, 1, 2, 2, 3], "item": [10, 20, 10, 30, 10]})


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A bare model of integer ids, without times, values, titles or profiles."""
    data = tm.Dataset.from_frame(BARE, user="user", item="item")
    return tm.Popularity().fit(data).save(tmp_path / "model")


def test_a_bare_model_without_titles_is_served(bare: Path, tmp_path: Path) -> None:
    with TestClient(create_app(bare, tmp_path / "state")) as http:
        answer = http.get("/users/2/recommendations").json()
        assert [item["item"] for item in answer["items"]] == ["20"]
        assert set(answer["items"][0]) == {"item", "genres", "score", "source", "reason"}
        assert http.get("/users/x9/recommendations").status_code == 200
        assert http.get("/items/010/similar").status_code == 404
        assert http.get("/items?query=1").json()["items"] == [{"item": "10", "genres": []}]
        assert http.get("/users?query=2").json()["users"] == [
            {"user": "2", "events": 2, "profile": {}}
        ]
        assert http.post("/events", json={"user": 2, "item": 20}).json()["accepted"] == 1
        assert http.get("/users/2/recommendations").json()["items"] == []
        assert http.get("/", follow_redirects=False).headers["location"] == "/docs"


def test_servers_of_one_state_folder_tell_each_other(bare: Path, tmp_path: Path) -> None:
    with (
        TestClient(create_app(bare, tmp_path / "state")) as one,
        TestClient(create_app(bare, tmp_path / "state")) as other,
    ):
        assert one.post("/events", json={"user": 2, "item": 20}).json()["accepted"] == 1
        assert other.get("/users/2/recommendations").json()["items"] == []
        assert other.post("/events", json={"user": 3, "item": 30}).json()["accepted"] == 1
        assert [item["item"] for item in one.get("/users/3/history").json()["items"]] == [
            "30",
            "10",
        ]
        assert one.get("/health").json()["events_recorded"] == 2


def test_a_server_starts_again_where_it_was(bare: Path, tmp_path: Path) -> None:
    with TestClient(create_app(bare, tmp_path / "state")) as http:
        http.post("/events", json=[{"user": "u", "item": item, "time": 5} for item in (10, 20)])
        before = http.get("/users/u/history").json()
        assert before["count"] == 2
    with TestClient(create_app(bare, tmp_path / "state")) as http:
        assert http.get("/users/u/history").json() == before
        assert http.get("/health").json()["events_recorded"] == 2


def test_no_release_is_said_and_the_state_is_let_go(bare: Path, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError):
        create_app(tmp_path / "nothing", tmp_path / "state")
    with TestClient(create_app(bare, tmp_path / "state")) as http:
        assert http.get("/health").json()["model"] == "popularity"


def test_a_taken_port_is_said(bare: Path, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ServerError, match=r"is taken.*--port"),
    ):
        serve(bare, tmp_path / "state", port=taken.getsockname()[1])


@pytest.mark.parametrize(("host", "port"), [("203.0.113.1", 0), ("no such host", 0)])
def test_a_wrong_address_is_said(bare: Path, tmp_path: Path, host: str, port: int) -> None:
    with pytest.raises(ServerError, match="cannot listen"):
        serve(bare, tmp_path / "state", host=host, port=port)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("popularity", "Popular right now"),
        ("popularity:gender=F", "Popular with women"),
        ("popularity:gender=nonbinary", "Popular with nonbinary people"),
        ("popularity:age=25–34", "Popular with people aged 25–34"),
        ("popularity:home_town=a=b", "Popular with people whose home town is a=b"),
    ],
)
def test_popularity_is_explained(source: str, reason: str) -> None:
    assert popular_with(source) == reason
