"""How rankers encode numbers and store the vectors of values: what each way brings.

    python -m benchmarks.encodings [--model DCNv2] [--split users] [--seeds 3] [--out DIR]

The rows are those of the rankers' comparison on movielens-100k, with hours and weekdays as numbers
for the encodings, so that there are four. Tables of one size take the same memory: hashed ones and
one that all features share have fewer vectors, and separate rows have shorter ones. Everything else
is the ranker's default, with the validation rows for early stopping.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import tastemap as tm
from benchmarks import evaluator, ranking_rows, results
from benchmarks.ranking_rows import LABEL, OF_TIME, OF_USERS, Rows
from tastemap.features.frames import FrameEncoder
from tastemap.ranking.parts.inputs import TableLayout
from tastemap.ranking.parts.neural import NeuralRanker

ENCODINGS = {
    "plainly scaled": "scaled",
    "periodic": "periodic",
    "piecewise linear, bins by quantiles": "piecewise",
    "piecewise linear, bins by a tree of the label": "piecewise_target",
}
# Shares of the memory of a whole vector for each value.
SHARES = (1.0, 0.25, 0.125)
CATEGORIES = {"hour": "categorical", "weekday": "categorical"}
NUMBERS = {"hour": "numeric", "weekday": "numeric"}


def values_of(rows: Rows) -> int:
    """How many values all categorical features have."""
    encoder = FrameEncoder.fit(rows.train, exclude=[LABEL], kinds=CATEGORIES)
    return sum(TableLayout.of(encoder.schema).sizes)


def tables(dim: int, values: int) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """The kinds of tables by name, the share of memory, and the hyper-parameters that say so."""
    for share in SHARES:
        rows = int(values * share)
        yield "separate rows", share, {"dim": max(int(dim * share), 1)}
        if share < 1:
            yield "hashed, feature by feature", share, {"tables": "hashed", "table_rows": rows}
        for lookups in (1, 2):
            name = f"one table of all features, {lookups} lookup{'s' * (lookups > 1)}"
            shared = {"tables": "multiplexed", "table_rows": rows, "lookups": lookups}
            yield name, share, shared


def measured(
    model: str, rows: Rows, kinds: dict[str, str], seeds: int, **settings: Any
) -> dict[str, Any]:
    """AUC, AUC within users and log-loss of the test rows by seed, and what was learned."""
    truth, users = rows.test[LABEL].to_numpy(), rows.test["user"].to_numpy()
    found: dict[str, Any] = {"auc": [], "gauc": [], "log-loss": []}
    start = time.perf_counter()
    for seed in range(seeds):
        ranker: NeuralRanker = getattr(tm, model)(**settings, seed=seed)
        ranker.fit_frame(rows.train, LABEL, validation=rows.validation, kinds=kinds)
        judged = evaluator.judge_clicks(ranker.predict_frame(rows.test), truth, users)
        for metric, value in judged.items():
            found[metric].append(value)
    found["parameters"] = sum(each.numel() for each in ranker.network.parameters())
    found["of_table"] = sum(each.numel() for each in ranker.network.fields.table.parameters())
    found["seconds"] = (time.perf_counter() - start) / seeds
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="DCNv2", help="a neural ranker")
    parser.add_argument("--split", choices=[OF_USERS, OF_TIME], default=OF_USERS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=results.FOLDER)
    said = parser.parse_args()
    torch.set_num_threads(results.THREADS)
    rows = ranking_rows.labelled_rows("movielens-100k", said.split)

    encodings = {}
    for name, numbers in ENCODINGS.items():
        encodings[name] = measured(said.model, rows, NUMBERS, said.seeds, numbers=numbers)
        print(name, encodings[name], flush=True)

    values, stored = values_of(rows), []
    for name, share, settings in tables(getattr(tm, said.model)().dim, values):
        found = measured(said.model, rows, CATEGORIES, said.seeds, **settings)
        stored.append({"table": name, "share": share, **found})
        print(name, share, found, flush=True)

    result = {
        "command": f"python -m benchmarks.encodings --model {said.model} --split {said.split}",
        "model": said.model,
        "split": said.split,
        "rows": rows.hash,
        "values": values,
        "torch": torch.__version__,
        "encodings": encodings,
        "tables": stored,
    }
    print(f"wrote {results.write('encodings', 'movielens-100k', result, said.out)}")


if __name__ == "__main__":
    main()
