"""Memory and time of BPR on big tables: one pass over more and more generated interactions.

    python -m benchmarks.scale [--millions 5 10 20 50] [--users 10] [--items 1] [--factors 64]

Ten million users times one million items with vectors of 64 numbers, through the model's own class
on a data set built from arrays. Users are drawn uniformly, items by a power law. Each size is a
process of its own. Memory is resident memory above what the process held after its imports and a
small fit (which compiles): its peak while the data set is built, and its peak during `fit`. The
bound is 1.2 times the sum of the tables, the optimizer's state (SGD has none) and the data set
(histories and ids). Needs Linux, whose kernel forgets a peak on request.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SLACK = 1.2
CHUNK = 5_000_000
PLOT = Path(__file__).parent.parent / "docs" / "img" / "scale.png"


def measure(events: int, n_users: int, n_items: int, factors: int) -> dict[str, float]:
    """One size, in this process."""
    import pyarrow as pa

    import tastemap as tm

    _model(tm, factors).fit(generated(1000, 100, 100), run=tm.Run(device="cpu", progress=False))
    baseline = resident("VmRSS")

    forget_peak()
    started = time.perf_counter()
    data = generated(events, n_users, n_items)
    preparing = time.perf_counter() - started
    prepared = resident("VmHWM") - baseline
    # Arrow keeps what the check of the ids for repeats took.
    pa.default_memory_pool().release_unused()
    gc.collect()
    held = resident("VmRSS") - baseline

    forget_peak()
    model = _model(tm, factors)
    started = time.perf_counter()
    model.fit(data, run=tm.Run(device="cpu", progress=False))
    fitting = time.perf_counter() - started
    peak = resident("VmHWM") - baseline

    h = data.histories
    parts = (h.offsets, h.items, h.times, h.values, h.kinds)
    interactions = sum(part.nbytes for part in parts)
    interactions += data.users.ids_array.nbytes + data.items.ids_array.nbytes
    tables = sum(array.nbytes for array in model.tensors().values())
    return {
        "events": events,
        "tables_mib": tables / 2**20,
        "optimizer_mib": 0.0,
        "interactions_mib": interactions / 2**20,
        "bound_mib": SLACK * (tables + interactions) / 2**20,
        "peak_mib": peak / 2**20,
        "dataset_mib": held / 2**20,
        "dataset_peak_mib": prepared / 2**20,
        "dataset_seconds": preparing,
        "fit_seconds": fitting,
        "epoch_seconds": model.training.history[0]["seconds"],
        "train_loss": model.training.history[0]["train_loss"],
    }


def _model(tm: Any, factors: int) -> Any:
    return tm.BPR(factors=factors, epochs=1)


def generated(events: int, n_users: int, n_items: int) -> Any:
    import numpy as np
    import pyarrow as pa

    import tastemap as tm

    rng = np.random.default_rng(events)
    users, items = np.empty(events, np.int32), np.empty(events, np.int32)
    for start in range(0, events, CHUNK):
        part = slice(start, min(start + CHUNK, events))
        n = part.stop - part.start
        users[part] = rng.integers(1, n_users + 1, n, dtype=np.int32)
        # The item of rank r with a density that falls like r^(-1/2).
        items[part] = np.square(rng.random(n, np.float32)) * (n_items - 1) + 1
    vocabularies = (tm.Vocabulary(pa.array(np.arange(n))) for n in (n_users, n_items))
    return tm.Dataset.from_events(*vocabularies, users, items)


def resident(name: str) -> int:
    """Bytes of VmRSS, resident now, or VmHWM, the highest since the start or `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def plot(runs: list[dict[str, float]], path: Path) -> None:
    """Memory and seconds against interactions."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    memory, seconds = figure.subplots(1, 2)
    x = [run["events"] / 1e6 for run in runs]
    memory.plot(x, [run["bound_mib"] / 1024 for run in runs], "--", color="gray", label="bound")
    memory.plot(x, [run["peak_mib"] / 1024 for run in runs], "o-", label="peak of fit")
    memory.set(xlabel="million interactions", ylabel="GiB", ylim=(0, None))
    memory.legend()
    for name, label in (("fit_seconds", "fit"), ("epoch_seconds", "of that, the pass")):
        seconds.plot(x, [run[name] for run in runs], "o-", label=label)
    seconds.set(xlabel="million interactions", ylabel="seconds", xlim=(0, None), ylim=(0, None))
    seconds.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--millions", type=float, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--users", type=float, default=10, help="millions")
    parser.add_argument("--items", type=float, default=1, help="millions")
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--out", type=Path, help="default: benchmarks/results")
    parser.add_argument("--plot", type=Path, default=PLOT)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    said = parser.parse_args()
    n_users, n_items = int(said.users * 1e6), int(said.items * 1e6)
    if said.measure:
        print(json.dumps(measure(said.measure, n_users, n_items, said.factors)))
        return

    from benchmarks import results
    from benchmarks.runner import THREADS

    environment = {
        **os.environ, "OMP_WAIT_POLICY": "PASSIVE", "NUMBA_NUM_THREADS": str(THREADS),
    }  # fmt: skip
    runs = []
    for millions in said.millions:
        command = [
            sys.executable, "-m", "benchmarks.scale", "--measure", str(int(millions * 1e6)),
            "--users", str(said.users), "--items", str(said.items), "--factors", str(said.factors),
        ]  # fmt: skip
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
        runs.append(json.loads(done.stdout))
        print({name: round(value, 3) for name, value in runs[-1].items()}, flush=True)
    command = "python -m benchmarks.scale"
    result = {"command": command, "users": n_users, "items": n_items, "factors": said.factors}
    path = results.write("scale", "generated", {**result, "runs": runs}, said.out or results.FOLDER)
    plot(runs, said.plot)
    print(f"wrote {path} and {said.plot}")


if __name__ == "__main__":
    main()
