"""Recall, time and memory of indices on generated vectors.

    python -m benchmarks.ann [--n 1000000] [--queries 1000] [--index hnsw ivf ivf_pq] [--out DIR]

A thousand clusters of 64 numbers, the j-th about j^(-1/2) as large as the first, as in what models
learn; cluster sizes fall like r^(-1/2); within a cluster vectors vary half as much as centres do.
Once all vectors have one length, as of models that compare by cosine; once lengths differ by a
lognormal factor with sigma 0.1 as well as by chance. Queries come from the same clusters.

Each index is built in a process of its own on one thread, saved, and loaded by another one, which
asks one query after the other for the nearest 100. Time is that of the process on the processor;
memory is resident memory that loading and asking have added, of which the mapped part is the
system's to take back. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIM, K, CLUSTERS = 64, 100, 1000
LENGTHS = ("equal", "unequal")
# What is asked of each index: the hyper-parameter that trades recall for time, and its values.
ASKED = {
    "exact": {},
    "hnsw": {"ef_search": [200, 400, 800]},  # it keeps twice as many as asked for at least
    "ivf": {"probes": [16, 32, 64, 96, 128]},
    "ivf_pq": {"probes": [32, 96, 128]},
}


def clustered(
    lengths: str, n: int, queries: int, seed: int = 0
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Vectors float32 [n, 64] and queries float32 [queries, 64]."""
    rng = np.random.default_rng(seed)
    scale = (1 + np.arange(DIM, dtype=np.float32)) ** -0.5
    centres = rng.standard_normal((CLUSTERS, DIM), np.float32) * scale
    sizes = (1 + np.arange(CLUSTERS)) ** -0.5

    def drawn(n: int) -> NDArray[np.float32]:
        chosen = rng.choice(CLUSTERS, n, p=sizes / sizes.sum())
        vectors = rng.standard_normal((n, DIM), np.float32)
        vectors *= 0.5 * scale
        vectors += centres[chosen]
        return vectors

    vectors = drawn(n)
    if lengths == "equal":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    else:
        vectors *= rng.lognormal(0, 0.1, (n, 1)).astype(np.float32)
    return vectors, drawn(queries)


def build(name: str, lengths: str, n: int, path: Path) -> dict[str, Any]:
    """Builds and saves an index, in this process."""
    from tastemap.index.table import index_class

    vectors, _ = clustered(lengths, n, 1)
    started, used = time.perf_counter(), time.process_time()
    index = index_class(name)().build(np.arange(1, n + 1), vectors)
    seconds = time.perf_counter() - started, time.process_time() - used
    index.save(path)
    return {"build_seconds": seconds[0], "build_cpu_seconds": seconds[1]}


def ask(name: str, n: int, path: Path) -> dict[str, Any]:
    """Loads an index and asks it, in this process."""
    import tastemap as tm
    from benchmarks.scale import resident
    from tastemap.index.table import index_class

    with np.load(path.parent / "truth.npz") as truth:
        asked, true = truth["queries"], truth["rows"]
    # So that what libraries take is not counted for the index.
    small = index_class(name)().build(np.arange(1, 11), asked[:10])
    tm.load(small.save(path.with_name(f"{name}-small"))).search(asked[:1], K)
    before = {part: resident(part) for part in ("RssAnon", "RssFile")}
    index = tm.load(path)
    runs = []
    (setting, values), *_ = [*ASKED[name].items(), ("", [None])]
    for value in values:
        if value is not None:
            setattr(index, setting, value)
        index.search(asked[:1], K)
        started = time.process_time()
        found = np.concatenate([index.search(query[None], K)[0] for query in asked])
        milliseconds = (time.process_time() - started) / len(asked) * 1e3
        hits = [len(np.intersect1d(*pair)) for pair in zip(found, true, strict=True)]
        recall = float(np.mean(hits)) / K
        shown = "" if value is None else f"{setting}={value}"
        runs.append({"setting": shown, "recall": recall, "milliseconds": milliseconds})
    held = {part: (resident(part) - before[part]) / n for part in before}
    return {"bytes_each": held["RssAnon"], "mapped_bytes_each": held["RssFile"], "runs": runs}


def truth(lengths: str, n: int, queries: int, path: Path) -> None:
    """The true nearest of the queries."""
    from tastemap.index.exact import ExactIndex

    vectors, asked = clustered(lengths, n, queries)
    rows, _ = ExactIndex().build(np.arange(1, n + 1), vectors).search(asked, K)
    np.savez(path.parent / "truth.npz", queries=asked, rows=rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--n", type=int, default=1_000_000, help="vectors")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--index", nargs="+", choices=ASKED, default=["hnsw", "ivf", "ivf_pq"])
    parser.add_argument("--lengths", nargs="+", choices=LENGTHS, default=LENGTHS)
    parser.add_argument("--out", type=Path, help="default: benchmarks/results")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.step:
        name, lengths = said.index[0], said.lengths[0]
        if said.step == "truth":
            truth(lengths, said.n, said.queries, said.path)
        elif said.step == "build":
            print(json.dumps(build(name, lengths, said.n, said.path)))
        else:
            print(json.dumps(ask(name, said.n, said.path)))
        return

    from benchmarks import results

    one_thread = {name: "1" for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
    found: dict[str, dict[str, Any]] = {}
    for lengths in said.lengths:
        with tempfile.TemporaryDirectory() as folder:

            def step(what: str, name: str, lengths: str = lengths, at: str = folder) -> Any:
                command = [
                    sys.executable, "-m", "benchmarks.ann", "--step", what, "--index", name,
                    "--lengths", lengths, "--n", str(said.n), "--queries", str(said.queries),
                    "--path", f"{at}/{name}",
                ]  # fmt: skip
                done = subprocess.run(
                    command, check=True, stdout=subprocess.PIPE, env={**os.environ, **one_thread}
                )
                return json.loads(done.stdout) if done.stdout else None

            step("truth", "exact")
            for name in said.index:
                found.setdefault(lengths, {})[name] = step("build", name) | step("ask", name)
                print(lengths, name, found[lengths][name], flush=True)
    result = {
        "command": f"python -m benchmarks.ann --n {said.n} --queries {said.queries}",
        "n": said.n,
        "lengths": found,
    }
    print("wrote", results.write("ann", "generated", result, said.out or results.FOLDER))


if __name__ == "__main__":
    main()
