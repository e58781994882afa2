"""Models of `scikit-surprise` (on one thread); `algorithm` among the parameters is its class."""

import numpy as np
import pandas as pd
import surprise

from benchmarks.contenders.protocol import Clock, Rate, main


def answer(task: Rate, clock: Clock) -> np.ndarray:
    parameters = dict(task.parameters)
    algorithm = getattr(surprise, parameters.pop("algorithm", "SVD"))
    scale = (float(task.values.min()), float(task.values.max()))
    events = pd.DataFrame({"user": task.users, "item": task.items, "rating": task.values})
    with clock("prepare"):
        reader = surprise.Reader(rating_scale=scale)
        train = surprise.Dataset.load_from_df(events, reader).build_full_trainset()
    model = algorithm(**parameters, random_state=task.seed)
    with clock("fit"):
        model.fit(train)
    with clock("predict"):
        pairs = zip(task.test_users.tolist(), task.test_items.tolist(), strict=True)
        predicted = [model.predict(user, item).est for user, item in pairs]
    return np.array(predicted)


if __name__ == "__main__":
    main(answer, surprise=surprise.__version__)
