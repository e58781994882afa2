"""Worker processes are replaced when they die, and never outlive their supervisor."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from light_workers import Flaky

from tastemap.supervision import WorkerError, supervise


def test_what_keeps_a_worker_from_starting_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="worker cannot start: the moon is not right"):
        supervise(Flaky(tmp_path, 1), 2, ready=pytest.fail)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_place_where_all_fail_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tastemap.supervision._ATTEMPTS", 2)
    ready = threading.Event()
    with pytest.raises(WorkerError, match="no worker can be started"):
        supervise(Flaky(tmp_path, 2), 2, ready=ready.set)
    assert ready.is_set()
    assert len(list(tmp_path.iterdir())) == 6
    assert "the moon is not right; it is given up" in caplog.text


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
