"""Strangers: how good are a service's answers after 0, 1, 2, 5 and 10 events, by each link?

python -m benchmarks.cold_start
python -m benchmarks.cold_start --dataset movielens-100k --model ALS --seeds 3 --out /tmp/trial
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer

import tastemap as tm
from benchmarks import results
from benchmarks.options import DatasetName, Out
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.features.clock import clock
from tastemap.metrics import judge, ndcg
from tastemap.online.questions import Ask, Found
from tastemap.online.serving import Serving
from tastemap.online.tokens import item_hash
from tastemap.pipeline.short_histories import ShortHistories

SUITE = "cold-start"
_K = 10
_EVENTS = (1, 2, 5, 10)
_FIRST = max(_EVENTS)
_FRIENDS = 5
_CHOSEN = 2
# Asked together, as a busy service would.
_BATCH = 256


@dataclass(frozen=True, eq=False)
class Task:
    """A tenth of the users are strangers: no model has seen anything of them.

    What is to be found are all their events but ten, whatever is known. The ten are drawn: the
    first ones of all are what MovieLens shows to whoever signs up.

    Attributes:
        train: the others' events, with the hour and the weekday as circumstances.
        strangers: the ids of those with more than ten events, [B].
        first: ten of their events in an order drawn at random, [B].
        truth: all others, [B].
        moments: Unix seconds of the first event of each, when they came, [B].
        digest: of who is a stranger, and of which events are known.
    """

    train: Dataset
    strangers: list[str]
    first: Histories
    truth: Histories
    moments: np.ndarray
    digest: str


def make_task(dataset: Dataset, seed: int) -> Task:
    """Strangers drawn by a seed."""
    h = dataset.histories
    enough = np.flatnonzero(h.counts > _FIRST)
    rng = np.random.default_rng(seed)
    strangers = np.sort(rng.choice(enough, round(len(enough) / 10), replace=False))
    hour, weekday = clock(h.times)
    context = pl.DataFrame({"hour": hour, "weekday": weekday}).cast(pl.Int64)
    kept = ~np.isin(h.rows_of_events(), strangers)
    drawn = np.zeros(h.n_events, np.bool_)
    order = []
    for start, stop in zip(h.offsets[strangers], h.offsets[strangers + 1], strict=True):
        ten = start + rng.permutation(stop - start)[:_FIRST]
        order.append(h.items[ten])
        drawn[ten] = True
    digest = hashlib.sha256(dataset.fingerprint.encode() + kept.tobytes() + drawn.tobytes())
    return Task(
        replace(dataset, context=context).with_events(kept),
        dataset.users.ids(strangers),
        Histories.from_lists(order),
        h.select(~drawn).take(strangers),
        h.times[h.offsets[strangers]],
        digest.hexdigest()[:16],
    )


def asks(task: Task) -> Iterator[tuple[str, list[Ask]]]:
    """By what is known: the question of each stranger. None of the ten may come, so that all links
    have the same items to choose from."""
    ids = [
        task.train.items.ids(row) for row in np.split(task.first.items, task.first.offsets[1:-1])
    ]
    shown = [np.array([item_hash(item) for item in row], np.uint32) for row in ids]

    def each(**known: list[Any]) -> list[Ask]:
        rows = range(len(ids))
        return [
            Ask(_K, shown=shown[row], **{name: values[row] for name, values in known.items()})
            for row in rows
        ]

    yield "nothing", each()
    hour, weekday = clock(task.moments)
    now = [{"hour": h, "weekday": d} for h, d in zip(hour.tolist(), weekday.tolist(), strict=True)]
    yield "hour and weekday", each(context=now)
    profiles = task.train.profiles(task.train.users.rows(task.strangers))
    if profiles is not None:
        wanted = [name for name in profiles.columns if name != "zip_code"]
        yield "age, gender, occupation", each(profile=profiles.select(wanted).to_dicts())
    yield "two genres", each(tastes=_genres(task))
    yield "five friends", each(friends=_friends(task))
    for n in _EVENTS:
        yield f"{n} event" + "s" * (n > 1), each(history=[tuple(row[:n]) for row in ids])


def _genres(task: Task) -> list[dict[str, tuple[str, ...]]]:
    """What each stranger would choose when asked: the genres that stand out in the ten."""
    table = task.train.item_attributes()
    assert table is not None
    listed = [set(genres or ()) for genres in table["genres"].to_list()]
    names = sorted(set().union(*listed))
    has = np.array([[name in genres for name in names] for genres in listed])
    share = np.average(has, axis=0, weights=task.train.item_counts[1:])
    chosen = []
    for row in range(len(task.first)):
        weight = has[task.first.items_of(row) - 1].sum(axis=0) * np.log(1 / share)
        best = np.argsort(-weight, kind="stable")[:_CHOSEN]
        chosen.append({"genres": tuple(names[genre] for genre in best)})
    return chosen


def _friends(task: Task) -> list[tuple[str, ...]]:
    """The training users whose items are most like each stranger's ten (Jaccard), since the
    data has no friends."""
    theirs = task.train.histories.to_csr(len(task.train.items))
    common = (task.first.to_csr(len(task.train.items)) @ theirs.T).toarray()
    alike = common / (_FIRST + np.asarray(theirs.sum(axis=1)).ravel() - common)
    best = np.argsort(-alike, axis=1, kind="stable")[:, :_FRIENDS]
    return [tuple(task.train.users.ids(row)) for row in best]


def judged(serving: Serving, questions: list[Ask], task: Task) -> float:
    """Mean NDCG@10 of the answers that the service gives."""
    found = np.zeros((len(questions), _K), np.int32)
    for start in range(0, len(questions), _BATCH):
        for row, answer in enumerate(serving.answer(questions[start : start + _BATCH]), start):
            assert isinstance(answer, Found), answer
            found[row] = task.train.items.rows([one.card.item for one in answer.items])
    hits, counts = judge(found, task.truth.offsets, task.truth.items)
    return float(ndcg(hits, counts, _K).mean())


def measure(dataset: str, model: str, seeds: int) -> dict[str, Any]:
    """Each link, for strangers of some draws."""
    whole = tm.datasets.load(dataset)
    runs: list[dict[str, Any]] = []
    hashes = {}
    for seed in range(seeds):
        task = make_task(whole, seed)
        hashes[seed] = task.digest
        run = tm.Run(device="cpu", progress=False)
        fitted = getattr(tm, model)().fit(task.train, run=run)
        alone = tm.Pipeline([fitted], short_histories=ShortHistories(prior=0))
        # Nobody is forgotten here, so any key does.
        serving, alone = (
            Serving(pipeline, "trial", str.encode) for pipeline in (tm.Pipeline([fitted]), alone)
        )
        values = {}
        for known, questions in asks(task):
            values[known] = judged(serving, questions, task)
            if known.endswith(("event", "events")):
                values[f"{known}, model alone"] = judged(alone, questions, task)
        runs.append({"seed": seed, f"ndcg@{_K}": values})
        print(f"seed {seed}: {values}", flush=True)
    command = f"python -m benchmarks.cold_start --dataset {dataset} --model {model} --seeds {seeds}"
    about = {"model": model, "strangers": len(task.strangers)}
    return {"splits": hashes, **about, "runs": runs, "command": command}


def main(
    dataset: DatasetName = "movielens-1m",
    model: Annotated[str, typer.Option(help="The retriever.")] = "EASE",
    seeds: Annotated[int, typer.Option(help="How many draws of strangers.")] = 3,
    out: Out = results.FOLDER,
) -> None:
    """Measures what the service answers to those of whom it knows little."""
    path = results.write(SUITE, dataset, measure(dataset, model, seeds), out)
    typer.echo(f"wrote {path}")


if __name__ == "__main__":
    typer.run(main)
