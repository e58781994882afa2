"""Skip-gram with negative sampling of `gensim`, asked as tastemap's Item2Vec is."""

import gensim
import numpy as np
from gensim.models import Word2Vec
from scipy import sparse

from benchmarks.contenders.protocol import THREADS, Clock, Next, main, unseen


def answer(task: Next, clock: Clock) -> np.ndarray:
    parameters = dict(task.parameters)
    half_life = parameters.pop("half_life")
    weight = parameters.pop("popularity_weight")
    users, known = task.users, np.ones(len(task.items), np.float32)
    with clock("prepare"):
        sentences = [
            list(map(str, task.items[start:stop][task.trained[start:stop]]))
            for start, stop in zip(task.offsets[:-1], task.offsets[1:], strict=True)
        ]
    with clock("fit"):
        model = Word2Vec(
            sentences, sg=1, min_count=1, workers=THREADS, seed=task.seed, **parameters
        )
    with clock("recommend"):
        shape = (task.n_items, model.vector_size)
        inputs, outputs = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        rows = np.array(model.wv.index_to_key, int)
        inputs[rows], outputs[rows] = model.wv.vectors, model.syn1neg
        counts = np.bincount(task.items[task.trained], minlength=task.n_items)
        biases = np.where(counts > 0, weight * np.log(np.maximum(counts, 1)), -20)
        age = task.offsets[1:][users] - 1 - np.arange(len(users))
        weighted = sparse.csr_matrix(
            (0.5 ** (age / half_life), task.items, task.offsets), (task.n_users, task.n_items)
        )
        means = (weighted @ inputs) / np.maximum(weighted.sum(axis=1), 1)
        seen = sparse.csr_matrix((known, (users, task.items)), weighted.shape)
        return unseen(np.asarray(means) @ outputs.T + biases, seen, task.k)


if __name__ == "__main__":
    main(answer, gensim=gensim.__version__)
