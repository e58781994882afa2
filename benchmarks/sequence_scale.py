"""Memory and speed of SASRec on long catalogues: one pass over generated histories.

    python -m benchmarks.sequence_scale [--thousands 100 1000] [--events 2] [--out DIR]

Histories of 200 events; items by a power law; the softmax over a sample, whose gradients touch only
the rows of a step; all else the class defaults, with the Item2Vec that the items begin with. Each
size is a process of its own. Memory is the peak of all that the process holds; positions a second
are those of the pass of SASRec itself.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

LENGTH = 200


def measure(events: int, n_items: int) -> dict[str, float]:
    """One size, in this process."""
    import tastemap as tm
    from benchmarks.scale import forget_peak, generated, resident

    run = tm.Run(device="cpu", progress=False)
    tm.SASRec(objective="sampled_softmax", epochs=1).fit(generated(4000, 20, 100), run=run)
    data = generated(events, events // LENGTH, n_items)
    forget_peak()
    model = tm.SASRec(objective="sampled_softmax", epochs=1).fit(data, run=run)
    epoch = model.training.history[0]
    return {
        "items": n_items,
        "positions_per_second": (events - data.n_users) / epoch["seconds"],
        "peak_mib": resident("VmHWM") / 2**20,
        "loss": epoch["loss"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--thousands", type=int, nargs="+", default=[100, 1000], help="of items")
    parser.add_argument("--events", type=float, default=2, help="millions")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    said = parser.parse_args()
    events = int(said.events * 1e6)
    if said.measure:
        print(json.dumps(measure(events, said.measure)))
        return

    from benchmarks import results

    environment = {
        **os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(results.THREADS),
    }  # fmt: skip
    runs: list[dict[str, Any]] = []
    for thousands in said.thousands:
        command = [
            sys.executable, "-m", "benchmarks.sequence_scale", "--measure", str(1000 * thousands),
            "--events", str(said.events),
        ]  # fmt: skip
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
        runs.append(json.loads(done.stdout))
        print({name: round(value, 3) for name, value in runs[-1].items()}, flush=True)
    result = {"command": "python -m benchmarks.sequence_scale", "events": events, "runs": runs}
    folder = said.out or results.FOLDER
    print("wrote", results.write("sequence-scale", "generated", result, folder))


if __name__ == "__main__":
    main()
