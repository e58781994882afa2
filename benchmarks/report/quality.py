"""How good contenders are: lists, ratings, and what is chosen next."""

import statistics
from collections.abc import Sequence

from benchmarks.report.contenders import about, contenders_of
from benchmarks.report.layout import Result, tabled


def top_n(found: list[Result]) -> list[str]:
    lines = [
        "## Lists from implicit feedback",
        "",
        "What users rated 4 or better, of users with at least 5 such ratings; a random fifth of",
        "each user's is the test (`round(n / 5)`), drawn anew for each seed. The whole catalogue",
        "is ranked without what the user has in the training part; recall is divided by all test",
        "items of a user. Mean ± standard deviation over the seeds; seconds are medians.",
    ]
    columns = {"recall@20": "Recall@20", "ndcg@10": "NDCG@10", "ndcg@100": "NDCG@100"}
    for result in found:
        lines += quality(result, columns, ("fit", "recommend"))
    return lines


def ratings(found: list[Result]) -> list[str]:
    lines = [
        "## Ratings",
        "",
        "The test part is the first tenth of `numpy.random.RandomState(42).permutation(n)` over",
        "the rows of the file; the seeds are the models'. Mean ± standard deviation over them;",
        "seconds are medians.",
    ]
    for result in found:
        lines += quality(result, {"rmse": "RMSE", "mae": "MAE"}, ("fit", "predict"))
    return lines


def sequences(found: list[Result]) -> list[str]:
    lines = [
        "## What is chosen next",
        "",
        "The last event of each user is the test, the one before is known when the question is",
        "asked but not trained on; all ratings count as choices, and ties in time keep the order",
        "of the file. The whole catalogue is ranked without what stands in the history. The seeds",
        "are the models'. Mean ± standard deviation over them; seconds are medians.",
    ]
    columns = {"ndcg@10": "NDCG@10", "hr@10": "HR@10"}
    for result in found:
        lines += quality(result, columns, ("fit", "recommend"))
    return lines


# Less of these is better.
_ERRORS = ("rmse", "mae", "log-loss")


def quality(
    result: Result,
    columns: dict[str, str],
    phases: Sequence[str],
    rate: str | None = None,
) -> list[str]:
    entries = [entry for _, entry in contenders_of(result)]
    means = {
        key: [statistics.fmean(run[key] for run in e["runs"]) for e in entries] for key in columns
    }
    best = {key: (min if key in _ERRORS else max)(values) for key, values in means.items()}
    rows = []
    for number, entry in enumerate(entries):
        few = len(entry["runs"]) < len(result["splits"]) and len(entry["runs"])
        cells = [entry["title"] + (f" ({few} seed{'s' * (few > 1)})" if few else "")]
        for key in columns:
            values = [run[key] for run in entry["runs"]]
            text = f"{means[key][number]:.4f}"
            text = f"**{text}**" if text == f"{best[key]:.4f}" else text
            cells.append(text + (f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""))
        for phase in phases:
            seconds = [run["seconds"][phase] for run in entry["runs"] if phase in run["seconds"]]
            cells.append(f"{statistics.median(seconds):.2f} s" if seconds else "–")
        if rate is not None:
            rates = [run[rate] for run in entry["runs"] if rate in run]
            cells.append(f"{statistics.median(rates):,.0f}" if rates else "–")
        rows.append(cells)
    heads = ["model", *columns.values(), *phases]
    if rate is not None:
        heads.append(rate.replace("_", " "))
    return tabled(result["dataset"], heads, rows, *about(result))
