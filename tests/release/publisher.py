"""A process that publishes, for tests that kill it or run several.

publisher.py STORE loop       publishes and prunes until it is killed
publisher.py STORE together N publishes N times in each of three children at once
publisher.py STORE steps      publishes and prunes in children, each killed one step later
publisher.py STORE kills N    publishes and prunes in N children, each killed at a random moment
"""

import os
import signal
import sys
import time

import numpy as np
import polars as pl

import tastemap as tm

CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}


def small_model():
    frame = pl.DataFrame({"user": np.arange(60) % 7, "item": np.arange(60) % 11})
    return tm.Popularity().fit(tm.Dataset.from_frame(frame, user="user", item="item"))


def kill_at_change(number):
    """Have this process kill itself just before its `number`-th change of the disk."""
    left = number

    def hook(event, arguments):
        nonlocal left
        opened = event == "open" and isinstance(arguments[2], int)
        if event in CHANGES or (opened and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def write_in_child(store, model, number):
    """Whether a child that publishes and prunes got to its end before the `number`-th change."""
    child = os.fork()
    if child == 0:
        kill_at_change(number)
        store.publish(model)
        store.prune(keep=1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
    return status == 0


def step_through(store, model):
    """Kills at every step of publishing and pruning; after each the store is whole and usable."""
    served = store.publish(model).version
    number, outcomes = 1, []
    while not write_in_child(store, model, number):
        now = store.current_version()
        assert all(store.check(release.version) == [] for release in store.list())
        assert tm.load(store.path).weights.sum() == model.data.n_events
        outcomes.append("old" if now == served else "new")
        served = store.publish(model).version
        assert store.current_version() == served
        assert store.roll_back().version < served
        store.roll_back(to=served)
        store.prune(keep=2)
        number += 1
    print(" ".join(outcomes))


def publish_for_ever(store, model):
    while True:
        store.publish(model)
        store.prune(keep=2)


def kill_at_random(store, model, times):
    """Children killed in the middle of publishing; after each kill the store serves a whole one."""
    store.publish(model)
    random = np.random.default_rng(11)
    for _ in range(times):
        child = os.fork()
        if child == 0:
            publish_for_ever(store, model)
        time.sleep(random.uniform(0.01, 0.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert store.check() == []
        assert tm.load(store.path).weights.sum() == model.data.n_events


def publish_together(store, model, times):
    """Three children that publish at once, and print the versions they were given."""
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            versions = [store.publish(model).version for _ in range(times)]
            # One short write to a pipe is not mixed with another's.
            os.write(1, f"{' '.join(versions)}\n".encode())
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


def main():
    store, mode, times = tm.ReleaseStore(sys.argv[1]), sys.argv[2], [int(n) for n in sys.argv[3:]]
    model = small_model()
    print("ready", flush=True)
    if mode == "loop":
        publish_for_ever(store, model)
    elif mode == "together":
        publish_together(store, model, times[0])
    elif mode == "steps":
        step_through(store, model)
    elif mode == "kills":
        kill_at_random(store, model, times[0])


if __name__ == "__main__":
    main()
