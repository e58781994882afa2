"""Circumstances, used in three ways: before a model, after it, and in a ranker over it (Frappe).

    python -m benchmarks.context
    python -m benchmarks.context --part validation --seeds 1 --out /tmp/trial
    python -m benchmarks.context --data frappe.csv --seeds 1 --out /tmp/trial

The file is fetched once; `--data` names one that lies here already. It is for research only (no
commercial use, no redistribution).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
import typer
from numpy.typing import NDArray

import tastemap as tm
from benchmarks import data, results
from benchmarks.options import Out
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.members import parse_members
from tastemap.ranking.table import ranker_class
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.table import model_class

SUITE = "context"
METRICS = ("ndcg@10", "hit_rate@10")
# Not the column "cost": it says whether the app that was used is paid, which nobody knows before.
CIRCUMSTANCES = ("daytime", "weekday", "isweekend", "homework", "weather", "country", "city")
RANKERS = ("fm", "dcnv2", "lightgbm")
# Chosen on the validation part of the first order, by NDCG@10.
MODEL = "ease(use_values=true, dropout=0, regularization=1)"
BEFORE: dict[str, Any] = {"columns": "city", "least": 1000, "own": 5}
BEHIND: dict[str, Any] = {"columns": "daytime,weekday", "prior": 50.0}
MOMENTS, CANDIDATES = 5_000, 100
Part = Literal["validation", "test"]
_HOUR = 3600.0
_RUN = tm.Run(device="cpu", progress=False)


@dataclass(frozen=True, eq=False)
class Task:
    """Uses put in an order drawn at random, since the data have no times; it stands for time.

    Attributes:
        known: what may be learned from: 80 % of the uses for validation, 90 % for the test. The
            vocabularies are those of all uses.
        asked: each of the next 10 % by itself: who, in which circumstances, after what is known.
        digest: of the uses and their order.
    """

    known: Dataset
    asked: Holdout
    digest: str


def make_task(uses: pl.DataFrame, seed: int, part: Part) -> Task:
    """A part of the uses, in the layout of Frappe, drawn by a seed."""
    n = len(uses)
    # All within an hour, so that hours and weekdays say nothing.
    moments = np.random.default_rng(seed).permutation(n) * _HOUR / n
    whole = tm.Dataset.from_frame(
        uses.with_columns(time=pl.Series(moments)).drop("cnt"),
        user="user", item="item", time="time", context=CIRCUMSTANCES,
    )  # fmt: skip
    h = whole.histories
    first = {"validation": 0.8, "test": 0.9}[part] * _HOUR
    held = (h.times >= first) & (h.times < first + 0.1 * _HOUR)
    known, truth = whole.with_events(h.times < first), np.flatnonzero(held)
    users = h.rows_of_events()[truth]
    assert whole.context is not None
    queries = Queries.of(
        known.histories.take(users),
        users=users,
        as_of=np.full(len(users), first),
        context=whole.context[truth],
    )
    one_each = Histories(
        np.arange(len(truth) + 1),
        h.items[truth],
        h.times[truth],
        h.values[truth],
        h.kinds[truth],
    )
    digest = hashlib.sha256(whole.fingerprint.encode() + held.tobytes()).hexdigest()[:16]
    return Task(known, Holdout(queries, one_each), digest)


def without_circumstances(task: Task) -> Task:
    """The same, with nothing known but who uses what."""
    queries = replace(task.asked.queries, context=None)
    known = replace(task.known, context=None)
    return replace(task, known=known, asked=Holdout(queries, task.asked.truth))


class OwnUses(Retriever):
    """What somebody has used most, and of equals what is popular: the least that a model of what
    is used again has to know."""

    name = "own-uses"
    paper = ""

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: tm.Run) -> None:
        self.share = dataset.item_counts / (dataset.n_events + 1)

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        own = queries.histories.to_csr(len(self.items), values=True).toarray()
        scores = (own + self.share).astype(np.float32)
        return scores if items is None else scores[:, items]


def models(seed: int) -> dict[str, Retriever]:
    """The model that knows no circumstances, and what looks at them before and behind it."""
    return {
        "none": make_model(seed),
        "pre-filtering": tm.ContextPreFilter(model=MODEL, **BEFORE, seed=seed),
        "post-filtering": tm.ContextPostFilter(model=MODEL, **BEHIND, seed=seed),
    }


def make_model(seed: int) -> Retriever:
    """The model alone, as the text `MODEL` names it."""
    (member,) = parse_members(MODEL)
    return member.make(model_class, seed=seed)


def two_stages(ranker: str, seed: int) -> tm.Pipeline:
    """The ranker over what the model proposes. What is used next goes with the circumstances of
    that moment, so a moment has one positive; and apps are used again."""
    return tm.Pipeline(
        [make_model(seed)],
        candidates=CANDIDATES,
        ranker=ranker_class(ranker)(seed=seed),
        rows=tm.OutOfTime(
            horizon=1, moments=1000, limit=MOMENTS, negatives=20, repeats=True, seed=seed
        ),
        features=tm.PointInTime(repeats=True),
        long_tail=tm.LongTail(share=0),
    )


def judged(model: Retriever | tm.Pipeline, task: Task) -> dict[str, float]:
    """The metrics of a model that learns from what is known. What was used before may come again,
    so it is not left out."""
    model.fit(task.known, run=_RUN)
    return tm.evaluate(model, task.asked, METRICS, exclude_seen=False, resamples=2).metrics


def ways(task: Task, rankers: list[str], seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """What each way to use circumstances, and none, finds."""
    blind = without_circumstances(task)
    yield "popularity", judged(tm.Popularity(), blind)
    yield "own uses, then popularity", judged(OwnUses(), blind)
    for way, model in models(seed).items():
        yield way, judged(model, task)
    for name in rankers:
        yield f"{name}, without circumstances", judged(two_stages(name, seed), blind)
        yield f"{name}, with circumstances", judged(two_stages(name, seed), task)


def one_order(uses: pl.DataFrame, part: Part, rankers: list[str], seed: int) -> dict[str, Any]:
    """Each way, over one order of the uses."""
    task = make_task(uses, seed, part)
    found = {}
    for way, values in ways(task, rankers, seed):
        print(f"seed {seed}, {way}: {values}", flush=True)
        found[way] = values
    about = {"split": task.digest, "queries": len(task.asked), "repeats": repeats(task)}
    return {"seed": seed, **about, "ways": found}


def measure(uses: pl.DataFrame, part: Part, rankers: list[str], seeds: int) -> dict[str, Any]:
    """Each way, over some orders of the uses."""
    runs = [one_order(uses, part, rankers, seed) for seed in range(seeds)]
    return {
        "splits": {run["seed"]: run["split"] for run in runs},
        "part": part,
        "uses": len(uses),
        "queries": runs[0]["queries"],
        "repeats": runs[0]["repeats"],
        "model": MODEL,
        "pre-filtering": BEFORE,
        "post-filtering": BEHIND,
        "runs": runs,
        "command": f"python -m benchmarks.context --seeds {seeds} "
        f"--ranker {' --ranker '.join(rankers)}",
    }


def repeats(task: Task) -> float:
    """The share of the asked-for uses of an app that its user is known to have used."""
    h, wanted = task.asked.queries.histories, task.asked.truth.items
    again = h.items == np.repeat(wanted, h.counts)
    return len(np.unique(h.rows_of_events()[again])) / len(wanted)


def main(
    file: Annotated[
        Path | None, typer.Option("--data", help="frappe.csv; fetched where it is not given.")
    ] = None,
    part: Annotated[str, typer.Option(help="validation, to choose by, or test.")] = "test",
    ranker: Annotated[list[str], typer.Option(help="Which rankers.")] = list(RANKERS),  # noqa: B006
    seeds: Annotated[int, typer.Option(help="How many orders of the uses, and seeds.")] = 3,
    out: Out = results.FOLDER,
) -> None:
    """Measures what circumstances add, by each way to use them."""
    if part not in ("validation", "test"):
        raise typer.BadParameter("must be validation or test", param_hint="--part")
    found = measure(data.frappe(file), "test" if part == "test" else "validation", ranker, seeds)
    typer.echo(f"wrote {results.write(SUITE, 'frappe', found, out)}")


if __name__ == "__main__":
    typer.run(main)
