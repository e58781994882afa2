"""Several workers on one port: one log, one set of numbers, and a supervisor that replaces them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import pytest
from served import Served

from tastemap.errors import ReleaseError
from tastemap.online import serve


def process_of(http: httpx.Client) -> int:
    return int(http.get("/health").json()["process"])


def one_of_each(served: Served) -> dict[int, httpx.Client]:
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
        if process in found:
            http.close()
        else:
            found[process] = http
    return found


def test_a_worker_that_is_down_is_said_until_another_is_ready(two_workers: Served) -> None:
    (gone, closed), (_, http) = one_of_each(two_workers).items()
    closed.close()
    assert http.get("/health").json()["status"] == "ok"
    os.kill(gone, signal.SIGKILL)
    while counted(http, "tastemap_missing_workers") != 1:
        time.sleep(0.01)
    health = http.get("/health").json()
    assert health["status"] == "degraded"
    assert health["problem"].startswith("workers that are down and started again: 1")
    while counted(http, "tastemap_missing_workers"):
        time.sleep(0.05)
    assert http.get("/health").json()["problem"] is None


def items(http: httpx.Client, user: str) -> set[str]:
    answer = http.get(f"/users/{user}/recommendations?k=50").json()
    return {item["item"] for item in answer["items"]}


def counted(http: httpx.Client, name: str) -> float:
    """The sum of the samples that begin so."""
    lines = http.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_an_event_to_one_changes_the_next_answer_of_the_other(two_workers: Served) -> None:
    one, other = one_of_each(two_workers).values()
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


def test_metrics_are_sums_over_the_workers(two_workers: Served) -> None:
    one, other = one_of_each(two_workers).values()
    name = 'tastemap_requests_total{method="GET",route="/items/{item:id}/similar",status="200"}'
    before = counted(one, name)
    for http in (one, one, other):
        assert http.get("/items/i4/similar").status_code == 200
    assert counted(one, name) == counted(other, name) == before + 3
    assert counted(one, "tastemap_log_offset ") == one.get("/health").json()["events_recorded"]
    assert counted(other, "process_resident_memory_bytes ") > 1e8
    assert "\ntastemap_request_seconds_bucket{" in other.get("/metrics").text


def test_connections_that_come_at_once_are_dealt_out(two_workers: Served) -> None:
    clients = [httpx.Client(base_url=two_workers.url, timeout=30) for _ in range(40)]
    processes = [process_of(http) for http in clients]
    for http in clients:
        http.close()
    assert {processes.count(process) for process in processes} <= set(range(8, 33))


@pytest.mark.parametrize("workers", [1, 2])
def test_no_release_is_said_before_anything_is_made_or_started(
    tmp_path: Path, workers: int
) -> None:
    with pytest.raises(ReleaseError, match="there is nothing at"):
        serve(tmp_path / "nothing", tmp_path / "state", port=0, workers=workers)
    assert not (tmp_path / "state").exists()
