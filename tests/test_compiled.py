from __future__ import annotations

import subprocess
import sys

CODE = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from tastemap.kernels.topk import top_k

scores = np.random.default_rng(0).random((2000, 200), np.float32)
with ThreadPoolExecutor(4) as pool:
    answers = list(pool.map(lambda _: top_k(scores, 5)[0], range(40)))
assert all((answer == answers[0]).all() for answer in answers)
"""


def test_threads_may_call_compiled_loops_whatever_the_threading_layer() -> None:
    # Without the lock numba ends the process: "Concurrent access has been detected".
    for layer in ("workqueue", "default"):
        program = f"import numba; numba.config.THREADING_LAYER = {layer!r}\n{CODE}"
        subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
