"""The section of what `benchmarks/cold_items.py` measures."""

import statistics

from benchmarks.report.layout import Result, ran, splits, spread, tabled


def section(found: list[Result]) -> list[str]:
    lines = [
        "## Items that nobody has chosen yet",
        "",
        "A tenth of the items is new: no event of theirs is in the training part or in a history.",
        "A fifth of the users has the second half of the events hidden; what of it is new is to be",
        "found among the new items alone, by title, year and genres, and with details by makers,",
        "actors, countries, languages, rating by age and plot too. Warm is the same model on the",
        "same questions, fitted with what others did with these items. Recall is divided by all",
        "test items of a user. Mean ± standard deviation over the seeds.",
    ]
    for result in found:
        rows = []
        for model, runs in result["runs"].items():
            cells = [model, f"{statistics.fmean(run['chance'] for run in runs):.3f}"]
            for metric in ("recall@20", "ndcg@20"):
                for part in ("cold", "warm"):
                    cells.append(spread([run[part][metric] for run in runs], digits=3))
            rows.append(cells)
        heads = ["model", "Recall@20 by chance", "Recall@20 cold", "Recall@20 warm"]
        lines += tabled(
            result["dataset"],
            [*heads, "NDCG@20 cold", "NDCG@20 warm"],
            rows,
            ran(result),
            f"- {result['new_items']:,} new items, {result['queries']:,} users asked; "
            f"split {splits(result)}; hyper-parameters: defaults",
        )
    return lines
