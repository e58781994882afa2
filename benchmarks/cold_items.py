"""Items that nobody has chosen yet: how well are they recommended by what is known of them?

python -m benchmarks.cold_items
python -m benchmarks.cold_items --dataset movielens-1m-details
python -m benchmarks.cold_items --dataset movielens-100k --seeds 3 --out /tmp/trial

With details an item is known by who made it and what it is about too (`film_details`).
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer

import tastemap as tm
from benchmarks import data, results
from benchmarks.film_details import with_details
from benchmarks.options import Out, Seeds
from tastemap.content.likeness import Likeness
from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout, Queries
from tastemap.kernels.topk import top_k
from tastemap.metrics import judge, ndcg, recall
from tastemap.retrieval.recommender import Recommendations

SUITE = "cold-items"
DETAILED = "movielens-1m-details"
MODELS = ("TwoTower", "ALS + content neighbours", "EASE + content neighbours")
_NEIGHBOURS = " + content neighbours"
_K = 20


@dataclass(frozen=True, eq=False)
class Task:
    """A tenth of the items is new, and a fifth of the users is asked about them.

    Of each user who is asked, the first half of the events is known, and what of the second half is
    of new items is to be found among the new items.

    Attributes:
        new: bool [item rows], the new items.
        cold: what is known, without any event of a new item.
        warm: the same with the events of new items, as far as they are known: those of other users
            and of first halves.
        asked: histories without new items, and the new items that came after them.
        digest: of which event belongs where.
    """

    new: np.ndarray
    cold: Dataset
    warm: Dataset
    asked: Holdout
    digest: str


def make_task(dataset: Dataset, seed: int) -> Task:
    """Items and users drawn by a seed."""
    rng = np.random.default_rng(seed)
    h = dataset.histories
    items = np.flatnonzero(dataset.item_counts)
    new = np.zeros(len(dataset.items), bool)
    new[rng.choice(items, round(len(items) / 10), replace=False)] = True
    users = np.flatnonzero(h.counts)
    asked = np.zeros(len(dataset.users), bool)
    asked[rng.choice(users, round(len(users) / 5), replace=False)] = True

    owner, is_new = h.rows_of_events(), new[h.items]
    place = np.arange(h.n_events) - h.offsets[owner]
    later = asked[owner] & (place >= h.counts[owner] // 2)
    truth = h.select(later & is_new)
    rows = np.flatnonzero(truth.counts).astype(np.int32)
    truth = truth.take(rows)
    queries = Queries(
        rows,
        h.select(~later & ~is_new).take(rows),
        truth.times[truth.offsets[:-1]],
        dataset.profiles(rows),
    )
    digest = hashlib.sha256(dataset.fingerprint.encode() + later.tobytes() + is_new.tobytes())
    return Task(
        new,
        dataset.with_events(~later & ~is_new),
        dataset.with_events(~later),
        Holdout(queries, truth),
        digest.hexdigest()[:16],
    )


def judged(model: Any, task: Task) -> dict[str, float]:
    """Recall@20 and NDCG@20 of lists of new items, mean over the users who are asked."""
    found = model.answer(task.asked.queries, _K, among=task.new).padded(_K)
    truth = task.asked.truth
    hits, counts = judge(found, truth.offsets, truth.items)
    values = {f"recall@{_K}": recall(hits, counts, _K), f"ndcg@{_K}": ndcg(hits, counts, _K)}
    return {name: float(value.mean()) for name, value in values.items()}


class ByNeighbours:
    """New items by the known ones most like them, as the service shows them (`Likeness`)."""

    def __init__(self, model: Any, task: Task) -> None:
        data = task.cold
        self._model = model
        self._new = np.flatnonzero(task.new).astype(np.int32)
        self._n_items = len(data.items)
        table = data.item_attributes()[self._new - 1]
        self._weights = Likeness(data).weights(table)

    def answer(self, queries: Queries, k: int, among: np.ndarray) -> Recommendations:
        items, best = [], []
        for _, tile in queries.tiles(self._model.tile_size()):
            scores = np.full((len(tile), self._n_items), -np.inf, np.float32)
            scores[:, self._new] = (self._weights @ self._model.score(tile).T).T
            found = top_k(scores, k, allowed=among)
            items.append(found[0])
            best.append(found[1])
        sources = np.zeros((len(queries), 1), np.uint8)
        return Recommendations.from_padded(
            np.concatenate(items), np.concatenate(best), sources, [self._model.name]
        )


def fitted(name: str, task: Task, part: str, seed: int) -> Any:
    """A model that was fitted without ("cold") or with ("warm") events of the new items; by
    content, where its name says so, without them."""
    model = getattr(tm, name.removesuffix(_NEIGHBOURS))()
    if "seed" in model.hyperparameter_values():
        model = type(model)(seed=seed)
    model.fit(getattr(task, part), run=tm.Run(device="cpu", progress=False))
    return ByNeighbours(model, task) if name.endswith(_NEIGHBOURS) and part == "cold" else model


def measure(dataset: str, seeds: int) -> dict[str, Any]:
    """Each model, fitted without and with the events of the new items, and what chance gives."""
    detailed = dataset == DETAILED
    whole = (
        with_details(tm.datasets.load("movielens-1m")) if detailed else tm.datasets.load(dataset)
    )
    runs: dict[str, list[dict[str, Any]]] = {model: [] for model in MODELS}
    hashes = {}
    for seed in range(seeds):
        task = make_task(whole, seed)
        hashes[seed] = task.digest
        for name in MODELS:
            run: dict[str, Any] = {"seed": seed, "chance": _K / int(task.new.sum())}
            for part in ("cold", "warm"):
                run[part] = judged(fitted(name, task, part, seed), task)
            runs[name].append(run)
            print(f"seed {seed}, {name}: {run}", flush=True)
    command = f"python -m benchmarks.cold_items --dataset {dataset} --seeds {seeds}"
    counts = {"new_items": int(task.new.sum()), "queries": len(task.asked)}
    return {"splits": hashes, **counts, "runs": runs, "command": command}


def main(
    dataset: Annotated[
        str, typer.Option(help=f"One of {', '.join((*data.NAMES, DETAILED))}.")
    ] = "movielens-1m",
    seeds: Seeds = 1,
    out: Out = results.FOLDER,
) -> None:
    """Measures how well items are recommended that have no events."""
    path = results.write(SUITE, dataset, measure(dataset, seeds), out)
    typer.echo(f"wrote {path}")


if __name__ == "__main__":
    typer.run(main)
