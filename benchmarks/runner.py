"""Runs a contender in a process and an environment of its own, on a task that lies in a folder."""

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import Contender
from benchmarks.environments import CONTENDERS, interpreter

ROOT = Path(__file__).parent.parent
THREADS = 2


@dataclass(frozen=True)
class Outcome:
    """What a contender gave back: its answer, wall seconds by phase, package versions, and the
    rows that training went over where it says so."""

    answer: np.ndarray
    seconds: dict[str, float]
    peak_mb: float
    versions: dict[str, str]
    trained_rows: int = 0


def run(contender: Contender, task: Path, seed: int, dataset: str, **parameters: Any) -> Outcome:
    """The contender's answer to the task in the folder `task`, which was made from `dataset`.

    `parameters` go over the contender's own hyper-parameters for that data set.

    Raises:
        RuntimeError: the contender failed; with the end of what it wrote.
    """
    python = interpreter(contender.package)
    settings = json.dumps({**contender.settings(dataset), **parameters})
    with tempfile.TemporaryDirectory() as out:
        script = CONTENDERS / contender.package / contender.script
        command = [
            str(python), str(script), str(task),
            "--out", out, "--seed", str(seed), "--parameters", settings,
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, env=_environment(contender), cwd=out
        )
        if done.returncode:
            raise RuntimeError(f"{contender.name} failed:\n{done.stderr[-3000:]}")
        report = json.loads((Path(out) / "report.json").read_text())
        answer = np.load(Path(out) / "answer.npy")
    return Outcome(
        answer, report["seconds"], report["peak_mb"], report["versions"], report["trained_rows"]
    )


def _environment(contender: Contender) -> dict[str, str]:
    threads = str(THREADS)
    # `implicit` has threads of its own and warns when BLAS uses some too.
    blas = "1" if contender.package == "implicit" else threads
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": blas,
        "MKL_NUM_THREADS": blas,
        "NUMBA_NUM_THREADS": threads,
        "POLARS_MAX_THREADS": threads,
        "BENCHMARK_THREADS": threads,
        # Big blocks go back to the allocator and not to the system, which would clear their pages
        # anew for each step: RecTools spends a third of its training on that otherwise.
        "MALLOC_MMAP_THRESHOLD_": str(1 << 33),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    }
