"""Several workers on one port: one log, one set of numbers, and a supervisor that replaces them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest
from served import Served

import tastemap as tm
from tastemap.errors import ReleaseError
from tastemap.online import serve

FRAME = pl.DataFrame(
    {"user": [f"u{n % 7}" for n in range(60)], "item": [f"i{(n * n) % 11}" for n in range(60)]}
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tm.Dataset.from_frame(FRAME, user="user", item="item")
    path = tmp_path_factory.mktemp("release") / "store"
    tm.ReleaseStore(path).publish(tm.ItemKNN().fit(data))
    return path


@pytest.fixture(scope="module")
def served(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(store, tmp_path_factory.mktemp("state"), workers=2) as served:
        yield served


def process_of(http: httpx.Client) -> int:
    return int(http.get("/health").json()["process"])


def one_of_each(served: Served, but: tuple[int, ...] = ()) -> dict[int, httpx.Client]:
    """A kept connection to each of two workers, by process id."""
    found: dict[int, httpx.Client] = {}
    deadline = time.monotonic() + 60
    while len(found) < 2:
        assert time.monotonic() < deadline, "".join(served.output)
        http = httpx.Client(base_url=served.url, timeout=30)
        try:
            process = process_of(http)
        except httpx.TransportError:
            continue
        if process in found or process in but:
            http.close()
        else:
            found[process] = http
    return found


def items(http: httpx.Client, user: str) -> set[str]:
    answer = http.get(f"/users/{user}/recommendations?k=50").json()
    return {item["item"] for item in answer["items"]}


def counted(http: httpx.Client, name: str) -> float:
    """The sum of the samples that begin so."""
    lines = http.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_an_event_to_one_changes_the_next_answer_of_the_other(served: Served) -> None:
    one, other = one_of_each(served).values()
    for number in range(20):
        user, taker, asked = f"someone {number}", *((one, other) if number % 2 else (other, one))
        assert "i4" in items(asked, user)
        assert taker.post("/events", json={"user": user, "item": "i4"}).status_code == 200
        assert "i4" not in items(asked, user)
    assert taker.delete(f"/users/{user}").json()["events"] == 1
    assert "i4" in items(asked, user)
    # Sent again to the other, an event is still the same.
    event = {"user": "u1", "item": "i4", "id": "x"}
    assert one.post("/events", json=event).json()["accepted"] == 1
    assert other.post("/events", json=event).json()["duplicates"] == 1


def test_metrics_are_sums_over_the_workers(served: Served) -> None:
    one, other = one_of_each(served).values()
    name = 'tastemap_requests_total{method="GET",route="/items/{item:id}/similar",status="200"}'
    before = counted(one, name)
    for http in (one, one, other):
        assert http.get("/items/i4/similar").status_code == 200
    assert counted(one, name) == counted(other, name) == before + 3
    assert counted(one, "tastemap_log_offset ") == one.get("/health").json()["events_recorded"]
    assert counted(other, "process_resident_memory_bytes ") > 1e8
    assert "\ntastemap_request_seconds_bucket{" in other.get("/metrics").text


def test_connections_that_come_at_once_are_dealt_out(served: Served) -> None:
    clients = [httpx.Client(base_url=served.url, timeout=30) for _ in range(40)]
    processes = [process_of(http) for http in clients]
    for http in clients:
        http.close()
    assert {processes.count(process) for process in processes} <= set(range(8, 33))


def test_a_killed_worker_is_replaced_and_the_other_goes_on(served: Served) -> None:
    kept = one_of_each(served)
    killed, left = kept
    kept[left].post("/events", json={"user": "u2", "item": "i9"})
    requests = counted(kept[left], "tastemap_requests_total")
    os.kill(killed, signal.SIGKILL)
    for _ in range(20):
        assert kept[left].get("/users/u2/recommendations").status_code == 200
    both = one_of_each(served, but=(killed,))
    assert left in both
    (new,) = set(both) - {left}
    assert "i9" not in items(both[new], "u2")
    assert counted(both[new], "tastemap_requests_total") > requests
    assert any(f"worker {killed}" in line for line in served.output)


def test_terminated_it_ends_with_all_its_workers(served: Served) -> None:
    processes = list(one_of_each(served))
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(30) == 0
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_no_release_is_said_before_workers_start(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="there is nothing at"):
        serve(tmp_path / "nothing", tmp_path / "state", port=0, workers=2)
