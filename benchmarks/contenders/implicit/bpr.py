"""BPR of `implicit` (SGD in parallel without locks, biases of items)."""

import numpy as np
from implicit.cpu.bpr import BayesianPersonalizedRanking

from benchmarks.contenders.protocol import THREADS, Clock, TopN, main


def answer(task: TopN, clock: Clock) -> np.ndarray:
    model = BayesianPersonalizedRanking(
        **task.parameters, random_state=task.seed, num_threads=THREADS
    )
    train = task.train
    with clock("fit"):
        model.fit(train, show_progress=False)
    with clock("recommend"):
        items, _ = model.recommend(
            np.arange(train.shape[0]), train, N=task.k, filter_already_liked_items=True
        )
    return items


if __name__ == "__main__":
    import implicit

    main(answer, implicit=implicit.__version__)
