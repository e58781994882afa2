"""What a request costs: the service over a generated catalogue, asked at a fixed rate.

    python -m benchmarks.service_load [--items 1000000] [--users 200000] [--rate 200] [--seconds 20]
        [--minutes 10] [--writes 0.2] [--workers 2] [--redis] [--retrieval] [--keep DIR]
        [--out DIR]

A release over a world of this size is made once and kept: ALS of 64 numbers behind an approximate
index, 500 candidates, DCN-v2; with --retrieval ALS alone. First the stages of an answer are timed
in this process, on one thread, in batches of 1, 8 and 32: milliseconds of processor time a request,
the lower quartile of many. Then a server process is asked in an open loop (`load_generator`) after
a while of warming up: latencies from the time that a request was due, processor time of the server
a request, the server's memory at the start and at the end, and errors. Meanwhile somebody else
takes the first item that is recommended to them, four times a second, and asks until it is gone:
seconds from the event's sending to the changed answer. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.load_generator import Load, Outcome, milliseconds
from benchmarks.service_release import FOLDER, release_of

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")}
_SERVER = """
import sys
from pathlib import Path
from tastemap.online import CacheOptions, serve
release, state, workers, redis = sys.argv[1:]
cache = CacheOptions(redis=redis) if redis else None
serve(Path(release), Path(state), port=0, workers=int(workers), cache=cache)
"""
BATCHES = (1, 8, 32)


# -- stages -------------------------------------------------------------------------------------


def stages(release: Path, users: int, repetitions: int = 200) -> dict[str, dict[int, float]]:
    """Milliseconds of processor time a request, by stage and size of a batch."""
    import tastemap as tm
    from tastemap.online.questions import Ask
    from tastemap.online.serving import Serving

    pipeline = tm.load(release)
    serving = Serving(pipeline, "measured", str.encode)
    retriever = pipeline.retrievers[0]
    spent: dict[str, float] = defaultdict(float)
    _timed(spent, "history", serving.live, "histories")
    _timed(spent, "encode", retriever, "encode_queries")
    for index in pipeline.indices.values():
        _timed(spent, "search", index, "search")
    if pipeline.stage is not None:
        _timed(spent, "features", pipeline.stage.features, "apart")
        _timed(spent, "ranker", pipeline.stage.ranker, "score_requests")
    _timed(spent, "pipeline besides", pipeline, "answer")
    _timed(spent, "reasons", pipeline, "because")
    rng = np.random.default_rng(0)
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for size in BATCHES:
        samples: dict[str, list[float]] = defaultdict(list)
        for repetition in range(max(20, repetitions // size)):
            asked = [Ask(10, str(user)) for user in rng.integers(1, users, size)]
            spent.clear()
            began = time.process_time()
            serving.answer(asked)
            spent["all"] = time.process_time() - began
            if repetition < 5:
                continue
            inside = sum(spent[name] for name in ("encode", "search", "features", "ranker"))
            spent["cards and others"] = spent["all"] - sum(
                spent[name] for name in ("history", "pipeline besides", "reasons")
            )
            spent["pipeline besides"] -= inside
            for name, value in spent.items():
                samples[name].append(value / size * 1e3)
        for name, values in samples.items():
            found[name][size] = float(np.percentile(values, 25))
    return dict(found)


def _timed(spent: dict[str, float], name: str, owner: Any, method: str) -> None:
    inner: Callable[..., Any] = getattr(owner, method)

    def outer(*arguments: Any, **options: Any) -> Any:
        began = time.process_time()
        result = inner(*arguments, **options)
        spent[name] += time.process_time() - began
        return result

    object.__setattr__(owner, method, outer)


# -- a server under load ------------------------------------------------------------------------


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """The address of a Redis that keeps nothing on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", ""]
        process = subprocess.Popen([*command, "--dir", folder], stdout=subprocess.DEVNULL)
        try:
            while not Path(socket).exists():
                process.poll()
                if process.returncode is not None:
                    raise RuntimeError("redis-server did not start")
                time.sleep(0.05)
            yield f"unix://{socket}"
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextlib.contextmanager
def served(release: Path, workers: int, redis: str) -> Iterator[tuple[int, int]]:
    """A server process, with answers remembered in a Redis where there is one; its id and port."""
    with tempfile.TemporaryDirectory() as state:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(release), state, str(workers), redis],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ONE_THREAD, "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        try:
            line = next((line for line in process.stdout if "http://" in line), "")
            found = re.search(r"http://[\w.]+:(\d+)", line)
            if found is None:
                raise RuntimeError("the server did not start")
            _wait_until_ready(int(found[1]))
            yield process.pid, int(found[1])
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_until_ready(port: int) -> None:
    """The address is told before the release is loaded."""
    for _ in range(600):
        with contextlib.suppress(OSError):
            if Load(port, 1, 1, lambda _: (_get("/health"), 0), connections=1).run().errors == 0:
                return
        time.sleep(0.5)
    raise RuntimeError("the server does not answer")


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def requests_of(users: int, items: int, writes: float, seed: int) -> Callable[[int], Any]:
    """Makes requests: recommendations (kind 0), and a share of events (kind 1)."""
    rng = np.random.default_rng(seed)

    def make(_: int) -> tuple[bytes, int]:
        user = int(rng.integers(1, users + 1))
        if rng.random() >= writes:
            return _get(f"/users/{user}/recommendations?k=10"), 0
        event = {"user": user, "item": int(rng.integers(1, items + 1)), "kind": "like"}
        body = json.dumps(event)
        head = (
            "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode(), 1

    return make


def cpu_seconds(process: int) -> float:
    """Of a process and its workers."""
    ticks = 0
    for each in family(process):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident(process: int) -> float:
    """MiB, of a process and its workers; what they share counts for each."""
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in family(process))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Watcher(threading.Thread):
    """Takes what is recommended and looks how long it is still there, until told to stop.

    Attributes:
        seconds: from the sending of each event to the first answer without its item.
    """

    def __init__(self, port: int, users: int, pause: float = 0.25) -> None:
        super().__init__(daemon=True)
        self.seconds: list[float] = []
        self._users, self._pause = users, pause
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self._ended = threading.Event()

    def run(self) -> None:
        rng = np.random.default_rng(3)
        while not self._ended.wait(self._pause):
            user = str(rng.integers(1, self._users + 1))
            before = self._recommended(user)
            if not before:
                continue
            began = time.perf_counter()
            event = {"user": user, "item": before[0], "kind": "like"}
            self._client.post("/events", json=event).raise_for_status()
            while before[0] in self._recommended(user):
                pass
            self.seconds.append(time.perf_counter() - began)

    def stopped(self) -> dict[str, float]:
        """Percentiles of all that was seen, in milliseconds."""
        self._ended.set()
        self.join()
        return milliseconds(np.array(self.seconds))

    def _recommended(self, user: str) -> list[str]:
        answer = self._client.get(f"/users/{user}/recommendations", params={"k": 10})
        return [item["item"] for item in answer.raise_for_status().json()["items"]]


def family(process: int) -> list[int]:
    """A process and those that it started, by their ids."""
    threads = Path(f"/proc/{process}/task").iterdir()
    started = [child for each in threads for child in (each / "children").read_text().split()]
    return [process, *(each for child in started for each in family(int(child)))]


def load(
    release: Path,
    users: int,
    items: int,
    rate: float,
    seconds: float,
    writes: float,
    workers: int,
    redis: bool,
) -> dict[str, Any]:
    """Asks a server so many times a second."""
    with contextlib.ExitStack() as started:
        address = started.enter_context(redis_server()) if redis else ""
        process, port = started.enter_context(served(release, workers, address))
        warm = Load(port, min(rate, 50), 5, requests_of(users, items, writes, 1)).run()
        cpu, memory, began = cpu_seconds(process), resident(process), time.perf_counter()
        watcher = Watcher(port, users)
        watcher.start()
        outcome = Load(port, rate, seconds, requests_of(users, items, writes, 2)).run()
        took = time.perf_counter() - began
        changed = watcher.stopped()
        n = len(outcome.kinds)
        return {
            "rate": rate,
            "seconds": seconds,
            "writes": writes,
            "workers": workers,
            "redis": redis,
            "requests": n,
            "answered_a_second": n / took,
            "errors": outcome.errors + warm.errors,
            "cpu_ms_a_request": (cpu_seconds(process) - cpu) / n * 1e3,
            "generator_ms_a_request": outcome.own_cpu / n * 1e3,
            "memory_mib": [memory, resident(process)],
            **_latencies(outcome),
            "event to changed answer": changed,
        }


def _latencies(outcome: Outcome) -> dict[str, Any]:
    kinds = {"recommendations": 0, "events": 1}
    return {name: found for name, kind in kinds.items() if (found := outcome.percentiles(kind))}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--minutes", type=float, help="in place of --seconds")
    parser.add_argument("--writes", type=float, default=0.0, help="share of requests")
    parser.add_argument("--workers", type=int, default=1, help="processes that answer")
    parser.add_argument("--redis", action="store_true", help="remember answers in a Redis")
    parser.add_argument("--retrieval", action="store_true", help="without a ranker")
    parser.add_argument("--keep", type=Path, default=FOLDER, help="where worlds and releases are")
    parser.add_argument("--stages", action="store_true", help="only the cost of stages")
    parser.add_argument("--out", type=Path, help="writes the result there too")
    said = parser.parse_args()
    os.environ.update(ONE_THREAD)
    release = release_of(said.users, said.items, not said.retrieval, said.keep)
    found = stages(release, said.users)
    _print_stages(found)
    result: dict[str, Any] = {"items": said.items, "users": said.users, "stages": found}
    if not said.stages:
        seconds = said.seconds if said.minutes is None else 60 * said.minutes
        measured = load(
            release,
            said.users,
            said.items,
            said.rate,
            seconds,
            said.writes,
            said.workers,
            said.redis,
        )
        print(json.dumps(measured, indent=1))
        result["load"] = measured
    if said.out:
        from benchmarks import results

        name = f"{said.items}-{'retrieval' if said.retrieval else 'ranked'}"
        name += "-writes" if said.writes else ""
        name += "-redis" if said.redis else ""
        name += f"-{said.workers}-workers" if said.workers > 1 else ""
        asked = " ".join(sys.argv[1:]).replace(f"--out {said.out}", "").strip()
        result["command"] = f"python -m benchmarks.service_load {asked}"
        print("wrote", results.write("service-load", name, result, said.out))


def _print_stages(found: dict[str, dict[int, float]]) -> None:
    print("ms of processor time a request".ljust(32), *(f"{size:>8}" for size in BATCHES))
    for name, by_size in found.items():
        print(name.ljust(32), *(f"{by_size[size]:8.2f}" for size in BATCHES))


if __name__ == "__main__":
    main()
