"""How fast: we and a rival turn about, each in a fresh process, so that a busy machine is busy for
both; the ratio of each turn is what counts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks import data, runner, splits, tasks
from benchmarks.contenders import ALL, Contender
from benchmarks.quality import describe
from benchmarks.tasks import Task

# Trained in parallel without locks a rival is a little better or worse each time.
_CLEARLY = 1.01


def als(dataset: str, rounds: int) -> dict[str, Any]:
    """Seconds of `fit` to the NDCG@100 that implicit's ALS reaches."""
    ours, theirs = ALL["tastemap-als-64"], ALL["implicit-als"]
    with tasks.lists(splits.top_n(data.load(dataset), seed=0)) as task:
        target = _judged(theirs, task, dataset)["ndcg@100"]
        iterations = _least(
            lambda n: _judged(ours, task, dataset, iterations=n)["ndcg@100"] >= target
        )
        race = _race(ours, theirs, task, dataset, "fit", rounds, iterations=iterations)
        return {"splits": {0: task.split_hash}, "phase": "fit", "races": [race]}


def ials_pp(dataset: str, rounds: int) -> dict[str, Any]:
    """Seconds of `fit`: to the NDCG@100 of implicit's ALS and of irspack's, both with conjugate
    gradients, and for one iteration with 512 factors against our exact ALS."""
    races = []
    with tasks.lists(splits.top_n(data.load(dataset), seed=0)) as task:
        for ours, theirs in (("ials-pp-64", "implicit-als"), ("ials-pp-128", "irspack-ials-same")):
            one, other = ALL[f"tastemap-{ours}"], ALL[theirs]
            target = _judged(other, task, dataset)["ndcg@100"]
            iterations = _least(
                lambda n, c=one, t=target: _judged(c, task, dataset, iterations=n)["ndcg@100"] >= t
            )
            races.append(_race(one, other, task, dataset, "fit", rounds, iterations=iterations))
        one, other = ALL["tastemap-ials-pp-512"], ALL["tastemap-als-512"]
        races.append(_race(one, other, task, dataset, "fit", min(rounds, 3)))
        return {"splits": {0: task.split_hash}, "phase": "fit", "races": races}


def ease(dataset: str, rounds: int) -> dict[str, Any]:
    """Seconds of `recommend`: the ten best unseen items of all users, as a frame of ids."""
    ours, theirs = ALL["tastemap-ease"], ALL["rectools-ease"]
    with tasks.lists(splits.top_n(data.load(dataset), seed=0), k=10) as task:
        race = _race(ours, theirs, task, dataset, "recommend", rounds)
        return {"splits": {0: task.split_hash}, "phase": "recommend", "races": [race]}


def mf(dataset: str, rounds: int) -> dict[str, Any]:
    """Seconds of `fit` to the RMSE that Cornac's MF reaches: as it comes, and tuned."""
    ours = ALL["tastemap-mf"]
    races = []
    with tasks.ratings(splits.rating_tenth(data.load(dataset))) as task:
        for theirs in (ALL["cornac-mf-default"], ALL["cornac-mf"]):
            target = _judged(theirs, task, dataset)["rmse"]
            epochs = _least(lambda n, t=target: _judged(ours, task, dataset, epochs=n)["rmse"] <= t)
            race = _race(ours, theirs, task, dataset, "fit", rounds, epochs=epochs)
            passes = {"ours": epochs, "theirs": theirs.settings(dataset)["max_iter"]}
            steps = {side: task.n_train * n for side, n in passes.items()}
            races.append({**race, "ratings": steps})
        return {"splits": {0: task.split_hash}, "phase": "fit", "races": races}


def bpr(dataset: str, rounds: int) -> dict[str, Any]:
    """Seconds of `fit` to the NDCG@10 that each rival trained on pairs ends with."""
    rivals = ("cornac-bpr", "lightfm-warp", "implicit-bpr")
    pairs = [("tastemap-bpr", rival) for rival in rivals] + [("tastemap-warp", "lightfm-warp")]
    races = []
    with tasks.lists(splits.top_n(data.load(dataset), seed=0)) as task:
        targets = {rival: _judged(ALL[rival], task, dataset)["ndcg@10"] for rival in rivals}
        for name, rival in pairs:
            ours, target = ALL[name], targets[rival]
            epochs = _least(
                lambda n, o=ours, t=_CLEARLY * target: (
                    _judged(o, task, dataset, epochs=n)["ndcg@10"] >= t
                )
            )
            races.append(_race(ours, ALL[rival], task, dataset, "fit", rounds, epochs=epochs))
        return {"splits": {0: task.split_hash}, "phase": "fit", "races": races}


def svdpp(dataset: str, rounds: int) -> dict[str, Any]:
    """Seconds of `fit` of SVD++: to the RMSE that Surprise's reaches, and for as many passes with
    as many factors."""
    ours, theirs = ALL["tastemap-svdpp"], ALL["surprise-svdpp"]
    passes, factors = 20, 20
    races = []
    with tasks.ratings(splits.rating_tenth(data.load(dataset))) as task:
        target = _judged(theirs, task, dataset)["rmse"]
        epochs = _least(lambda n: _judged(ours, task, dataset, epochs=n)["rmse"] <= target)
        for n, given in ((epochs, {}), (passes, {"factors": factors})):
            race = _race(ours, theirs, task, dataset, "fit", rounds, epochs=n, **given)
            steps = {"ours": task.n_train * n, "theirs": task.n_train * passes}
            races.append({**race, "ratings": steps})
        return {"splits": {0: task.split_hash}, "phase": "fit", "races": races}


_SASREC_RIVALS = {"movielens-100k": "recbole-sasrec", "movielens-1m": "rectools-sasrec"}


def sasrec(dataset: str, rounds: int, passes: int | None) -> dict[str, Any]:
    """Seconds of `fit` to the validation NDCG@10 that the rival's SASRec reaches in so many passes;
    None for as many as it has elsewhere."""
    ours, theirs = ALL["tastemap-sasrec"], ALL[_SASREC_RIVALS[dataset]]
    if passes is not None:
        fewer = {**theirs.tuned.get(dataset, {}), "epochs": passes}
        theirs = replace(theirs, tuned={**theirs.tuned, dataset: fewer})
    split = splits.leave_one_out(data.load(dataset))
    with tasks.sequences(split.validation()) as task:
        # It takes minutes, so that it is the rival's first turn too.
        first = runner.run(theirs, task.folder, 0, dataset)
        target = task.judge(first.answer)["ndcg@10"]
        epochs = _least(lambda n: _judged(ours, task, dataset, epochs=n)["ndcg@10"] >= target)
        race = _race(ours, theirs, task, dataset, "fit", rounds, first, epochs=epochs)
        return {"splits": {0: task.split_hash}, "phase": "fit", "races": [race]}


def item2vec(dataset: str, rounds: int) -> dict[str, Any]:
    """Seconds of `fit` of skip-gram with negative sampling: the same passes and vectors."""
    ours, theirs = ALL["tastemap-item2vec"], ALL["gensim-word2vec"]
    with tasks.sequences(splits.leave_one_out(data.load(dataset))) as task:
        race = _race(ours, theirs, task, dataset, "fit", rounds)
        return {"splits": {0: task.split_hash}, "phase": "fit", "races": [race]}


def _judged(contender: Contender, task: Task, dataset: str, **parameters: Any) -> dict[str, float]:
    return task.judge(runner.run(contender, task.folder, 0, dataset, **parameters).answer)


def _least(enough: Callable[[int], bool], most: int = 64) -> int:
    """The smallest number of passes that is enough, where more of them are never worse."""
    high = 1
    while not enough(high):
        if high >= most:
            raise RuntimeError(f"the rival's result is not reached in {most} passes")
        high = min(2 * high, most)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _race(
    ours: Contender,
    theirs: Contender,
    task: Task,
    dataset: str,
    phase: str,
    rounds: int,
    first: runner.Outcome | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """Both in turn, `rounds` times, first one and then the other first; `parameters` are ours, and
    `first` is the rival's turn of the first round, where it has been taken."""
    entries = {c.name: {**describe(c, dataset), "runs": []} for c in (ours, theirs)}
    entries[ours.name]["parameters"] |= parameters
    ratios = []
    for number in range(rounds):
        seconds = {}
        for contender in (ours, theirs) if number % 2 else (theirs, ours):
            given = parameters if contender is ours else {}
            if first is not None and contender is theirs and number == 0:
                outcome = first
            else:
                outcome = runner.run(contender, task.folder, number, dataset, **given)
            seconds[contender.name] = outcome.seconds[phase]
            entries[contender.name]["versions"] = outcome.versions
            run = {"seed": number, "seconds": outcome.seconds}
            # Only lists of the evaluator's own depth and ratings can be judged.
            if phase == "fit":
                run |= task.judge(outcome.answer)
            entries[contender.name]["runs"].append(run)
        ratios.append(seconds[theirs.name] / seconds[ours.name])
        shown = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
        print(f"turn {number}: {shown}, ratio {ratios[-1]:.2f}", flush=True)
    return {"contenders": entries, "ratios": ratios}
