"""BPR of `cornac` (SGD in parallel without locks, biases of items)."""

import cornac
import numpy as np

from benchmarks.contenders.protocol import THREADS, Clock, TopN, main, unseen


def answer(task: TopN, clock: Clock) -> np.ndarray:
    users, items = task.train.nonzero()
    events = list(zip(users.tolist(), items.tolist(), [1.0] * len(users), strict=True))
    with clock("prepare"):
        train = cornac.data.Dataset.from_uir(events)
    np.random.seed(task.seed)
    # A seed of its own would make cornac train on one thread.
    model = cornac.models.BPR(**task.parameters, num_threads=THREADS)
    with clock("fit"):
        model.fit(train)
    with clock("recommend"):
        # Cornac numbers users and items in the order it met them; those without events come last.
        scores = np.full(task.train.shape, -np.inf, np.float32)
        known = model.u_factors @ model.i_factors.T + model.i_biases
        rows, columns = (np.array(list(ids)) for ids in (train.uid_map, train.iid_map))
        scores[np.ix_(rows, columns)] = known
        top = unseen(scores, task.train, task.k)
    return top


if __name__ == "__main__":
    main(answer, cornac=cornac.__version__)
