"""WARP of `lightfm` (in parallel without locks, Adagrad, biases)."""

import lightfm
import numpy as np
from lightfm import LightFM

from benchmarks.contenders.protocol import THREADS, Clock, TopN, main, unseen


def answer(task: TopN, clock: Clock) -> np.ndarray:
    parameters = dict(task.parameters)
    epochs = parameters.pop("epochs")
    model = LightFM(loss="warp", **parameters, random_state=task.seed)
    train = task.train.tocoo()
    with clock("fit"):
        model.fit(train, epochs=epochs, num_threads=THREADS)
    with clock("recommend"):
        item_biases, items = model.get_item_representations()
        _, users = model.get_user_representations()
        top = unseen(users @ items.T + item_biases, task.train, task.k)
    return top


if __name__ == "__main__":
    main(answer, lightfm=lightfm.__version__)
