"""CFGAN beside its published figures on movielens-100k, at its authors' settings.

The split is that of the paper (Chae et al. 2018, section 4.1): all ratings, whatever their value,
count as chosen, and a random fifth of them is the test. The authors' own draw is not used, so that
figures may differ by the noise of the draw, about .005. The settings are those that the authors
published with their code: 1000 passes for the generator, four a round. Measured with seeds 0, 1
and 2: precision@5 .427, .432, .436, ndcg@5 .457, .467, .467, ndcg@20 .432, .432, .427.

    python -m benchmarks.cfgan_paper
    python -m benchmarks.cfgan_paper --batch-size 128 --learning-rate 0.0004
"""

from typing import Annotated

import numpy as np
import polars as pl
import typer

import tastemap as tm
from benchmarks import data
from tastemap import metrics

PUBLISHED = {"precision@5": 0.444, "ndcg@5": 0.476, "ndcg@20": 0.433}


def split(seed: int) -> tuple[tm.Dataset, tm.Histories]:
    """The training part, and what each of its user rows chose in the test."""
    ratings = data.load("movielens-100k")
    test = np.random.default_rng(seed).random(len(ratings.users)) < 0.2
    events = pl.DataFrame({"user": ratings.users[~test], "item": ratings.items[~test]})
    train = tm.Dataset.from_frame(events)
    users, items = train.users.rows(ratings.users[test]), train.items.rows(ratings.items[test])
    # An item of the test that training has not stays an item that cannot be found, row 0.
    n = len(users)
    columns = users, items, np.zeros(n), np.ones(n, np.float32), np.zeros(n, np.uint8)
    return train, tm.Histories.from_events(*columns, len(train.users))


def main(
    epochs: Annotated[int, typer.Option(help="Rounds of both players.")] = 250,
    batch_size: Annotated[int, typer.Option(help="Items in a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Adam's step size.")] = 1e-4,
    seed: Annotated[int, typer.Option(help="Of the split and the model.")] = 0,
) -> None:
    """Prints the measured figures beside the published ones."""
    train, truth = split(seed)
    model = tm.CFGAN(
        based_on="item", hidden=400, discriminator_hidden=125, zero_weight=0.03, zero_ratio=0.7,
        masking_ratio=0.7, generator_steps=4, discriminator_steps=2, epochs=epochs,
        learning_rate=learning_rate, regularization=0.001, discriminator_regularization=0.0,
        batch_size=batch_size, seed=seed,
    ).fit(train)  # fmt: skip
    best = model.answer(train.queries(), 20).padded(20)
    asked = truth.slice(1, len(truth))
    hits, counts = metrics.judge(best, asked.offsets, asked.items)
    for name, published in PUBLISHED.items():
        metric, k = name.split("@")
        measured = np.nanmean(getattr(metrics, metric)(hits, counts, int(k)))
        print(f"{name:13} {measured:.3f}   published {published:.3f}")


if __name__ == "__main__":
    typer.run(main)
