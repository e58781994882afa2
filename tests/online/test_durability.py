"""kill -9 loses no acknowledged event and doubles none."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import httpx
from served import Served

from tastemap.online.event_log import EventReader

WRITERS = 4
EACH = 2500


class Writer(threading.Thread):
    """Sends its events in order, in lists of any length; without an answer it sends a list again,
    as it cannot know what became of it."""

    def __init__(self, number: int, url: str) -> None:
        super().__init__()
        self.user = f"writer {number}"
        self.events = [
            {"user": self.user, "item": f"i{n % 11}", "time": n, "id": f"{number}-{n}"}
            for n in range(EACH)
        ]
        self.acknowledged = 0
        self.unsure = 0
        self.failure: BaseException | None = None
        self._url = url
        self._draw = random.Random(number)

    def run(self) -> None:
        try:
            while self.acknowledged < EACH:
                # Of a new connection each time, so that any worker may get it.
                with httpx.Client(base_url=self._url, timeout=30, verify=False) as http:
                    self._write(http)
        except BaseException as error:
            self.failure = error

    def _write(self, http: httpx.Client) -> None:
        for _ in range(20):
            start = self.acknowledged
            part = self.events[start : start + self._draw.randint(1, 40)]
            if not part:
                return
            try:
                answer = http.post("/events", json=part)
            except httpx.TransportError:
                self.unsure += 1
                time.sleep(0.2)
                return
            assert answer.status_code == 200, answer.text
            self.acknowledged += len(part)


def test_kill_9_at_random_moments_of_10_000_events(two_workers: Served) -> None:
    writers = [Writer(number, two_workers.url) for number in range(WRITERS)]
    before = two_workers.http.get("/health").json()["events_recorded"]
    first, second = sorted(random.sample(range(500, WRITERS * EACH - 500), 2))
    for writer in writers:
        writer.start()
    # One worker while the other goes on, and then all.
    for moment, doomed in ((first, 1), (second, 2)):
        while sum(writer.acknowledged for writer in writers) < moment:
            assert all(writer.failure is None for writer in writers)
            time.sleep(0.002)
        # The first one killed may not have been replaced yet.
        workers = two_workers.workers()
        for worker in random.sample(workers, min(doomed, len(workers))):
            os.kill(worker, signal.SIGKILL)
    for writer in writers:
        writer.join()
        assert writer.failure is None
    for writer in writers:
        with httpx.Client(base_url=two_workers.url, timeout=30, verify=False) as http:
            assert http.get(f"/users/{writer.user}/history").json()["count"] == EACH
            answer = http.get(f"/users/{writer.user}/recommendations").json()
            assert answer["items"] == []  # all eleven items are known
            again = http.post("/events", json=writer.events[-40:])
            assert again.json() == {"accepted": 0, "duplicates": 40}
    log = EventReader(Path(two_workers.state))
    for writer in writers:
        kept = [event.id for event in log.events_of(writer.user)]
        assert kept == [event["id"] for event in writer.events]
    assert log.last_offset == before + WRITERS * EACH
    log.close()
    # What dead workers counted still counts, but for the lists that they had in hand.
    with httpx.Client(base_url=two_workers.url, timeout=30, verify=False) as http:
        lines = http.get("/metrics").text.splitlines()
    (line,) = [
        line for line in lines if line.startswith('tastemap_events_total{result="accepted"}')
    ]
    assert float(line.split()[-1]) >= before + WRITERS * EACH - 2 * WRITERS * 40
