"""Item vectors that follow the log: what later answers gain by it, for each bound on their drift.

python -m benchmarks.item_updates
python -m benchmarks.item_updates --dataset movielens-100k --seeds 3 --out /tmp/trial
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import typer

import tastemap as tm
from benchmarks import results
from benchmarks.options import DatasetName, Out, Seeds
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.metrics import bootstrap_interval, judge, ndcg
from tastemap.online.events import Event
from tastemap.online.following import Following
from tastemap.online.serving import Serving
from tastemap.retrieval.base import Retriever

SUITE = "item-updates"
MODELS = ("ALS", "IALSPP")
DRIFTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
RETRAINED = "retrained"
_K = 10
# Of all events by time: up to where the release knows, and where what is left alone begins.
_RELEASED, _END = 0.6, 0.9
_BLOCKS = 10


@dataclass(frozen=True, eq=False)
class Block:
    """Some of the events after the release, and those who are asked about the later half of theirs.

    Attributes:
        before: the data up to the block.
        events: bool [events], those of the block.
        asked: the first half of each user's events of the block, behind all that came before.
        truth: what is new in the later half, a row for each query.
    """

    before: Dataset
    events: np.ndarray
    asked: Queries
    truth: Histories


def blocks(dataset: Dataset) -> Iterator[Block]:
    """What comes after the release, in equal parts by time. The last tenth of all is not touched,
    so that what is chosen by this measure can be tested there."""
    h = dataset.histories
    owners = h.rows_of_events()
    place = np.empty(h.n_events, np.int64)
    place[np.argsort(h.times, kind="stable")] = np.arange(h.n_events)
    bounds = np.linspace(_RELEASED, _END, _BLOCKS + 1) * h.n_events
    for start, stop in zip(bounds[:-1].astype(int), bounds[1:].astype(int), strict=True):
        before, inside = place < start, (place >= start) & (place < stop)
        counts = np.bincount(owners[inside], minlength=len(h))
        # The number of each event of the block among its user's, from 0.
        running = np.concatenate([[0], np.cumsum(inside)])
        number = running[:-1] - running[h.offsets[owners]]
        later = inside & (number >= (counts[owners] + 1) // 2)
        truth = h.select(later)
        users = np.flatnonzero(truth.counts).astype(np.int32)
        asked = dataset.with_events(before | (inside & ~later)).queries(users)
        yield Block(dataset.with_events(before), inside, asked, truth.take(users))


def released(dataset: Dataset) -> Dataset:
    """What the release knows."""
    return next(blocks(dataset)).before


def events_of(dataset: Dataset, chosen: np.ndarray) -> list[Event]:
    """Events as the log would tell them, in the order of their times."""
    h = dataset.histories
    places = np.flatnonzero(chosen)
    places = places[np.argsort(h.times[places], kind="stable")]
    users = dataset.users.ids(h.rows_of_events()[places])
    items = dataset.items.ids(h.items[places])
    rows = zip(users, items, h.times[places].tolist(), h.values[places].tolist(), strict=True)
    kind = dataset.kind_names[0]
    return [Event(str(user), str(item), kind, time, value) for user, item, time, value in rows]


def quality(pipeline: tm.Pipeline, block: Block) -> np.ndarray:
    """NDCG@10 of each query, float64 [B]."""
    found = pipeline.answer(block.asked, _K).padded(_K)
    hits, counts = judge(found, block.truth.offsets, block.truth.items)
    return ndcg(hits, counts, _K)


def served(model: Retriever, dataset: Dataset, drift: float) -> tuple[np.ndarray, float]:
    """NDCG@10 of each query of all blocks as a service answers that has a fitted model, and how far
    an item has gone at most."""
    pipeline = tm.Pipeline([model])
    following = Following(0.0, item_drift=drift)
    serving = Serving(pipeline, "release", lambda user: user.encode(), following=following)
    values = []
    for block in blocks(dataset):
        values.append(quality(serving.pipeline, block))
        serving.add(events_of(dataset, block.events))
        serving.refresh()
        while any(each.behind for each in serving.item_updates):
            serving.refresh()
    largest = max((each.largest for each in serving.item_updates), default=0.0)
    return np.concatenate(values), largest


def retrained(model: str, seed: int, dataset: Dataset) -> np.ndarray:
    """The same by a release that is made anew before each block."""
    values = []
    for block in blocks(dataset):
        values.append(quality(tm.Pipeline([_fitted(model, seed, block.before)]), block))
    return np.concatenate(values)


def _fitted(model: str, seed: int, dataset: Dataset) -> Retriever:
    fitted: Retriever = getattr(tm, model)(seed=seed)
    return fitted.fit(dataset, run=tm.Run(device="cpu", progress=False))


def measure(dataset: str, seeds: int) -> dict[str, Any]:
    """Each model with each bound: the mean NDCG@10, and by how much it is above that without
    updates, query by query, with a 95 % interval by bootstrap over users."""
    whole = tm.datasets.load(dataset).filter(min_value=4)
    parts = list(blocks(whole))
    users = np.concatenate([block.asked.users for block in parts])
    runs: dict[str, dict[str, Any]] = {}
    for model in MODELS:
        found: dict[str, list[np.ndarray]] = {}
        drifts: dict[str, float] = {}
        for seed in range(seeds):
            fitted = _fitted(model, seed, released(whole))
            for drift in DRIFTS:
                values, drifts[str(drift)] = served(fitted, whole, drift)
                found.setdefault(str(drift), []).append(values)
            found.setdefault(RETRAINED, []).append(retrained(model, seed, whole))
        without = np.mean(found["0.0"], axis=0)
        runs[model] = {}
        for name, values in found.items():
            gains = np.mean(values, axis=0) - without
            runs[model][name] = {
                f"ndcg@{_K}": float(np.mean(values)),
                "gain": float(gains.mean()),
                "interval": _interval(gains, users),
                "drift": drifts.get(name),
            }
            print(f"{model}, {name}: {runs[model][name]}", flush=True)
    digest = hashlib.sha256(whole.fingerprint.encode())
    for block in parts:
        digest.update(block.events.tobytes() + block.truth.items.tobytes())
    return {
        "splits": {"blocks": digest.hexdigest()[:16]},
        "queries": len(users),
        "seeds": seeds,
        "runs": runs,
        "command": f"python -m benchmarks.item_updates --dataset {dataset} --seeds {seeds}",
    }


def _interval(gains: np.ndarray, users: np.ndarray) -> list[float]:
    """Of the mean over queries, with users drawn as a whole."""
    _, owner = np.unique(users, return_inverse=True)
    low, high = bootstrap_interval(np.bincount(owner, gains), np.bincount(owner))
    return [float(low), float(high)]


def main(
    dataset: DatasetName = "movielens-100k",
    seeds: Seeds = 3,
    out: Out = results.FOLDER,
) -> None:
    """Measures what item vectors that follow the log are good for."""
    path = results.write(SUITE, dataset, measure(dataset, seeds), out)
    typer.echo(f"wrote {path}")


if __name__ == "__main__":
    typer.run(main)
