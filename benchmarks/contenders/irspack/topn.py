"""The recommenders of `irspack`; `model` among the parameters is the class's name."""

import irspack
import numpy as np
from irspack.utils.id_mapping import retrieve_recommend_from_score

from benchmarks.contenders.protocol import THREADS, Clock, TopN, main

BLOCK = 1000


def answer(task: TopN, clock: Clock) -> np.ndarray:
    parameters = dict(task.parameters)
    recommender = getattr(irspack, parameters.pop("model"))
    with clock("fit"):
        model = recommender(task.train, n_threads=THREADS, **parameters).learn()

    found: list[list[tuple[int, float]]] = []
    with clock("recommend"):
        for start in range(0, task.train.shape[0], BLOCK):
            end = min(start + BLOCK, task.train.shape[0])
            scores = model.get_score_remove_seen_block(start, end)
            found += retrieve_recommend_from_score(scores, [], task.k, THREADS)

    top = np.full((len(found), task.k), -1)
    for row, pairs in zip(top, found, strict=True):
        row[: len(pairs)] = [item for item, _ in pairs]
    return top


if __name__ == "__main__":
    main(answer, irspack=irspack.__version__)
