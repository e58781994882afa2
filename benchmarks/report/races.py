"""Seconds of contenders who take turns."""

import statistics

from benchmarks.report.contenders import about
from benchmarks.report.layout import Result, table


def als_speed(found: list[Result]) -> list[str]:
    lines = [
        "## ALS: time to the same quality",
        "",
        "Seconds of `fit` until the NDCG@100 that `implicit` reaches with its 15 iterations: the",
        "least number of iterations with which ours reaches it, timed as a fit of its own.",
    ]
    return [*lines, *_races(found, "ndcg@100", "NDCG@100")]


def ialspp_speed(found: list[Result]) -> list[str]:
    lines = [
        "## iALS++: time to the same quality, and of an iteration",
        "",
        "Seconds of `fit` until the NDCG@100 that `implicit` and `irspack` reach with conjugate",
        "gradients: the least number of iterations with which ours reaches it, timed as a fit of",
        "its own. Last, one iteration with 512 factors against our own exact ALS.",
    ]
    return [*lines, *_races(found, "ndcg@100", "NDCG@100")]


def ease_speed(found: list[Result]) -> list[str]:
    lines = [
        "## EASE: recommendations for all users",
        "",
        "Seconds of `recommend` for all users, the ten best unseen items each, from external ids",
        "to a frame of external ids, on both sides.",
    ]
    return [*lines, *_races(found)]


def mf_speed(found: list[Result]) -> list[str]:
    lines = [
        "## Matrix factorisation: time to the same error",
        "",
        "Seconds of `fit` until the RMSE that Cornac reaches with the settings of the table above:",
        "the least number of epochs with which ours reaches it, timed as a fit of its own.",
    ]
    return [*lines, *_races(found, "rmse", "RMSE")]


def svdpp_speed(found: list[Result]) -> list[str]:
    lines = [
        "## SVD++: time to the same error, and for a pass",
        "",
        "First, seconds of `fit` until the RMSE that Surprise reaches with its defaults (20",
        "factors, 20 passes): the least number of epochs with which ours reaches it, at its own",
        "default length of vectors. Then 20 passes with 20 factors on both sides.",
    ]
    return [*lines, *_races(found, "rmse", "RMSE")]


def sasrec_speed(found: list[Result]) -> list[str]:
    lines = [
        "## SASRec: time to the same quality",
        "",
        "Seconds of `fit` until the NDCG@10 that the rival's SASRec reaches on the validation part",
        "(the event before the last; what is trained on is that of the table above): the least",
        "number of epochs with which ours reaches it, timed as a fit of its own, with the Item2Vec",
        "that it begins with.",
    ]
    return [*lines, *_races(found, "ndcg@10", "NDCG@10")]


def item2vec_speed(found: list[Result]) -> list[str]:
    lines = [
        "## Item2Vec: time of as many passes",
        "",
        "Seconds of `fit` of skip-gram with negative sampling, with the same passes, window,",
        "negatives and length of vectors.",
    ]
    return [*lines, *_races(found, "ndcg@10", "NDCG@10")]


def bpr_speed(found: list[Result]) -> list[str]:
    lines = [
        "## Pairwise ranking: time to the same quality",
        "",
        "Seconds of `fit` until 1.01 times the NDCG@10 that the rival ends with, all with vectors",
        "of 64 numbers: the least epochs with which ours reaches that, timed as a fit of its own.",
    ]
    return [*lines, *_races(found, "ndcg@10", "NDCG@10")]


def _races(found: list[Result], metric: str = "", title: str = "") -> list[str]:
    lines = []
    for result in found:
        lines += ["", f"### {result['dataset']}", ""]
        for race in result["races"]:
            lines += [*_race(result["phase"], race, metric, title), ""]
        lines += about(result)
    return lines


def _race(phase: str, race: Result, metric: str, title: str) -> list[str]:
    steps = race.get("ratings", {})
    heads = ["model", f"{phase}, median", "range", *([title] if metric else [])]
    heads += ["million ratings/s"] if steps else []
    rows = []
    for entry in race["contenders"].values():
        seconds = [run["seconds"][phase] for run in entry["runs"]]
        middle = statistics.median(seconds)
        cells = [entry["title"], f"{middle:.3f} s", f"{min(seconds):.3f}–{max(seconds):.3f} s"]
        if metric:
            cells.append(f"{statistics.fmean(run[metric] for run in entry['runs']):.4f}")
        if steps:
            done = steps["ours" if entry["ours"] else "theirs"]
            cells.append(f"{done / middle / 1e6:.1f}")
        rows.append(cells)
    ratios = race["ratios"]
    middle = f"median **{statistics.median(ratios):.2f}**, from {min(ratios):.2f} to"
    return [
        *table(heads, rows),
        "",
        f"Their seconds / ours in {len(ratios)} turns: {middle} {max(ratios):.2f}.",
    ]
