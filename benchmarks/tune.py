"""Looks for good hyper-parameters of a rival: random search on a validation part of the training
data, never on the test part. What it found stands in `benchmarks/contenders/__init__.py`.

    python -m benchmarks.tune irspack-ials --dataset movielens-1m --trials 20
"""

import argparse
import json
import math
import random
from collections.abc import Callable

from benchmarks import data, runner, splits, tasks
from benchmarks.contenders import ALL, RATINGS

Draw = Callable[[random.Random], float]


def _log(low: float, high: float) -> Draw:
    return lambda rng: float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")


def _among(*values: float) -> Draw:
    return lambda rng: rng.choice(values)


SPACES: dict[str, dict[str, Draw]] = {
    "irspack-ials": {
        "n_components": _among(64, 128, 256),
        "alpha0": _log(0.03, 0.3),
        "reg": _log(5e-3, 5e-1),
        "nu": _among(0.5, 1.0),
    },
    "irspack-slim": {"alpha": _log(5e-3, 0.3), "l1_ratio": _log(3e-4, 0.1)},
    "rectools-ease": {"regularization": _log(100, 3000)},
    "cornac-mf": {
        "k": _among(16, 32, 64, 128),
        "learning_rate": _log(3e-3, 3e-2),
        "lambda_reg": _log(1e-2, 1e-1),
        "max_iter": _among(20, 40, 60, 100),
    },
    "surprise-svd": {
        "n_factors": _among(20, 50, 100, 200),
        "lr_all": _log(3e-3, 2e-2),
        "reg_all": _log(1e-2, 1.5e-1),
        "n_epochs": _among(20, 40, 60, 100),
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", choices=sorted(SPACES))
    parser.add_argument("--dataset", choices=data.NAMES, default="movielens-1m")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the search")
    said = parser.parse_args()

    contender = ALL[said.contender]
    rng = random.Random(said.seed)
    ratings = data.load(said.dataset)
    if contender in RATINGS:
        opened = tasks.ratings(splits.rating_tenth(ratings).validation())
    else:
        opened = tasks.lists(splits.top_n(ratings, 0).validation())
    best = -math.inf
    with opened as task:
        for _ in range(said.trials):
            drawn = {name: draw(rng) for name, draw in SPACES[said.contender].items()}
            outcome = runner.run(contender, task.folder, 0, said.dataset, **drawn)
            judged = task.judge(outcome.answer)
            value = -judged["rmse"] if "rmse" in judged else judged["ndcg@100"]
            mark = "*" if value > best else " "
            best = max(best, value)
            seconds = outcome.seconds["fit"]
            print(f"{mark} {abs(value):.4f} {seconds:6.1f} s {json.dumps(drawn)}", flush=True)


if __name__ == "__main__":
    main()
