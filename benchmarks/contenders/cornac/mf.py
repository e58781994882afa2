"""Matrix factorisation of `cornac` (SGD in parallel without locks, biases)."""

import cornac
import numpy as np

from benchmarks.contenders.protocol import THREADS, Clock, Rate, main


def answer(task: Rate, clock: Clock) -> np.ndarray:
    events = list(zip(task.users.tolist(), task.items.tolist(), task.values.tolist(), strict=True))
    with clock("prepare"):
        train = cornac.data.Dataset.from_uir(events)
    np.random.seed(task.seed)
    # A seed of its own would make cornac train on one thread.
    model = cornac.models.MF(**task.parameters, num_threads=THREADS)
    with clock("fit"):
        model.fit(train)
    with clock("predict"):
        users = _rows(train.uid_map, task.test_users)
        items = _rows(train.iid_map, task.test_items)
        known_users, known_items = users >= 0, items >= 0
        predicted = np.full(len(users), model.global_mean, np.float64)
        predicted += np.where(known_users, model.u_biases[users], 0)
        predicted += np.where(known_items, model.i_biases[items], 0)
        both = known_users & known_items
        predicted[both] += np.einsum(
            "nd,nd->n", model.u_factors[users[both]], model.i_factors[items[both]]
        )
        predicted = predicted.clip(train.min_rating, train.max_rating)
    return predicted


def _rows(rows: dict[int, int], ids: np.ndarray) -> np.ndarray:
    return np.array([rows.get(i, -1) for i in ids.tolist()])


if __name__ == "__main__":
    main(answer, cornac=cornac.__version__)
