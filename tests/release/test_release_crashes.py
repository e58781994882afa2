"""Kills and several writers at once: the store always serves a complete release."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import tastemap as tm
from tastemap.errors import ReleaseError
from tastemap.release.lock import exclusive

PUBLISHER = Path(__file__).with_name("publisher.py")


def is_complete(model):
    """Whether what was learned and what it was learned from belong together."""
    return model.weights.sum() == model.data.n_events


def start_publisher(store, *arguments):
    process = subprocess.Popen(
        [sys.executable, PUBLISHER, store.path, *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_publisher_killed_at_every_step_leaves_a_store_that_serves(store):
    """The publisher is a real process that sends itself SIGKILL before each change of the disk."""
    process = start_publisher(store, "steps")
    outcomes = process.communicate(timeout=200)[0].split()
    assert process.returncode == 0
    # Killed early the old release stays, killed late the new one is served, and never in between.
    assert outcomes == sorted(outcomes, reverse=True)
    assert outcomes.count("old") > 15


def test_a_publisher_killed_at_random_moments_leaves_a_store_that_serves(store, model):
    process = start_publisher(store, "kills", "25")
    process.communicate(timeout=200)
    assert process.returncode == 0
    version = store.publish(model).version
    assert store.current_version() == version
    assert not [name for name in os.listdir(store.path) if name.endswith((".staged", ".replaced"))]


def test_readers_load_a_complete_release_while_a_publisher_publishes_and_prunes(store, model):
    store.publish(model)
    process = start_publisher(store, "loop")
    seen = set()
    deadline = time.monotonic() + 60
    try:
        while len(seen) < 8 and time.monotonic() < deadline:
            loaded = tm.release.load_release(store.path)
            assert is_complete(loaded.object)
            seen.add(loaded.version)
    finally:
        process.kill()
        process.communicate()
    assert len(seen) == 8


def test_publishers_at_once_take_turns(store, model):
    store.publish(model)
    process = start_publisher(store, "together", "4")
    published = [line.split() for line in process.communicate(timeout=200)[0].splitlines()]
    assert process.returncode == 0
    versions = sorted(version for part in published for version in part)
    assert len(set(versions)) == 12
    assert all(part == sorted(part) for part in published)
    listed = store.list()
    assert [release.version for release in listed][:-1] == versions[::-1]
    assert all(store.check(release.version) == [] for release in listed)
    assert store.current_version() == versions[-1]
    history = (store.path / "HISTORY").read_text().split()[1::2]
    assert history[1:] == versions


def test_a_writer_that_waits_too_long_names_the_holder(store, model):
    store.publish(model)
    impatient = tm.ReleaseStore(store.path, lock_wait_seconds=0.1)
    with exclusive(store.path / ".tastemap-lock", wait_seconds=0):
        for write in (
            lambda: impatient.publish(model),
            impatient.roll_back,
            lambda: impatient.prune(keep=1),
        ):
            with pytest.raises(ReleaseError, match=rf"process {os.getpid()} .* more than 0.1 s"):
                write()
        assert store.check() == []
        tm.load(store.path)


def test_the_lock_excludes_threads_and_is_free_after_an_error(tmp_path):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        with exclusive(tmp_path / "lock", wait_seconds=20):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "lock", wait_seconds=0):
        raise ZeroDivisionError
    with exclusive(tmp_path / "lock", wait_seconds=0):
        pass


def test_the_lock_of_a_killed_holder_is_free(store, model):
    store.publish(model)
    script = (
        "import sys, time; from pathlib import Path; from tastemap.release.lock import exclusive\n"
        "with exclusive(Path(sys.argv[1]), wait_seconds=0):\n"
        "    print('locked', flush=True); time.sleep(600)\n"
    )
    lock = store.path / ".tastemap-lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(lock)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "locked\n"
    impatient = tm.ReleaseStore(store.path, lock_wait_seconds=0)
    with pytest.raises(ReleaseError, match=f"process {holder.pid} "):
        impatient.publish(model)
    holder.kill()
    holder.communicate()
    assert impatient.publish(model).is_current
