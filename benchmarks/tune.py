"""Looks for good hyper-parameters of a rival: random search on a validation part of the training
data, never on the test part. What it found stands in `benchmarks/contenders/__init__.py`.

    python -m benchmarks.tune irspack-ials --dataset movielens-1m --trials 20
"""

import argparse
import json
import math
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import contenders, data, evaluator, runner, splits
from benchmarks.contenders import protocol

Draw = Callable[[random.Random], float]


def _log(low: float, high: float) -> Draw:
    return lambda rng: float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")


def _among(*values: float) -> Draw:
    return lambda rng: rng.choice(values)


SPACES: dict[str, dict[str, Draw]] = {
    "irspack-ials": {
        "n_components": _among(32, 64, 128, 256),
        "alpha0": _log(0.03, 1),
        "reg": _log(3e-4, 3e-2),
    },
    "irspack-slim": {"alpha": _log(1e-3, 0.3), "l1_ratio": _log(3e-3, 0.3)},
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


def top_n_task(ratings: splits.Ratings, folder: Path) -> Callable[[runner.Outcome], float]:
    """Writes the task and gives what judges an answer to it: NDCG@100."""
    split = splits.again(splits.top_n(ratings, 0))
    protocol.write_top_n(folder, split.train, evaluator.DEPTH)
    return lambda outcome: evaluator.judge_lists(outcome.answer, split.train, split.test)[
        "ndcg@100"
    ]


def rating_task(ratings: splits.Ratings, folder: Path) -> Callable[[runner.Outcome], float]:
    """Writes the task and gives what judges an answer to it: RMSE, its sign turned."""
    train = splits.rating_tenth(ratings).train
    held, kept = train[: len(train) // 10], train[len(train) // 10 :]
    protocol.write_rate(
        folder,
        users=ratings.users[kept], items=ratings.items[kept], values=ratings.values[kept],
        test_users=ratings.users[held], test_items=ratings.items[held],
    )  # fmt: skip
    truth = ratings.values[held]
    return lambda outcome: -evaluator.judge_ratings(outcome.answer, truth)["rmse"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", choices=sorted(SPACES))
    parser.add_argument("--dataset", default="movielens-1m")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    said = parser.parse_args()

    contender = contenders.ALL[said.contender]
    rng = random.Random(said.seed)
    ratings = data.load(said.dataset)
    write = rating_task if contender in contenders.RATINGS else top_n_task
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        judge = write(ratings, folder)
        best = -math.inf
        for _ in range(said.trials):
            drawn = {name: draw(rng) for name, draw in SPACES[said.contender].items()}
            outcome = runner.run(contender, folder, 0, **drawn)
            value = judge(outcome)
            mark = "*" if value > best else " "
            best = max(best, value)
            print(f"{mark} {value:.4f} {outcome.seconds['fit']:6.1f} s {json.dumps(drawn)}", flush=True)


if __name__ == "__main__":
    main()
