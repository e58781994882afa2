"""Worker processes are replaced when they die, and never outlive their supervisor."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from light_workers import Flaky, Hindered

from tastemap.supervision import WorkerError, _note_end, _Place, _Worker, supervise


def test_what_keeps_a_worker_from_starting_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="worker cannot start: the moon is not right"):
        supervise(Flaky(tmp_path, 1), 2, ready=pytest.fail)
    assert len(list(tmp_path.iterdir())) == 2


def test_places_where_workers_keep_failing_are_tried_until_they_recover(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tastemap.supervision._LONGEST_SECONDS", 0.05)
    told: list[int] = []
    ready = threading.Event()

    def until(found: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not found() and time.monotonic() < end:
            time.sleep(0.02)

    def starts() -> list[int]:
        return [int(path.name.split()[-1]) for path in tmp_path.glob("start *")]

    def disturb() -> None:
        ready.wait(60)
        (tmp_path / "full").touch()
        for process in starts():
            os.kill(process, signal.SIGKILL)
        until(lambda: len(starts()) > 16)
        (tmp_path / "full").unlink()
        until(lambda: told[-1:] == [0])
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=disturb)
    thread.start()
    supervise(Hindered(tmp_path), 2, ready=ready.set, missing=told.append)
    thread.join()
    assert len(starts()) > 16
    assert max(told) == 2
    assert told[-1] == 0
    assert "the disk is full; another starts in 0.05 s" in caplog.text


def test_pauses_between_starts_grow_up_to_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    place = _Place()
    for _ in range(1200):
        process = multiprocessing.get_context("spawn").Process()
        worker = _Worker(process, multiprocessing.Pipe()[0], reason="no")
        _note_end(place, worker, at_start=False)
    said = [float(record.getMessage().split()[-2]) for record in caplog.records]
    assert said[:9] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert said[-1] == 60


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_supervisor(end: signal.Signals) -> None:
    import light_workers

    supervisor = subprocess.Popen(
        [sys.executable, light_workers.__file__, "2"], stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    said = [supervisor.stdout.readline().strip() for _ in range(3)]
    assert said[2] == "ready"
    supervisor.send_signal(end)
    assert supervisor.wait(20) == (-end if end == signal.SIGKILL else 0)
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{process}").exists() for process in said[:2]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    supervisor.stdout.close()
