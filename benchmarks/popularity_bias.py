"""What inverse-propensity weights and popularity-aware sampling do to quality and coverage.

python -m benchmarks.popularity_bias
python -m benchmarks.popularity_bias --dataset movielens-1m --seeds 1 --out /tmp/trial
"""

from typing import Annotated, Any

import numpy as np
import polars as pl
import typer

import tastemap as tm
from benchmarks import data, evaluator, results, splits
from benchmarks.contenders.protocol import ranked
from benchmarks.options import DatasetName, Out, Seeds

SUITE = "popularity-bias"

# What differs from the class defaults, by what it is called in the table.
VARIANTS: dict[str, dict[str, Any]] = {
    "softmax": {"loss": "softmax"},
    "softmax, propensity^0.25": {"loss": "softmax", "propensity_exponent": 0.25},
    "softmax, propensity^0.5": {"loss": "softmax", "propensity_exponent": 0.5},
    "bce, uniform negatives": {"loss": "bce"},
    "bce, popularity^0.5": {"loss": "bce", "sampler": "popularity", "popularity_exponent": 0.5},
    "bce, popularity^1": {"loss": "bce", "sampler": "popularity", "popularity_exponent": 1.0},
}


def measure(dataset: str, seeds: int, factors: int) -> dict[str, Any]:
    """Each variant on the splits of the benchmark of lists, a seed for the split and the model.

    Returns:
        The result as it is written: for each variant its runs with NDCG@10, coverage@10 (the share
        of the catalogue that is recommended to anybody) and popularity@10 (the mean over all
        recommendations of the share of users who have the item in the training part).
    """
    ratings = data.load(dataset)
    runs: dict[str, list[dict[str, float]]] = {title: [] for title in VARIANTS}
    hashes = {}
    for seed in range(seeds):
        split = splits.top_n(ratings, seed)
        hashes[seed] = split.hash
        users, items = split.train.nonzero()
        events = pl.DataFrame({"user": users, "item": items})
        train = tm.Dataset.from_frame(events, user="user", item="item")
        for title, options in VARIANTS.items():
            model = tm.MatrixFactorization(**options, factors=factors, seed=seed)
            model.fit(train, run=tm.Run(device="cpu", progress=False))
            judged = _judged(model, split)
            runs[title].append({"seed": seed, **judged})
            shown = ", ".join(f"{name} {value:.4f}" for name, value in judged.items())
            print(f"seed {seed}, {title}: {shown}", flush=True)
    variants = {
        title: {"parameters": {**options, "factors": factors}, "runs": runs[title]}
        for title, options in VARIANTS.items()
    }
    command = f"python -m benchmarks.popularity_bias --dataset {dataset} --seeds {seeds}"
    return {"splits": hashes, "variants": variants, "command": f"{command} --factors {factors}"}


def _judged(model: tm.MatrixFactorization, split: splits.TopNSplit) -> dict[str, float]:
    n_users, n_items = split.train.shape
    found = model.recommend(users=np.arange(n_users), k=evaluator.DEPTH)
    top = ranked(found["user"], found["rank"], found["item"], (n_users, evaluator.DEPTH))
    quality = evaluator.judge_lists(top, split.train, split.test)
    ten = top[:, :10]
    owners = np.asarray(split.train.sum(axis=0)).ravel() / n_users
    return {
        "ndcg@10": float(quality["ndcg@10"]),
        "coverage@10": len(np.unique(ten[ten >= 0])) / n_items,
        "popularity@10": float(owners[ten[ten >= 0]].mean()),
    }


def main(
    dataset: DatasetName = data.NAMES[0],
    seeds: Seeds = 3,
    factors: Annotated[int, typer.Option(help="Length of the vectors.")] = 64,
    out: Out = results.FOLDER,
) -> None:
    """Measures the effect on NDCG@10, coverage@10 and mean popularity."""
    path = results.write(SUITE, dataset, measure(dataset, seeds, factors), out)
    typer.echo(f"wrote {path}")


if __name__ == "__main__":
    typer.run(main)
