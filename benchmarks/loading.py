"""Memory and time of loading and indexing a log, beside Polars reading and sorting the same file.

    python benchmarks/loading.py [--millions 1 5 20] [--folder DIR] [--repeats 3]

The data are generated: 138,493 users and 27,278 items (the shape of MovieLens-20M) with integer
ids, activity and popularity skewed, in random order. Polars reads the file and sorts it by user and
time, and by item and time: about what any preparation of it must do at least. Each run is a process
of its own; its memory is the peak resident size of the whole process, time is the best of the
repeats, imports and compilation not counted. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Polars, NumPy and Tastemap are imported in the child processes only: a child's peak memory starts
# from its parent's.

USERS, ITEMS = 138_493, 27_278


def generate(folder: Path, events: int) -> None:
    """Writes the same events as Parquet and CSV."""
    import numpy as np
    import polars as pl

    random = np.random.default_rng(events)
    activity = random.permutation(random.lognormal(4.0, 1.1, USERS))
    popularity = 1.0 / (np.arange(ITEMS) + 20.0)

    def draw(weights: np.ndarray) -> np.ndarray:
        edges = np.cumsum(weights)
        return np.searchsorted(edges, random.random(events) * edges[-1]) + 1

    frame = pl.DataFrame(
        {
            "user": draw(activity),
            "item": draw(random.permutation(popularity)),
            "timestamp": random.integers(789_652_009, 1_427_784_002, events),
            "rating": random.integers(1, 11, events) / 2,
        }
    )
    frame.write_parquet(folder / f"{events}.parquet")
    frame.write_csv(folder / f"{events}.csv")


def load_with_tastemap(path: Path) -> float:
    import tastemap as tm

    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder, f"warm{path.suffix}")
        import polars as pl

        columns = {"user": [1, 1], "item": [1, 2], "timestamp": [2, 1], "rating": [1.0, 2.0]}
        frame = pl.DataFrame(columns)
        frame.write_csv(small) if path.suffix == ".csv" else frame.write_parquet(small)
        tm.Dataset.from_files(small)
    started = time.perf_counter()
    dataset = tm.Dataset.from_files(path)
    seconds = time.perf_counter() - started
    assert dataset.n_events == int(path.stem)
    assert "torch" not in sys.modules
    return seconds


def load_with_polars(path: Path) -> float:
    import polars as pl

    started = time.perf_counter()
    frame = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
    by_user = frame.sort("user", "timestamp")
    by_item = frame.sort("item", "timestamp")
    seconds = time.perf_counter() - started
    assert by_user.height == by_item.height == int(path.stem)
    return seconds


LOADERS = {"tastemap": load_with_tastemap, "polars": load_with_polars}


def measure(loader: str, path: Path, repeats: int) -> tuple[float, float]:
    """Best seconds and highest peak memory in MiB of some runs."""
    command = [sys.executable, __file__, "--measure", loader, "--file", str(path)]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        for _ in range(repeats)
    ]
    return min(run["seconds"] for run in runs), max(run["mebibytes"] for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--folder", type=Path, help="keep the generated files here")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", choices=LOADERS, help=argparse.SUPPRESS)
    parser.add_argument("--generate", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        seconds = LOADERS[options.measure](options.file)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "mebibytes": peak}))
        return
    if options.generate:
        generate(options.folder, options.generate)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print("| events | file | Tastemap | peak memory | Polars: read and two sorts | ratio |")
        print("|---:|---|---:|---:|---:|---:|")
        for events in (million * 1_000_000 for million in options.millions):
            if not (folder / f"{events}.csv").exists():
                command = [sys.executable, __file__, "--generate", str(events)]
                subprocess.run([*command, "--folder", str(folder)], check=True)
            for suffix in ("parquet", "csv"):
                path = folder / f"{events}.{suffix}"
                ours, memory = measure("tastemap", path, options.repeats)
                polars, _ = measure("polars", path, options.repeats)
                print(
                    f"| {events:,} | {suffix} | {ours:.2f} s | {memory:,.0f} MiB "
                    f"| {polars:.2f} s | {ours / polars:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
