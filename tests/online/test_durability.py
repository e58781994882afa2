"""kill -9 loses no acknowledged event and doubles none."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import httpx
from served import Served

WRITERS = 4


def test_kill_9_loses_no_acknowledged_event(release: Path, tmp_path: Path) -> None:
    acknowledged: list[list[str]] = [[] for _ in range(WRITERS)]
    unsure: list[str] = [""] * WRITERS

    def write(served: Served, writer: int, enough: threading.Event) -> None:
        with httpx.Client(base_url=served.url, timeout=30) as http:
            for number in itertools.count(len(acknowledged[writer])):
                unsure[writer] = f"{writer}-{number}"
                event = {
                    "user": f"writer {writer}",
                    "item": str(number % 1500 + 1),
                    "time": number,
                    "id": unsure[writer],
                }
                try:
                    answer = http.post("/events", json=event)
                except httpx.TransportError:
                    return
                assert answer.status_code == 200
                acknowledged[writer].append(event["item"])
                if sum(map(len, acknowledged)) >= 200:
                    enough.set()

    with Served(release, tmp_path) as served:
        enough = threading.Event()
        threads = [
            threading.Thread(target=write, args=(served, writer, enough))
            for writer in range(WRITERS)
        ]
        for thread in threads:
            thread.start()
        assert enough.wait(60)
        served.kill()
        for thread in threads:
            thread.join()

    with Served(release, tmp_path) as served:
        for writer in range(WRITERS):
            history = served.http.get(f"/users/writer {writer}/history?limit=500").json()
            kept = [item["item"] for item in reversed(history["items"])]
            # The last event may have reached the disk without its acknowledgement.
            known = acknowledged[writer][-500:]
            assert history["count"] - len(acknowledged[writer]) in (0, 1)
            assert len(acknowledged[writer]) < 500, "the history is longer than can be asked for"
            assert kept[: len(known)] == known
            answer = served.http.get(f"/users/writer {writer}/recommendations?k=100").json()
            assert not {item["item"] for item in answer["items"]} & set(known)
            # Sent again, as a client that got no answer does, it is there once.
            number = len(acknowledged[writer])
            event = {
                "user": f"writer {writer}",
                "item": str(number % 1500 + 1),
                "time": number,
                "id": unsure[writer],
            }
            assert unsure[writer] == f"{writer}-{number}"
            assert served.http.post("/events", json=event).status_code == 200
            again = served.http.get(f"/users/writer {writer}/history").json()
            assert again["count"] == number + 1
