"""The command, listening to other machines: keys, limits and logs hold in every worker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tastemap.online.access import add_key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operating")


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """What the process writes to standard error."""
    return []


@pytest.fixture(scope="module")
def url(small: Path, folder: Path, lines: list[str]) -> Iterator[str]:
    command = [sys.executable, "-m", "tastemap", "serve", "--release", small, "--port", "0"]
    command += ["--state", folder / "state", "--host", "0.0.0.0", "--workers", "2"]
    command += ["--keys", folder / "keys.toml", "--log-format", "json", "--rate-limit", "200"]
    add_key(folder / "keys.toml", "first", ["admin"])
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    reader = threading.Thread(target=lines.extend, args=(process.stderr,))
    reader.start()
    found = next(
        (match for line in process.stdout if (match := re.search(r"http://\S+", line))), None
    )
    try:
        assert found is not None, "".join(lines)
        yield found[0]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        reader.join(10)
        process.stdout.close()
        process.stderr.close()


def test_every_worker_asks_for_keys_and_learns_of_new_ones(url: str, folder: Path) -> None:
    secret = add_key(folder / "keys.toml", "later", ["read", "write"])
    workers: set[int] = set()
    deadline = time.monotonic() + 20
    while len(workers) < 2 and time.monotonic() < deadline:
        with httpx.Client(base_url=url, verify=False) as http:
            assert http.get("/items").status_code == 401
            if http.get("/items", headers={"X-API-Key": secret}).status_code == 200:
                workers.add(http.get("/health").json()["process"])
    assert len(workers) == 2, "a worker has not learned of the new key"
    assert httpx.delete(f"{url}/users/u1", headers={"X-API-Key": secret}).status_code == 403


def test_what_all_workers_have_shown_is_one_sum(url: str, folder: Path) -> None:
    http = httpx.Client(base_url=url)
    http.headers["Authorization"] = f"Bearer {add_key(folder / 'keys.toml', 'sum', ['admin'])}"
    deadline = time.monotonic() + 20
    while http.get("/items").status_code == 401 and time.monotonic() < deadline:
        time.sleep(0.1)

    def shown() -> float:
        text = http.get("/metrics").text
        values = re.findall(r"^tastemap_impressions_total\{.*\} (\S+)$", text, re.MULTILINE)
        return sum(map(float, values))

    before = shown()
    processes = set()
    for _ in range(20):
        with httpx.Client(base_url=url, headers=http.headers, verify=False) as other:
            processes.add(other.get("/health").json()["process"])
            answer = other.get("/users/u3/recommendations?k=5")
            if answer.status_code == 401:
                continue  # this worker looks at the keys within a second
            assert len(answer.json()["items"]) == 5
            time.sleep(0.06)
    asked = shown() - before
    assert len(processes) == 2
    assert asked % 5 == 0
    assert asked > 50
    http.close()


def test_every_line_is_json_without_ids(url: str, lines: list[str]) -> None:
    for path in ("/users/mallory%0aforged/history", "/mallory", "/items/mallory"):
        httpx.get(url + path)
    with httpx.Client() as http:
        http.get(url + "/health", headers={"X-Request-ID": "the-last-one"})
    deadline = time.monotonic() + 20
    while not any("the-last-one" in line for line in lines) and time.monotonic() < deadline:
        time.sleep(0.05)
    records = [json.loads(line) for line in lines if not line.startswith("Events are recorded")]
    assert {record["logger"] for record in records} >= {"tastemap.requests"}
    assert len({record["process"] for record in records}) >= 2
    assert not any("mallory" in line for line in lines)
