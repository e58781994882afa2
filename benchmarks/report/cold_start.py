"""The section of what `benchmarks/cold_start.py` measures."""

from benchmarks.report.layout import Result, ran, splits, spread, tabled


def section(found: list[Result]) -> list[str]:
    lines = [
        "## Strangers",
        "",
        "A tenth of the users is unknown to the model. What the service answers (NDCG@10 over",
        "all items) when this much is known of them. Ten events of each, drawn at random, may be",
        "known, and all others are to be found; none of the ten may come, so that all rows choose",
        "among the same items. (The first ten by time would be what MovieLens shows to whoever",
        "signs up.) The genres are those that stand out in the ten, as if they had been chosen",
        "from a list; the friends are the five users whose items are most like the ten, since the",
        'data has none. "Model alone" is the retriever without the join of short histories with',
        "what is popular. Mean ± standard deviation over the draws of strangers.",
    ]
    for result in found:
        runs = [run["ndcg@10"] for run in result["runs"]]
        rows = [[known, spread([run[known] for run in runs])] for known in runs[0]]
        lines += tabled(
            f"{result['dataset']}, {result['model']}",
            ["what is known", "NDCG@10"],
            rows,
            ran(result),
            f"- {result['strangers']:,} strangers; split {splits(result)}; defaults throughout",
        )
    return lines
