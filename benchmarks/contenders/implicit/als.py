"""ALS of `implicit` (Hu, Koren, Volinsky with conjugate gradients)."""

import implicit
import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse

from benchmarks.contenders.protocol import THREADS, Clock, TopN, main


def answer(task: TopN, clock: Clock) -> np.ndarray:
    model = AlternatingLeastSquares(**task.parameters, random_state=task.seed, num_threads=THREADS)
    train: sparse.csr_matrix = task.train
    with clock("fit"):
        model.fit(train, show_progress=False)
    with clock("recommend"):
        items, _ = model.recommend(
            np.arange(train.shape[0]), train, N=task.k, filter_already_liked_items=True
        )
    return items


if __name__ == "__main__":
    main(answer, implicit=implicit.__version__)
